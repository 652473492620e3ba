"""Uploads: what the parties add up, and the exact sizes."""

from pathlib import Path

import numpy as np
import pytest

from mpc.arrays import Array, Integers
from mpc.errors import EncodingOverflow, ProtocolViolation
from mpc.session.access import AccessStructure
from mpc.steps.upload import UploadFormat
from tests.support.secure.sessions import STRUCTURES, reveal


def stored(upload_format: UploadFormat, values: Integers, directory: Path, name: str) -> list[Path]:
    paths = []
    for pid, body in enumerate(upload_format.share(values)):
        path = directory / f"{name}-{pid}"
        path.write_bytes(b"".join(body))
        paths.append(path)
    return paths


@pytest.mark.parametrize("mt", STRUCTURES)
@pytest.mark.parametrize("ring_bits", [9, 20, 32])
def test_uploads_add_up(
    mt: tuple[int, int], ring_bits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpc.steps.upload.CHUNK_CELLS", 16)
    access = AccessStructure(*mt)
    upload_format = UploadFormat(access, ring_bits, 37)
    generator = np.random.default_rng(ring_bits)
    holders = [generator.integers(0, 1 << (ring_bits - 3), 37) for _ in range(3)]
    shares = [upload_format.zeros(pid) for pid in range(access.n_parties)]
    for number, values in enumerate(holders):
        for pid, path in enumerate(stored(upload_format, values, tmp_path, str(number))):
            assert path.stat().st_size == upload_format.body_size(pid)
            upload_format.accumulate(pid, path, shares[pid])
    assert np.array_equal(reveal(shares), sum(holders))


def test_with_three_parties_one_gets_seeds_only() -> None:
    upload_format = UploadFormat(AccessStructure(3, 1), 20, 1000)
    assert [upload_format.body_size(pid) for pid in range(3)] == [32 + 2500, 32 + 2500, 64]


def test_bodies_do_not_depend_on_the_values_alone(tmp_path: Path) -> None:
    upload_format = UploadFormat(AccessStructure(3, 1), 20, 50)
    zeros, ones = np.zeros(50, np.int64), np.full(50, 2**19 - 1)
    first, again, other = (
        [b"".join(body) for body in upload_format.share(values)] for values in (zeros, zeros, ones)
    )
    assert [len(b) for b in first] == [len(b) for b in other]
    assert all(a != b for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(
    "values",
    [np.zeros(4, np.int64), np.array([0, 0, -1]), np.array([0, 2**19, 0]), np.zeros((3, 1))],
)
def test_values_that_do_not_fit_are_refused(values: Array) -> None:
    upload_format = UploadFormat(AccessStructure(3, 1), 20, 3)
    with pytest.raises(EncodingOverflow):
        upload_format.share(values)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_body_of_a_wrong_length_is_refused(change: int, tmp_path: Path) -> None:
    upload_format = UploadFormat(AccessStructure(3, 1), 20, 8)
    path = tmp_path / "body"
    path.write_bytes(bytes(upload_format.body_size(0) + change))
    with pytest.raises(ProtocolViolation, match="wrong length"):
        upload_format.accumulate(0, path, upload_format.zeros(0))
