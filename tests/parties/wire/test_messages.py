import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aim_core.arrays import Counts
from parties.errors import RequestRefused
from parties.wire.messages import (
    SelectRequest,
    decode_counts,
    decode_marginals,
    encode_counts,
    encode_marginals,
    pack,
    parse,
    unpack,
)

counts = arrays(np.int64, st.integers(1, 40), elements=st.integers(0, 100_000))
noisy = arrays(np.int64, st.integers(1, 40), elements=st.integers(-(2**40), 2**40))


@given(st.lists(counts, min_size=1, max_size=5))
def test_counts_round_trip(marginals: list[Counts]) -> None:
    widths, payload = encode_counts(marginals)
    back = decode_counts(payload, widths, [m.size for m in marginals], y_max=10**7)
    assert all(np.array_equal(a, b) for a, b in zip(marginals, back, strict=True))
    assert widths == [1 if m.max() < 256 else 2 if m.max() < 65536 else 4 for m in marginals]


@given(st.lists(noisy, min_size=1, max_size=5))
def test_marginals_round_trip(marginals: list[Counts]) -> None:
    back = decode_marginals(encode_marginals(marginals), [m.size for m in marginals])
    assert all(np.array_equal(a, b) for a, b in zip(marginals, back, strict=True))


@pytest.mark.parametrize(
    "payload",
    [
        zlib.compress(bytes(9)),  # too short
        zlib.compress(bytes(11)),  # too long
        zlib.compress(bytes(10**7)),  # a bomb
        zlib.compress(bytes(10)) + b"x",  # something behind
        zlib.compress(bytes(10))[:-1],  # cut off
        b"not zlib",
    ],
)
def test_counts_of_another_size_are_refused(payload: bytes) -> None:
    with pytest.raises(RequestRefused, match="inflate"):
        decode_counts(payload, [1], [10], y_max=100)


def test_counts_above_the_bound_are_refused() -> None:
    widths, payload = encode_counts([np.array([60, 50])])
    with pytest.raises(RequestRefused, match="y_max"):
        decode_counts(payload, widths, [2], y_max=100)


@given(st.binary(max_size=200))
def test_garbage_is_refused(body: bytes) -> None:
    with pytest.raises(RequestRefused):
        parse(SelectRequest, unpack(body)[0])


@pytest.mark.parametrize(
    "change",
    [
        {"widths": [3]},
        {"candidates": [0, 0]},
        {"candidates": [-1]},
        {"biases": [-1]},
        {"biases": [2**41]},
        {"selection_epsilon": "0.5"},
        {"round": True},
        {"extra": 1},
    ],
)
def test_select_request_is_strict(change: dict[str, object]) -> None:
    good = {"round": 1, "candidates": [0], "selection_epsilon": "1/2", "biases": [3], "widths": [1]}
    header, payload = unpack(pack(good, b"abc"))
    assert parse(SelectRequest, header).selection_epsilon == "1/2"
    assert payload == b"abc"
    header, _ = unpack(pack({**good, **change}, b""))
    with pytest.raises(RequestRefused):
        parse(SelectRequest, header)


def test_marginals_of_another_size_are_refused() -> None:
    body = encode_marginals([np.arange(4)])
    with pytest.raises(RequestRefused, match="sizes"):
        decode_marginals(body, [3])
    with pytest.raises(RequestRefused, match="sizes"):
        decode_marginals(body + b"x", [4])
