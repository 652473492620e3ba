"""The network without sockets: what is on its way can be watched, changed and dropped."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from mpc.arrays import Array
from mpc.errors import MpcError, PeerTimeout, ProtocolViolation
from mpc.session.channel import Step
from mpc.session.frames import HEADER, Kind
from mpc.session.in_memory import Intercept, connect_in_memory, run_parties, start_sessions
from mpc.session.session import Session
from mpc.shares.opening import open_share
from mpc.shares.replicated import ring
from tests.support.secure.sessions import deal

Change = Callable[[bytes], bytes | None]


def from_party_0_to_1(change: Change, n_spared: int = 0) -> Intercept:
    """Apply a change to the engine's frames from party 0 to party 1, after the first ones."""
    seen = Counter[bool]()

    def intercept(sender: int, receiver: int, frame: bytes) -> bytes | None:
        if (sender, receiver) != (0, 1) or frame[0] != Kind.ENGINE:
            return frame
        seen[True] += 1
        return frame if seen[True] <= n_spared else change(frame)

    return intercept


def failure(
    program: Callable[[Session], Awaitable[object]], intercept: Intercept, receive_seconds: float
) -> MpcError:
    """Run a program that must fail at party 1; return why it did."""

    async def main() -> MpcError:
        sessions = await start_sessions(3, 1, intercept, receive_seconds=receive_seconds)
        running = asyncio.gather(*map(program, sessions), return_exceptions=True)
        error = await asyncio.wait_for(sessions[1].network.failure, 5)
        running.cancel()
        return error

    return asyncio.run(main())


async def agree(session: Session) -> None:
    await session.agree("model", b"same")


def test_a_watched_network_shows_every_frame_once() -> None:
    seen = Counter[tuple[int, int]]()

    def count(sender: int, receiver: int, frame: bytes) -> bytes:
        seen[sender, receiver] += 1
        return frame

    run_parties(3, 1, agree, count)
    pairs = [(a, b) for a in range(3) for b in range(3) if a != b]
    assert seen == dict.fromkeys(pairs, 2), "a key and a hash"


def test_a_changed_hash_is_a_disagreement_for_the_one_that_sees_it() -> None:
    def flip(frame: bytes) -> bytes:
        return frame[:-1] + bytes([frame[-1] ^ 1])

    error = failure(agree, from_party_0_to_1(flip, 1), 60)
    assert (type(error), error.party) == (ProtocolViolation, 0)
    assert "disagrees about model" in str(error)


def test_a_changed_share_is_found_where_it_is_opened() -> None:
    values = np.arange(20)
    shares: dict[int, Array] = {}

    async def program(session: Session) -> None:
        share = deal(session.access, ring(20), values)[session.pid]
        with session.step(Step.MEASURE, "open") as channel:
            shares[session.pid] = await open_share(channel, share)

    def flip(frame: bytes) -> bytes:
        body = bytearray(frame)
        body[HEADER.size] ^= 1
        return bytes(body)

    run_parties(3, 1, program)
    assert all(np.array_equal(opened, values) for opened in shares.values())
    error = failure(program, from_party_0_to_1(flip, 1), 60)
    assert "parties 2 and 0 open different values" in str(error)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda frame: b"\x09" + frame[1:], "unknown kind"),
        (lambda frame: frame[:9] + b"\xff\xff\xff\xff" + frame[13:], "above the cap"),
    ],
)
def test_bytes_that_are_no_frame_are_blamed_on_their_sender(change: Change, text: str) -> None:
    error = failure(agree, from_party_0_to_1(change, 1), 60)
    assert (type(error), error.party) == (ProtocolViolation, 0)
    assert text in str(error)


def test_a_dropped_frame_runs_into_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpc.session.links.HEARTBEAT_SECONDS", 0.02)
    error = failure(agree, from_party_0_to_1(lambda frame: None, 1), 0.1)
    assert (type(error), error.party) == (PeerTimeout, 0)
    assert "did not send what is due" in str(error)


def test_a_silent_party_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpc.session.links.HEARTBEAT_SECONDS", 0.02)

    def mute(sender: int, receiver: int, frame: bytes) -> bytes | None:
        return None if sender == 2 else frame

    async def main() -> list[MpcError]:
        networks = connect_in_memory(3, mute, silence_seconds=0.1)
        return [await asyncio.wait_for(network.failure, 3) for network in networks[:2]]

    errors = asyncio.run(main())
    assert [(type(error), error.party) for error in errors] == [(PeerTimeout, 2)] * 2
