"""Frames: any split of the stream gives the same frames; bad ones are refused."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import ProtocolViolation
from mpc.session.frames import HEADER, MAX_PAYLOAD, FrameDecoder, Kind, array_from_bytes, frame

frames = st.tuples(st.sampled_from(Kind), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=40))


@given(sent=st.lists(frames, max_size=8), cuts=st.lists(st.integers(0, 500), max_size=10))
def test_frames_survive_any_split(sent: list[tuple[Kind, int, bytes]], cuts: list[int]) -> None:
    stream = b"".join(frame(*f) for f in sent)
    borders = sorted({0, len(stream), *(c for c in cuts if c < len(stream))})
    decoder = FrameDecoder()
    received = [f for a, b in pairwise(borders) for f in decoder.feed(stream[a:b])]
    assert received == sent


@pytest.mark.parametrize("kind", [5, 77, 255])
def test_an_unknown_kind_is_refused_by_its_header(kind: int) -> None:
    with pytest.raises(ProtocolViolation, match="unknown kind"):
        list(FrameDecoder().feed(HEADER.pack(kind, 0, 0)))


def test_an_announced_length_above_the_cap_is_refused_before_it_arrives() -> None:
    with pytest.raises(ProtocolViolation, match="above the cap"):
        list(FrameDecoder().feed(HEADER.pack(Kind.ENGINE, 0, MAX_PAYLOAD + 1)))


def test_frames_before_a_bad_one_are_delivered() -> None:
    decoder = FrameDecoder()
    stream = decoder.feed(frame(Kind.ENGINE, 1, b"x") + HEADER.pack(99, 0, 0))
    assert next(stream) == (Kind.ENGINE, 1, b"x")
    with pytest.raises(ProtocolViolation):
        next(stream)


def test_a_party_does_not_send_above_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpc.session.frames.MAX_PAYLOAD", 8)
    assert len(frame(Kind.ENGINE, 0, bytes(8))) == HEADER.size + 8
    with pytest.raises(ProtocolViolation, match="exceeds the cap"):
        frame(Kind.ENGINE, 0, bytes(9))


@pytest.mark.parametrize("n_bytes", [0, 11, 13, 24])
def test_arrays_have_exactly_the_length_due(n_bytes: int) -> None:
    assert array_from_bytes(bytes(12), np.uint32, (3,), 1).shape == (3,)
    with pytest.raises(ProtocolViolation, match="party 2 sent") as caught:
        array_from_bytes(bytes(n_bytes), np.uint32, (3,), 2)
    assert caught.value.party == 2
