"""Signatures, entries, and the files that an auditor gets."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from parties.canonical import canonical
from parties.errors import ConfigError, IdentityError
from parties.identity.certificates import Identity, make_identity
from parties.identity.signatures import Signer, Verifier
from parties.wire.chain import head_after
from parties.wire.entries import ENTRIES, BeginLine, FailedLine, LoadedLine, MeasuredLine
from parties.wire.messages import StepCost
from parties.wire.transcript import (
    PURPOSE,
    Transcript,
    cost_between,
    counts_digest,
    values_digest,
)

BEGIN = BeginLine(manifest="a" * 64, party=0, name="party-0", version="1")


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return make_identity("party-0", tmp_path_factory.mktemp("keys"))


@pytest.fixture
def transcript(identity: Identity, tmp_path: Path) -> Iterator[Transcript]:
    made = Transcript(tmp_path / "party-0.jsonl", BEGIN, Signer(identity.key_path))
    yield made
    made.close()


def lines(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in (tmp_path / "party-0.jsonl").read_text().splitlines()]


def test_every_line_is_chained_and_signed(
    transcript: Transcript, identity: Identity, tmp_path: Path
) -> None:
    transcript.write(FailedLine(error="PeerLost", text="party 2 is gone"))
    texts = (tmp_path / "party-0.jsonl").read_bytes().splitlines()
    verifier = Verifier(identity.certificate)
    first, second = lines(tmp_path)
    assert (first["event"], second["event"]) == ("begin", "failed")
    assert second["previous"] == head_after(texts[0])
    assert transcript.head == head_after(texts[1])
    for line in (first, second):
        signature = line.pop("signature")
        verifier.check(PURPOSE, canonical(line), signature)
        with pytest.raises(IdentityError):
            verifier.check("approval", canonical(line), signature)


def test_a_transcript_goes_on_where_it_ended(
    transcript: Transcript, identity: Identity, tmp_path: Path
) -> None:
    transcript.write(LoadedLine(cost={}))
    again = Transcript(tmp_path / "party-0.jsonl", BEGIN, Signer(identity.key_path))
    assert again.head == transcript.head
    again.write(FailedLine(error="x", text="y"))
    again.close()
    assert [line["event"] for line in lines(tmp_path)] == ["begin", "loaded", "failed"]
    other = BEGIN.model_copy(update={"manifest": "b" * 64})
    with pytest.raises(ConfigError, match="line 1"):
        Transcript(tmp_path / "party-0.jsonl", other, Signer(identity.key_path))


def test_large_marginals_stand_beside(transcript: Transcript, tmp_path: Path) -> None:
    small, large = np.arange(5), np.arange(5000) - 2500
    entries = transcript.marginals([small, large])
    names = [["a"], ["b"]]
    transcript.write(
        MeasuredLine(request="measure-1", round=1, cliques=names, marginals=entries, cost={})
    )
    first, second = lines(tmp_path)[1]["marginals"]
    assert first == {"sha256": values_digest(small), "values": [0, 1, 2, 3, 4]}
    assert set(second) == {"sha256", "file"}
    assert np.array_equal(np.load(tmp_path / second["file"], allow_pickle=False), large)


def test_only_known_entries_of_the_right_form_are_read() -> None:
    good = FailedLine(error="x", text="y").model_dump()
    assert ENTRIES.validate_python(good) == FailedLine(error="x", text="y")
    for bad in ({**good, "more": 1}, {**good, "event": "other"}, {**good, "error": 1}):
        with pytest.raises(ValidationError):
            ENTRIES.validate_python(bad)


def test_what_parties_share_leaves_out_costs_and_places(transcript: Transcript) -> None:
    large = transcript.marginals([np.arange(2000)])
    cost = {"step": StepCost(bytes_sent=1, rounds=1, seconds=1.0)}
    mine = MeasuredLine(request="m", round=1, cliques=[["a"]], marginals=large, cost=cost)
    moved = [large[0].model_copy(update={"file": "party-1/0123456789abcdef.npy"})]
    theirs = mine.model_copy(update={"marginals": moved, "cost": {}})
    assert mine.public() == theirs.public()
    assert BEGIN.public() == BEGIN.model_copy(update={"party": 1, "name": "x"}).public()


def test_digests_tell_order_and_borders_apart() -> None:
    a, b = np.array([1, 2]), np.array([3])
    digests = [counts_digest(c) for c in ([a, b], [b, a], [np.array([1, 2, 3])], [a], [])]
    assert len(set(digests)) == len(digests)
    assert values_digest(a) == values_digest(a.astype(np.int32))


def test_costs_between_readings() -> None:
    early = {"score": StepCost(bytes_sent=10, rounds=2, seconds=0.5)}
    late = {**early, "select": StepCost(bytes_sent=3, rounds=1, seconds=0.25)}
    assert cost_between(early, late) == {"select": late["select"]}
    assert cost_between({}, early) == early


@given(message=st.binary(max_size=50), spot=st.integers(0, 127), flip=st.integers(1, 15))
def test_changed_signatures_and_messages_are_refused(
    identity: Identity, message: bytes, spot: int, flip: int
) -> None:
    verifier = Verifier(identity.certificate)
    signature = Signer(identity.key_path).sign("x", message)
    verifier.check("x", message, signature)
    changed = f"{int(signature[spot], 16) ^ flip:x}"
    for bad_message, bad in (
        (message, signature[:spot] + changed + signature[spot + 1 :]),
        (message + b"x", signature),
        (message, signature[:-1]),
        (message, "G" + signature[1:]),
    ):
        with pytest.raises(IdentityError):
            verifier.check("x", bad_message, bad)


def test_keys_of_another_kind_are_refused(tmp_path: Path, identity: Identity) -> None:
    path = tmp_path / "key"
    for key in (ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())):
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        with pytest.raises(ConfigError, match="P-256"):
            Signer(path)
    for text in (b"", b"nothing"):
        path.write_bytes(text)
        with pytest.raises(ConfigError, match="no private key"):
            Signer(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        Verifier("no certificate")
    assert "withheld" in repr(Signer(identity.key_path))
