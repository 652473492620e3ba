import datetime as dt
import json
import stat
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from parties.cli.app import app
from parties.identity.certificates import fingerprint, make_identity, validity


def keys(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["keys", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_key_for_years_and_its_certificate(tmp_path: Path) -> None:
    hosts = ["--host", "a.example.org", "--host", "10.0.0.7", "--years", "7"]
    code, out, _ = keys("site-a", "--out", str(tmp_path / "keys"), "--json", *hosts)
    assert code == 0
    facts = json.loads(out)
    assert stat.S_IMODE(Path(facts["key"]).stat().st_mode) == 0o600
    pem = Path(facts["certificate"]).read_text()
    assert fingerprint(pem) == facts["fingerprint"]
    begin, end = validity(pem)
    assert dt.timedelta(days=7 * 365) <= end - begin < dt.timedelta(days=7 * 365 + 1)
    extension = x509.load_pem_x509_certificate(pem.encode()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert "a.example.org" in extension.value.get_values_for_type(x509.DNSName)
    assert "10.0.0.7" in map(str, extension.value.get_values_for_type(x509.IPAddress))


def test_the_screen_shows_the_fingerprint_and_what_to_send(tmp_path: Path) -> None:
    code, out, _ = keys("ann", "--out", str(tmp_path))
    assert code == 0
    assert fingerprint((tmp_path / "ann.crt").read_text()) in out
    assert "send it" in out
    assert "PRIVATE" not in out


@pytest.mark.parametrize("lost", [[], ["ann.crt"], ["ann.key"]])
def test_nothing_is_overwritten(tmp_path: Path, lost: list[str]) -> None:
    make_identity("ann", tmp_path)
    for name in lost:
        (tmp_path / name).unlink()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    code, _, error = keys("ann", "--out", str(tmp_path))
    assert code == 2
    assert "exists" in error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["../ann"], "no name"),
        (["ann", "--host", "bücher.de"], "ASCII"),
        ([".ann"], "no name"),
    ],
)
def test_bad_names_make_no_files(tmp_path: Path, arguments: list[str], text: str) -> None:
    code, _, error = keys(*arguments, "--out", str(tmp_path / "keys"))
    assert code == 2
    assert text in error
    assert list(tmp_path.iterdir()) == []
