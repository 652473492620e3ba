"""The recorded vectors: an independent reading of the formats, and refusal of the bad inputs."""

import hashlib
import hmac
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mpc.errors import EncodingOverflow, ProtocolViolation
from mpc.session.access import AccessStructure
from mpc.session.frames import FrameDecoder, Kind, frame
from mpc.session.keystream import Keystream, digest, extract_key
from mpc.shares.packing import pack_ring, unpack_ring
from mpc.steps.upload import UploadFormat
from tests.support.secure.sessions import reveal
from tests.support.vectors import Case, read_vectors

ROOT = Path(__file__).resolve().parents[2]
MAKERS = runpy.run_path(str(ROOT / "scripts" / "make_vectors.py"))["MAKERS"]


@pytest.mark.parametrize("name", MAKERS)
def test_the_program_still_makes_the_recorded_vectors(name: str) -> None:
    assert json.loads(json.dumps(MAKERS[name]())) == read_vectors(name)


@pytest.mark.parametrize("case", read_vectors("packing")["good"], ids=lambda c: str(c["bits"]))
def test_packing(case: Case) -> None:
    packed = bytes.fromhex(case["packed"])
    values = np.array(case["values"], np.uint64)
    assert pack_ring(values, case["bits"]) == packed
    unpacked = unpack_ring(np.frombuffer(packed, np.uint8), len(values), case["bits"], np.uint64)
    assert unpacked.tolist() == case["values"]


@pytest.mark.parametrize("case", read_vectors("keystream")["good"], ids=lambda c: c["label"])
def test_streams(case: Case) -> None:
    vectors = read_vectors("keystream")
    salt = digest(bytes.fromhex(vectors["binding"]), b"component", b"1")
    key = extract_key(bytes.fromhex(vectors["secret"]), salt)
    assert key.hex() == vectors["key"]
    stream_key = hmac.digest(key, case["label"].encode() + b"\x01", "sha256")[:16]
    assert stream_key.hex() == case["stream_key"]
    plain = Cipher(algorithms.AES(stream_key), modes.CTR(bytes(16))).encryptor()
    assert plain.update(bytes(40)).hex() == case["output"]
    assert Keystream(key, case["label"].encode()).read(40).hex() == case["output"]


def test_digest() -> None:
    vector = read_vectors("keystream")["digest"]
    parts = [bytes.fromhex(part) for part in vector["parts"]]
    plain = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    assert digest(*parts).hex() == hashlib.sha256(plain).hexdigest() == vector["value"]


@pytest.mark.parametrize("case", read_vectors("upload")["good"], ids=lambda c: f"m{c['parties']}")
def test_upload_bodies(case: Case, tmp_path: Path) -> None:
    access = AccessStructure(case["parties"], case["threshold"])
    upload = UploadFormat(access, case["ring_bits"], len(case["values"]))
    shares = []
    for pid, body in enumerate(case["bodies"]):
        path = tmp_path / str(pid)
        path.write_bytes(bytes.fromhex(body))
        seeds = [case["seeds"][i] for i in access.held[pid] if i < len(access.sets) - 1]
        assert body.startswith("".join(seeds))
        shares.append(upload.zeros(pid))
        upload.accumulate(pid, path, shares[-1])
    assert reveal(shares).tolist() == case["values"]


@pytest.mark.parametrize("case", read_vectors("upload")["bad"], ids=lambda c: c["why"])
def test_bad_uploads_are_refused(case: Case) -> None:
    n_cells = read_vectors("upload")["bad_cells"]
    upload = UploadFormat(AccessStructure(3, 1), case["ring_bits"], n_cells)
    with pytest.raises(EncodingOverflow):
        upload.share(np.array(case["values"]))


@pytest.mark.parametrize("case", read_vectors("frames")["good"], ids=lambda c: Kind(c["kind"]).name)
def test_frames(case: Case) -> None:
    encoded, payload = bytes.fromhex(case["frame"]), bytes.fromhex(case["payload"])
    assert frame(Kind(case["kind"]), case["tag"], payload) == encoded
    assert list(FrameDecoder().feed(encoded)) == [(case["kind"], case["tag"], payload)]


@pytest.mark.parametrize("case", read_vectors("frames")["bad"])
def test_bad_frames_are_refused(case: Case) -> None:
    with pytest.raises(ProtocolViolation, match=case["why"]):
        list(FrameDecoder().feed(bytes.fromhex(case["frame"])))
