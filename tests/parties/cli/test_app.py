"""The command as a whole: version, completion, and files of the form that their names say."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aim_core.tables.schema_file import load_schema
from parties.agreement.manifest import PROTOCOL
from parties.cli.app import app

ROOT = Path(__file__).resolve().parents[3]


def test_the_version_says_what_a_report_of_a_fault_needs() -> None:
    result = CliRunner().invoke(app, ["--version"])
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0] == f"distaim {importlib.metadata.version('distaim')}"
    assert lines[1] == f"protocol {PROTOCOL}"
    assert f"numpy {importlib.metadata.version('numpy')}" in lines[3]


@pytest.mark.parametrize(
    ("words", "position", "offered"),
    [("distaim sam", "1", ["sample"]), ("distaim sample --whe", "2", ["--where"])],
)
def test_the_shell_completes(words: str, position: str, offered: list[str]) -> None:
    completing = {
        "_DISTAIM_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": position,
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-m", "parties"],
        env={**os.environ, **completing},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == offered


def table(folder: Path) -> Path:
    path = folder / "t.csv"
    path.write_text("sex,age\n" + "f,30\nm,40\n" * 20, "utf-8")
    return path


@pytest.mark.parametrize(("name", "first"), [("s.json", "{"), ("s.toml", "#"), ("s", "#")])
def test_a_schema_is_of_the_form_that_its_name_says(tmp_path: Path, name: str, first: str) -> None:
    out = tmp_path / name
    result = CliRunner().invoke(app, ["schema", str(table(tmp_path)), "--out", str(out)])
    assert result.exit_code == 0, result.stderr
    assert out.read_text("utf-8")[0] == first
    assert load_schema(out).draft
    if name == "s.json":
        assert json.loads(out.read_text("utf-8"))["draft"] is True
        assert "column sex: " in result.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["schema", "T", "--out", "s.csv"], "does not end in .toml or .json"),
        (["schema", "T", "--out", "s.toml", "--json"], "does not end in .json"),
        (["run", "T", "--schema", "s.toml", "--out", "out.csv"], "names a .csv file"),
        (["compare", "synthfs", "--methods", "central", "--out", "c.html"], "names a .html file"),
        (["keys", "a", "--out", "a.json"], "names a .json file"),
        (["job", "m.toml", "--out", "job.json"], "names a .json file"),
        (["init", "m.toml"], "names a .toml file"),
    ],
)
def test_a_name_that_says_another_form_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], text: str
) -> None:
    table(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [word.replace("T", "t.csv") for word in words])
    assert (result.exit_code, [path.name for path in tmp_path.iterdir()]) == (2, ["t.csv"])
    assert text in result.stderr
