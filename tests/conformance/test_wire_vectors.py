"""The vectors of what is hashed and signed: read anew from docs/protocol.md, the bad ones refused.

The good cases are computed here without the package's own code, the bad ones are given to it.
"""

import copy
import hashlib
import json
from fractions import Fraction
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from parties.agreement.approval import approval_states
from parties.agreement.manifest import Manifest
from parties.auditor.files import read_file
from parties.auditor.findings import Findings
from parties.errors import ConfigError, RequestRefused
from parties.party.state.ledger import Ledger
from parties.party.state.store import Store
from parties.wire.messages import (
    FinishRequest,
    FreezeRequest,
    LedgerEntry,
    MeasureRequest,
    RequestKind,
    SelectRequest,
    Wire,
    parse,
    unpack,
)
from tests.support.vectors import Case, read_vectors


def why(case: Case) -> str:
    return str(case["why"])


def tagged(tag: str, content: bytes) -> str:
    return hashlib.sha256(f"distaim/{tag}/v1\0".encode() + content).hexdigest()


def text_of(value: object) -> bytes:
    """Write JSON canonically, for keys of the Basic Multilingual Plane and no floats."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def check_signature(party: int, purpose: str, message: bytes, signature: str) -> None:
    pem = read_vectors("manifest")["manifest"]["parties"][party]["certificate"].encode()
    key = x509.load_pem_x509_certificate(pem).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    der = encode_dss_signature(int(signature[:64], 16), int(signature[64:], 16))
    bound = b"distaim signature\0" + purpose.encode() + b"\0" + message
    key.verify(der, bound, ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("case", read_vectors("request")["good"], ids=lambda c: c["sha256"][:6])
def test_a_requests_hash_is_of_its_kind_and_its_body(case: Case) -> None:
    content = case["kind"].encode() + b"\0" + bytes.fromhex(case["body"])
    assert tagged("request", content) == case["sha256"]


@pytest.mark.parametrize("case", read_vectors("request")["bad"], ids=why)
def test_bad_requests_are_refused(case: Case) -> None:
    kind, body = RequestKind(case["kind"]), bytes.fromhex(case["body"])
    messages: dict[RequestKind, type[Wire]] = {
        RequestKind.FREEZE: FreezeRequest,
        RequestKind.SELECT: SelectRequest,
        RequestKind.MEASURE: MeasureRequest,
        RequestKind.FINISH: FinishRequest,
    }
    with pytest.raises(RequestRefused):
        parse(messages[kind], unpack(body)[0] if kind is RequestKind.SELECT else body)


def test_the_manifests_hash_is_of_its_canonical_json() -> None:
    vector = read_vectors("manifest")
    text = vector["canonical"].encode()
    assert tagged("manifest", text) == vector["sha256"]
    assert Manifest.parse(vector["manifest"]).canonical_bytes() == text
    assert Manifest.parse(json.loads(text)).digest == vector["sha256"]
    assert vector["fields"]["n_max"] == tagged("manifest-field", b"127")[:32]
    assert (
        vector["fields"]["parties"]
        == tagged("manifest-field", b'["party-0","party-1","party-2"]')[:32]
    )
    assert vector["fields"]["schema.columns.größe.max"] == tagged("manifest-field", b"2.5")[:32]


@pytest.mark.parametrize("case", read_vectors("manifest")["bad"], ids=why)
def test_bad_manifests_are_refused(case: Case) -> None:
    raw = copy.deepcopy(read_vectors("manifest")["manifest"])
    place = raw
    for step in case["path"][:-1]:
        place = place[step]
    place[case["path"][-1]] = case["value"]
    with pytest.raises(ConfigError, match="manifest"):
        Manifest.parse(raw)


def test_a_ledgers_heads_follow_from_its_charges() -> None:
    vector = read_vectors("ledger")
    assert tagged("ledger-start", vector["manifest"].encode()) == vector["first_head"]
    head = vector["first_head"]
    for row in vector["good"]:
        entry = {key: value for key, value in row.items() if key != "head"}
        head = tagged("ledger-entry", text_of({"previous": head, **entry}))
        assert head == row["head"]


def booked(folder: Path, charges: list[Case]) -> str:
    """Return the head of a ledger whose store has these charges."""
    manifest = Manifest.parse(read_vectors("manifest")["manifest"])
    store = Store(folder / "job.sqlite", manifest.digest, 1)
    try:
        for number, row in enumerate(charges, start=1):
            entry = {key: value for key, value in row.items() if key != "head"}
            store.book(number, LedgerEntry.model_validate(entry), row["head"], {})
        return Ledger(store, manifest.digest, Fraction(1), Fraction(1)).head
    finally:
        store.close()


@pytest.mark.parametrize("case", read_vectors("ledger")["bad"], ids=why)
def test_bad_ledgers_are_refused(case: Case, tmp_path: Path) -> None:
    good = read_vectors("ledger")["good"]
    assert booked(tmp_path / "good", good) == good[-1]["head"]
    with pytest.raises(ConfigError, match="ledger does not follow"):
        booked(tmp_path / "bad", case["charges"])


def test_a_transcripts_lines_are_chained_and_signed() -> None:
    vector = read_vectors("transcript")
    start = f"{vector['manifest']} {vector['writer']}".encode()
    head = vector["first_head"]
    assert tagged("transcript-start", start) == head
    for row in vector["good"]:
        raw = json.loads(row["line"])
        assert raw["previous"] == head
        signature = raw.pop("signature")
        signed = row["line"].replace(f',"signature":"{signature}"', "").encode()
        assert json.loads(signed) == raw
        check_signature(vector["writer"], "transcript", signed, signature)
        head = tagged("transcript-line", row["line"].encode())
        assert head == row["head"]


def findings_in(lines: list[str], folder: Path) -> list[str]:
    path = folder / "party-1.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    findings = Findings()
    read_file(path, Manifest.parse(read_vectors("manifest")["manifest"]), findings)
    return [str(finding) for finding in findings]


@pytest.mark.parametrize("case", read_vectors("transcript")["bad"], ids=why)
def test_bad_transcripts_are_found_by_the_auditor(case: Case, tmp_path: Path) -> None:
    assert findings_in([row["line"] for row in read_vectors("transcript")["good"]], tmp_path) == []
    assert findings_in(case["lines"], tmp_path) != []


def test_an_approval_signs_all_but_its_signature() -> None:
    vector = read_vectors("approval")
    good = vector["good"]
    signed = vector["signed"].encode()
    assert text_of({key: value for key, value in good.items() if key != "signature"}) == signed
    assert (good["manifest"], good["fields"]) == (
        read_vectors("manifest")["sha256"],
        read_vectors("manifest")["fields"],
    )
    check_signature(0, "manifest approval", signed, good["signature"])


def state_of(approval: Case, folder: Path) -> str:
    (folder / "approvals").mkdir(parents=True)
    (folder / "approvals" / "party-0.json").write_text(json.dumps(approval), "utf-8")
    manifest = Manifest.parse(read_vectors("manifest")["manifest"])
    return approval_states(manifest, folder / "manifest.json")[0].state


@pytest.mark.parametrize("case", read_vectors("approval")["bad"], ids=why)
def test_bad_approvals_are_refused(case: Case, tmp_path: Path) -> None:
    assert state_of(read_vectors("approval")["good"], tmp_path / "good") == "signed"
    assert state_of(case["approval"], tmp_path / "bad") == "invalid"


def test_every_bad_case_says_who_refuses_it() -> None:
    for name in ("request", "manifest", "ledger", "transcript", "approval"):
        assert all(case["refused_by"] for case in read_vectors(name)["bad"])
