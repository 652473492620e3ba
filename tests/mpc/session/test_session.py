"""Keys, channels and step accounting of a session."""

import asyncio
import pickle
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from mpc.errors import MpcError, ProtocolViolation
from mpc.session.access import AccessStructure
from mpc.session.channel import Step, StepStatistics
from mpc.session.frames import HEADER, Kind
from mpc.session.in_memory import connect_in_memory, run_parties, start_sessions
from mpc.session.session import KEY_BYTES, Session
from mpc.shares.replicated import reshare, ring
from tests.support.secure.sessions import STRUCTURES, deal


async def give_session(session: Session) -> Session:
    return session


@pytest.mark.parametrize("mt", [*STRUCTURES, (7, 3)])
def test_holders_of_a_component_have_its_key_and_nobody_else(mt: tuple[int, int]) -> None:
    sessions = run_parties(*mt, give_session)
    access = AccessStructure(*mt)
    for i, holders in enumerate(access.holders):
        keys = {s.keys[i] for s in sessions if i in s.keys}
        assert len(keys) == 1
        assert [s.pid for s in sessions if i in s.keys] == list(holders)
    assert len({key for s in sessions for key in s.keys.values()}) == len(access.sets)


def test_keys_depend_on_the_binding_and_are_fresh() -> None:
    async def keys(binding: bytes) -> bytes:
        networks = connect_in_memory(3)
        access = AccessStructure(3, 1)
        started = await asyncio.gather(*(Session.start(n, access, binding) for n in networks))
        return started[0].keys[1]

    drawn = [asyncio.run(keys(b"a")), asyncio.run(keys(b"a")), asyncio.run(keys(b"b"))]
    assert len(set(drawn)) == 3


def test_keys_are_salted_with_the_binding() -> None:
    async def keys(binding: bytes) -> Mapping[int, bytes]:
        networks = connect_in_memory(3)
        access = AccessStructure(3, 1)
        started = await asyncio.gather(
            *(Session.start(n, access, binding, bytes) for n in networks)
        )
        return started[0].keys

    first, second = asyncio.run(keys(b"a")), asyncio.run(keys(b"b"))
    assert first[1] != first[2] != second[2]


@pytest.mark.parametrize("n_bytes", [0, KEY_BYTES - 1, KEY_BYTES + 1, 3 * KEY_BYTES])
def test_keys_of_a_wrong_length_are_refused(n_bytes: int) -> None:
    async def program() -> None:
        network = connect_in_memory(3)[1]
        network.handle(0, Kind.ENGINE, 0, bytes(n_bytes))
        with pytest.raises(ProtocolViolation, match="party 0 sent keys of a wrong length"):
            await Session.start(network, AccessStructure(3, 1), b"")

    asyncio.run(program())


def test_a_step_label_is_used_once() -> None:
    async def program(session: Session) -> None:
        with session.step(Step.SCORE, "1"):
            pass
        with session.step(Step.SELECT, "1"):
            pass
        with pytest.raises(MpcError, match="was run before"), session.step(Step.SCORE, "1"):
            pass

    run_parties(3, 1, program)


def test_no_two_streams_of_a_session_are_equal() -> None:
    async def program(session: Session) -> None:
        drawn = []
        for step, label in ((Step.SCORE, "1"), (Step.SCORE, "2"), (Step.SELECT, "1")):
            with session.step(step, label) as channel:
                for piece in [channel, *channel.fork(2), *channel.fork(2)]:
                    for purpose in ("reshare", "split"):
                        for component in session.access.held[session.pid]:
                            for party in range(3):
                                stream = piece.stream(purpose, component, party)
                                drawn.append(stream.read(16))
        assert len(set(drawn)) == len(drawn) == 3 * 5 * 2 * 2 * 3

    run_parties(3, 1, program)


