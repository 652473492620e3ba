"""Links and failures, in memory."""

import asyncio
import json
from collections.abc import Callable, Coroutine

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import MpcError, PeerLost, PeerTimeout, ProtocolViolation
from mpc.session.frames import HEADER, Kind
from mpc.session.in_memory import connect_in_memory
from mpc.session.links import Network, PeerLink


def run(program: Callable[[], Coroutine[object, object, None]]) -> None:
    asyncio.run(program())


def link_and_sent() -> tuple[PeerLink, list[bytes]]:
    sent: list[bytes] = []
    return PeerLink(1, sent.append), sent


def test_frames_are_matched_by_kind_and_tag_in_any_order() -> None:
    async def program() -> None:
        link, _ = link_and_sent()
        early = link.receive(Kind.ENGINE, 5)
        link.deliver(Kind.ENGINE, 6, b"six")
        link.deliver(Kind.MPYC, 5, b"other kind")
        assert not early.done()
        link.deliver(Kind.ENGINE, 5, b"five")
        assert (await early, await link.receive(Kind.ENGINE, 6)) == (b"five", b"six")
        assert await link.receive(Kind.MPYC, 5) == b"other kind"

    run(program)


def test_a_message_that_arrives_twice_is_a_violation() -> None:
    async def program() -> None:
        link, _ = link_and_sent()
        link.deliver(Kind.ENGINE, 5, b"x")
        with pytest.raises(ProtocolViolation, match="party 1 sent a message twice"):
            link.deliver(Kind.ENGINE, 5, b"x")

    run(program)


def test_sending_too_far_ahead_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpc.session.links.MAX_UNCLAIMED", HEADER.size + 10)

    async def program() -> None:
        link, _ = link_and_sent()
        link.deliver(Kind.ENGINE, 1, bytes(10))
        await link.receive(Kind.ENGINE, 1)
        link.deliver(Kind.ENGINE, 2, bytes(10))
        with pytest.raises(ProtocolViolation, match="too far ahead"):
            link.deliver(Kind.ENGINE, 3, bytes(1))

    run(program)


def test_sent_bytes_are_counted_with_their_headers() -> None:
    async def program() -> None:
        link, sent = link_and_sent()
        assert link.send(Kind.ENGINE, 1, b"abc") == HEADER.size + 3
        assert link.bytes_sent == len(sent[0])

    run(program)


def test_a_failed_link_raises_everywhere() -> None:
    async def program() -> None:
        link, _ = link_and_sent()
        waiting = link.receive(Kind.ENGINE, 1)
        link.deliver(Kind.ENGINE, 9, b"late")
        error = PeerLost("gone", 1)
        link.fail(error)
        for attempt in (waiting, link.receive(Kind.ENGINE, 9)):
            with pytest.raises(PeerLost):
                await attempt
        with pytest.raises(PeerLost):
            link.send(Kind.ENGINE, 1, b"")

    run(program)


def test_the_first_failure_is_final_and_told_to_the_others() -> None:
    async def program() -> None:
        networks = connect_in_memory(3)
        networks[0].abort(PeerTimeout("party 1 is silent", 1))
        networks[0].abort(PeerLost("later", 2))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert networks[0].failure.result().party == 1
        told = networks[2].failure.result()
        assert (type(told), told.party) == (PeerTimeout, 1)
        assert not networks[1].failure.done(), "the culprit is not told"

    run(program)


@pytest.mark.parametrize("kind", [Kind.HELLO, Kind.ENGINE])
def test_violations_by_frames_abort_and_name_the_sender(kind: Kind) -> None:
    async def program() -> None:
        network = connect_in_memory(3)[0]
        network.handle(2, kind, 7, b"")
        network.handle(2, kind, 7, b"")
        failure = network.failure.result()
        assert (type(failure), failure.party) == (ProtocolViolation, 2)

    run(program)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
abort_reports = (
    st.binary(max_size=60)
    | st.just(b"[" * 100_000)
    | st.builds(
        lambda value: json.dumps(value).encode(),
        json_values
        | st.fixed_dictionaries(
            {"kind": json_values | st.sampled_from(["PeerLost", "x"]), "culprit": json_values}
        ),
    )
)


@given(report=abort_reports)
def test_any_abort_frame_ends_the_job_with_an_error_of_the_tree(report: bytes) -> None:
    async def program() -> None:
        network = connect_in_memory(3)[0]
        network.handle(2, Kind.ABORT, 0, report)
        failure = network.failure.result()
        assert isinstance(failure, MpcError)
        assert failure.party is None or (type(failure.party) is int and failure.party in range(3))

    run(program)


def test_what_a_peer_sent_before_it_closed_still_arrives() -> None:
    async def program() -> None:
        network = connect_in_memory(3)[0]
        network.expect_close()
        network.handle(2, Kind.ENGINE, 4, b"last words")
        network.lost(2)
        assert await network.links[2].receive(Kind.ENGINE, 4) == b"last words"
        with pytest.raises(PeerLost):
            await network.links[2].receive(Kind.ENGINE, 5)
        assert not network.failure.done()

    run(program)


def test_deadlines_hold_while_others_have_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpc.session.links.HEARTBEAT_SECONDS", 0.02)

    async def program() -> None:
        network = Network(0, 3, silence_seconds=0.1, receive_seconds=60)
        for peer in (1, 2):
            network.attach(PeerLink(peer, lambda data: None), lambda: None)
        network.start_watchdog()
        network.expect_close()
        network.lost(1)
        waiting = network.links[2].receive(Kind.ENGINE, 1)
        with pytest.raises(PeerTimeout, match="party 2"):
            await asyncio.wait_for(waiting, 3)

    run(program)


@pytest.mark.parametrize(
    ("silence", "receive", "text"),
    [(0.1, 60, "party 1 is silent"), (60, 0.1, "party 1 did not send what is due")],
)
def test_watchdog(
    monkeypatch: pytest.MonkeyPatch, silence: float, receive: float, text: str
) -> None:
    monkeypatch.setattr("mpc.session.links.HEARTBEAT_SECONDS", 0.02)

    async def program() -> None:
        network = Network(0, 3, silence, receive)
        sent: list[bytes] = []
        network.attach(PeerLink(1, sent.append), lambda: None)
        network.start_watchdog()
        with pytest.raises(PeerTimeout, match=text):
            await asyncio.wait_for(network.links[1].receive(Kind.ENGINE, 1), 3)
        assert sent[0][0] == Kind.HEARTBEAT

    run(program)


def test_heartbeats_keep_a_peer_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpc.session.links.HEARTBEAT_SECONDS", 0.02)

    async def program() -> None:
        network = Network(0, 3, silence_seconds=0.3, receive_seconds=60)
        network.attach(PeerLink(1, lambda data: None), lambda: None)
        network.start_watchdog()
        for _ in range(25):
            await asyncio.sleep(0.02)
            network.handle(1, Kind.HEARTBEAT, 0, b"")
        assert not network.failure.done()
        network.close()

    run(program)