def test_a_channel_goes_on_in_its_stream() -> None:
    async def program(session: Session) -> bool:
        with session.step(Step.SCORE, "1") as channel:
            component = session.access.held[session.pid][0]
            first = channel.stream("reshare", component, 0).read(16)
            return first != channel.stream("reshare", component, 0).read(16)

    assert run_parties(3, 1, program) == [True] * 3


def test_masks_of_successive_messages_differ() -> None:
    frames: list[bytes] = []

    async def program(session: Session) -> None:
        with session.step(Step.SCORE, "1") as channel:
            for _ in range(3):
                own = np.zeros(4, np.uint32)
                await reshare(channel, ring(32), (4,), own, range(3))

    def observe(sender: int, receiver: int, frame: bytes) -> bytes:
        if len(frame) == HEADER.size + 16:
            frames.append(frame[HEADER.size :])
        return frame

    run_parties(3, 1, program, observe)
    assert len(frames) == 9
    assert len(set(frames)) == 9


def test_statistics_count_rounds_along_the_deepest_fork() -> None:
    async def program(session: Session) -> StepStatistics:
        with session.step(Step.SCORE, "1") as channel:
            pieces = channel.fork(2)
            for piece, n_rounds in zip(pieces, (1, 3), strict=True):
                for _ in range(n_rounds):
                    await piece.exchange(dict.fromkeys(session.peers, b"12"), session.peers)
            channel.join(pieces)
            await channel.exchange({}, [])
        return session.statistics[Step.SCORE]

    for statistics in run_parties(3, 1, program):
        assert (statistics.runs, statistics.rounds) == (1, 4)
        assert statistics.bytes_sent == 4 * 2 * (13 + 2)


def violations(outcomes: Sequence[object]) -> list[ProtocolViolation]:
    found = [outcome for outcome in outcomes if isinstance(outcome, ProtocolViolation)]
    assert len(found) == len(outcomes)
    return found


def test_disagreement_names_the_other_party() -> None:
    async def program() -> list[BaseException | None]:
        sessions = await start_sessions(3, 1)
        values = [b"same", b"same", b"other"]
        return await asyncio.gather(
            *(s.agree("model", v) for s, v in zip(sessions, values, strict=True)),
            return_exceptions=True,
        )

    errors = violations(asyncio.run(program()))
    assert errors[0].party == 2
    assert "disagrees about model" in str(errors[0])


def test_all_name_the_one_that_stands_against_the_rest() -> None:
    async def program() -> list[BaseException | None]:
        sessions = await start_sessions(3, 1)
        heads = [b"head", b"rolled back", b"head"]
        return await asyncio.gather(
            *(
                s.agree_all("select-1", {"request": b"same", "ledger": head})
                for s, head in zip(sessions, heads, strict=True)
            ),
            return_exceptions=True,
        )

    errors = violations(asyncio.run(program()))
    assert [error.party for error in errors] == [1, 1, 1]
    assert "party 1 disagrees about the ledger" in str(errors[0])


def test_published_values_reach_everybody() -> None:
    async def program(session: Session) -> dict[int, bytes]:
        return await session.publish("state", b"from %d" % session.pid)

    expected = {pid: b"from %d" % pid for pid in range(4)}
    assert run_parties(4, 1, program) == [expected] * 4


def test_agreement_and_close() -> None:
    async def program(session: Session) -> bool:
        await session.agree("model", b"same")
        await session.close()
        return session.network.failure.done()

    assert run_parties(3, 1, program) == [False] * 3


def test_secrets_are_neither_shown_nor_serialised() -> None:
    session = run_parties(3, 1, give_session)[0]
    share = deal(session.access, ring(20), np.array([123456]))[0]
    shown = repr(session) + repr(share)
    assert "123456" not in shown
    assert not any(str(int(x[0])) in shown for x in share.components.values())
    assert not any(repr(key)[2:-1] in shown for key in session.keys.values())
    for secret in (session, share):
        with pytest.raises(TypeError, match="never serialised"):
            pickle.dumps(secret)
