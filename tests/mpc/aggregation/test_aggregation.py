"""Secure aggregation: exact sums, dropouts at every step, slots that stay closed, refusals."""

import pickle
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.aggregation.member import Contributor, Vectors
from mpc.aggregation.messages import HEADER, MessageKind
from mpc.aggregation.parameters import (
    Parameters,
    Slots,
    VectorSlot,
    contributors,
    due_shares,
    from_ring,
    slots_of,
    to_ring,
)
from mpc.aggregation.server import Aggregator, SlotSum
from mpc.arrays import Array
from mpc.errors import EncodingOverflow, MpcError, ProtocolViolation, TooFewMembers
from tests.support.secure.aggregation_sessions import SENDING, InMemory, vectors_for

Sums = dict[int, tuple[Array, tuple[int, ...]]]
Change = Callable[[bytes], bytes]


def parameters(n: int, threshold: int, ring_bits: int = 20, first: int = 0) -> Parameters:
    return Parameters(b"session", tuple(range(first, first + n)), threshold, ring_bits)


def expected(
    slots: Slots, vectors: Mapping[int, Vectors], survivors: Collection[int], ring_bits: int
) -> Sums:
    top = np.uint64((1 << ring_bits) - 1)
    sums: Sums = {}
    for number, who in contributors(slots, survivors).items():
        total = np.zeros(slots[number].n_cells, np.uint64)
        for member in who:
            total += vectors[member][number]
        sums[number] = (total & top, who)
    return sums


def assert_sums(found: Mapping[int, SlotSum], wanted: Sums) -> None:
    assert set(found) == set(wanted)
    for number, (total, who) in wanted.items():
        assert found[number].contributors == who
        assert found[number].values.dtype == np.uint64
        np.testing.assert_array_equal(found[number].values, total)


THREE_SLOTS = {
    0: VectorSlot(11, (0, 1, 2, 3, 4), 2),
    3: VectorSlot(5, (1, 4), 1),
    7: VectorSlot(1, (2,), 1),
}


@pytest.mark.parametrize("ring_bits", [1, 7, 19, 32, 33, 63, 64])
@pytest.mark.parametrize(("n", "threshold"), [(5, 3), (5, 5), (7, 4)])
def test_sums_are_exact(n: int, threshold: int, ring_bits: int) -> None:
    vectors = vectors_for(THREE_SLOTS, ring_bits)
    session = InMemory(parameters(n, threshold, ring_bits), THREE_SLOTS)
    everyone = range(n)
    assert_sums(session.run(vectors), expected(THREE_SLOTS, vectors, everyone, ring_bits))


@pytest.mark.parametrize(("n", "threshold"), [(1, 1), (2, 2)])
def test_one_and_two_members(n: int, threshold: int) -> None:
    slots = {4: VectorSlot(3, tuple(range(n)), n)}
    vectors = vectors_for(slots, 20)
    session = InMemory(parameters(n, threshold), slots)
    assert_sums(session.run(vectors), expected(slots, vectors, range(n), 20))


def test_a_session_without_slots_opens_nothing() -> None:
    assert InMemory(parameters(3, 2), {}).run({}) == {}


def test_negative_values_come_back() -> None:
    slots = {0: VectorSlot(4, (0, 1, 2), 3)}
    values = np.array([-5, 3, -(524288 // 3), 524287 // 3])
    vectors = {m: {0: to_ring(values, 20)} for m in range(3)}
    total = InMemory(parameters(3, 2), slots).run(vectors)[0].values
    np.testing.assert_array_equal(from_ring(total, 20), 3 * values)


@pytest.mark.parametrize("bits", [1, 20, 32, 64])
def test_signed_values_must_fit(bits: int) -> None:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    ends = np.array([low, high, 0, -1])
    np.testing.assert_array_equal(from_ring(to_ring(ends, bits), bits), ends)
    if bits < 64:
        for outside in (low - 1, high + 1):
            with pytest.raises(EncodingOverflow):
                to_ring(np.array([outside]), bits)


Case = tuple[Parameters, dict[int, VectorSlot], dict[int, MessageKind]]


@st.composite
def sessions(draw: st.DrawFn) -> Case:
    n = draw(st.integers(1, 6))
    first = draw(st.sampled_from([0, 3, 2**32 - 2 - n]))
    public = parameters(
        n, draw(st.integers(n // 2 + 1, n)), draw(st.sampled_from([9, 32, 40])), first
    )
    some_members = st.lists(st.sampled_from(public.members), unique=True).map(sorted).map(tuple)
    slot = st.builds(VectorSlot, st.integers(1, 9), some_members, st.integers(1, n + 1))
    slots = draw(st.dictionaries(st.integers(0, 2**32 - 1), slot, max_size=4))
    leaves = draw(st.dictionaries(st.sampled_from(public.members), st.sampled_from(SENDING)))
    return public, slots, leaves


@settings(max_examples=150)
@given(sessions(), st.integers(0, 2**32))
def test_whoever_leaves_the_rest_get_their_sum_or_are_too_few(case: Case, seed: int) -> None:
    public, slots, leaves = case
    vectors = vectors_for(slots, public.ring_bits, seed)
    session = InMemory(public, slots, leaves)
    if len(session.there(MessageKind.UNMASK, public.members)) < public.threshold:
        with pytest.raises(TooFewMembers):
            session.run(vectors)
    else:
        survivors = session.there(MessageKind.CONTRIBUTION, public.members)
        assert_sums(session.run(vectors), expected(slots, vectors, survivors, public.ring_bits))


@given(sessions(), st.randoms())
def test_never_both_secrets_of_a_member_and_nothing_of_closed_slots(
    case: Case, random: Random
) -> None:
    public, slots, _ = case
    survivors = {m for m in public.members if random.random() < 0.6}
    items = due_shares(slots, public.members, survivors)
    opened = contributors(slots, survivors)
    assert {owner for owner, slot in items if slot is None}.isdisjoint(survivors)
    assert {owner for owner, slot in items if slot is not None} <= survivors
    assert {slot for _, slot in items} - {None} == set(opened)
    assert all(set(slots_of(slots, owner)) & set(opened) for owner, _ in items)


@pytest.mark.parametrize(
    "leaving", [MessageKind.ADVERTISE, MessageKind.SHARES, MessageKind.CONTRIBUTION]
)
def test_a_slot_below_its_minimum_stays_closed_while_others_open(leaving: MessageKind) -> None:
    slots = {
        0: VectorSlot(6, (0, 1, 2), 3),
        1: VectorSlot(6, (0, 1, 2, 3), 3),
        2: VectorSlot(6, (0, 3), 2),
    }
    session = InMemory(parameters(5, 3), slots, {2: leaving})
    vectors = vectors_for(slots, 20)
    found = session.run(vectors)
    assert set(found) == {1, 2}
    assert_sums(found, expected(slots, vectors, {0, 1, 3, 4}, 20))


def test_members_that_leave_after_contributing_still_count() -> None:
    leaves = {0: MessageKind.UNMASK, 2: MessageKind.UNMASK}
    vectors = vectors_for(THREE_SLOTS, 20)
    found = InMemory(parameters(5, 3), THREE_SLOTS, leaves).run(vectors)
    assert_sums(found, expected(THREE_SLOTS, vectors, range(5), 20))


def test_any_threshold_of_answers_opens_the_same_sums() -> None:
    vectors = vectors_for(THREE_SLOTS, 20)
    session = InMemory(parameters(5, 3), THREE_SLOTS, {3: MessageKind.CONTRIBUTION})
    answers = session.unmask(vectors)
    wanted = expected(THREE_SLOTS, vectors, {0, 1, 2, 4}, 20)
    for chosen in (answers[:3], answers[1:], answers[::-1]):
        assert_sums(session.server.sums(chosen), wanted)


# Sizes and randomness


def test_sizes_follow_from_public_facts() -> None:
    first, second = (InMemory(parameters(5, 3), THREE_SLOTS) for _ in range(2))
    first.run(vectors_for(THREE_SLOTS, 20))
    second.run(
        {m: {s: 0 * v for s, v in own.items()} for m, own in vectors_for(THREE_SLOTS, 20).items()}
    )
    assert [len(m) for m in first.sent] == [len(m) for m in second.sent]
    own = slots_of(THREE_SLOTS, 1)
    assert len(first.shares[1]) == HEADER.size + 4 * (16 * (1 + len(own)) + 16)
    # 11 cells and 5 cells of 20 bits: 16 bits each, and four planes of 2 bytes and of 1 byte
    assert len(first.contributions[1]) == HEADER.size + 22 + 8 + 10 + 4


def test_every_session_draws_fresh_keys() -> None:
    public = parameters(3, 2)
    assert Contributor(public, 0).advertise() != Contributor(public, 0).advertise()


# Refusals: parameters, slots, vectors


@pytest.mark.parametrize(
    ("members", "threshold", "bits", "session"),
    [
        ((), 1, 20, b"s"),
        ((0, 1, 2), 1, 20, b"s"),
        ((0, 1, 2, 3), 2, 20, b"s"),
        ((0, 1, 2), 4, 20, b"s"),
        ((0, 2, 1), 2, 20, b"s"),
        ((0, 1, 1), 2, 20, b"s"),
        ((-1, 1, 2), 2, 20, b"s"),
        ((0, 1, 2**32 - 1), 2, 20, b"s"),
        ((0, 1, 2), 2, 0, b"s"),
        ((0, 1, 2), 2, 65, b"s"),
        ((0, 1, 2), 2, 20, b""),
    ],
)
def test_bad_parameters_are_refused(
    members: tuple[int, ...], threshold: int, bits: int, session: bytes
) -> None:
    with pytest.raises(MpcError):
        Parameters(session, members, threshold, bits)


@pytest.mark.parametrize(
    "slots",
    [
        {0: VectorSlot(0, (0, 1), 1)},
        {0: VectorSlot(3, (0, 9), 1)},
        {0: VectorSlot(3, (1, 0), 1)},
        {0: VectorSlot(3, (0, 1), 0)},
        {-1: VectorSlot(3, (0, 1), 1)},
        {2**32: VectorSlot(3, (0, 1), 1)},
    ],
)
def test_bad_slots_are_refused_by_both_roles(slots: dict[int, VectorSlot]) -> None:
    session = InMemory(parameters(3, 2), slots)
    session.advertise()
    with pytest.raises(MpcError, match="slot"):
        session.members[0].share_keys(session.roster, slots)
    with pytest.raises(MpcError, match="slot"):
        session.server.inboxes([], slots)


@pytest.mark.parametrize(
    "own",
    [
        {},
        {0: np.zeros(3, np.uint64), 1: np.zeros(3, np.uint64)},
        {0: np.zeros(4, np.uint64)},
        {0: np.zeros((3, 1), np.uint64)},
        {0: np.zeros(3, np.int64)},
        {0: np.zeros(3)},
        {0: np.array([0, 1 << 20, 0], np.uint64)},
    ],
)
def test_vectors_that_do_not_fit_are_refused_and_end_the_members_part(own: Vectors) -> None:
    session = InMemory(parameters(3, 2), {0: VectorSlot(3, (0, 1, 2), 1)})
    session.share()
    with pytest.raises(EncodingOverflow):
        session.members[0].contribute(session.inboxes[0], own)
    with pytest.raises(MpcError, match="not the next step"):
        session.members[0].contribute(session.inboxes[0], {0: np.zeros(3, np.uint64)})
    with pytest.raises(MpcError, match="not the next step"):
        session.members[0].unmask(b"")


def test_a_stranger_cannot_be_a_contributor() -> None:
    with pytest.raises(MpcError, match="no member"):
        Contributor(parameters(3, 2), 3)


# Refusals: messages


SLOTS = {0: VectorSlot(8, (0, 1, 2, 3, 4), 2), 1: VectorSlot(8, (1, 3), 1)}
VECTORS = vectors_for(SLOTS, 20)


def answers_at(step: MessageKind) -> tuple[Callable[[Iterable[bytes]], object], list[bytes]]:
    """Return the server before a step, that step's good messages, and how it takes them."""
    session = InMemory(parameters(5, 3), SLOTS)
    if step == MessageKind.ADVERTISE:
        messages = [member.advertise() for member in session.members.values()]
        return session.server.roster, messages
    session.advertise()
    messages = [m.share_keys(session.roster, SLOTS) for m in session.members.values()]
    if step == MessageKind.SHARES:
        return lambda sent: session.server.inboxes(sent, SLOTS), messages
    inboxes = session.server.inboxes(messages, SLOTS)
    messages = [m.contribute(inboxes[n], VECTORS[n]) for n, m in session.members.items()]
    if step == MessageKind.CONTRIBUTION:
        return session.server.survivors, messages
    survivors = session.server.survivors(messages)
    return session.server.sums, [m.unmask(survivors) for m in session.members.values()]


def with_header(message: bytes, **changes: object) -> bytes:
    step, tag, number = HEADER.unpack_from(message)
    fields = {"step": step, "tag": tag, "number": number} | changes
    return HEADER.pack(*fields.values()) + message[HEADER.size :]


BAD: dict[str, Change] = {
    "short": lambda m: m[: HEADER.size - 1],
    "empty": lambda m: b"",
    "cut": lambda m: m[:-1],
    "long": lambda m: m + b"\0",
    "unknown sender": lambda m: with_header(m, number=77),
    "from the server": lambda m: with_header(m, number=2**32 - 1),
    "other session": lambda m: with_header(m, tag=bytes(16)),
    "other step": lambda m: with_header(m, step=9),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("step", SENDING)
def test_the_server_refuses_bad_messages_and_goes_on_without_them(
    step: MessageKind, bad: str
) -> None:
    take, messages = answers_at(step)
    with pytest.raises(ProtocolViolation) as caught:
        take([*messages[:1], BAD[bad](messages[1]), *messages[2:]])
    if bad in ("cut", "long", "other session", "other step"):
        assert caught.value.party == 1
        assert "member 1" in str(caught.value)
    take([*messages[:1], *messages[2:]])


@pytest.mark.parametrize("step", SENDING)
def test_the_server_refuses_a_second_message_of_one_member(step: MessageKind) -> None:
    take, messages = answers_at(step)
    with pytest.raises(ProtocolViolation, match=r"member 4 .* second time") as caught:
        take([*messages, messages[4]])
    assert caught.value.party == 4


@pytest.mark.parametrize("step", SENDING[:3])
def test_the_server_takes_a_step_once(step: MessageKind) -> None:
    take, messages = answers_at(step)
    take(messages)
    with pytest.raises(MpcError, match="now"):
        take(messages)


@pytest.mark.parametrize("step", SENDING)
def test_the_server_names_the_shortage(step: MessageKind) -> None:
    take, messages = answers_at(step)
    with pytest.raises(TooFewMembers, match=r"only 2 of 5 members .* 3 are needed"):
        take(messages[:2])


def test_a_member_that_did_not_share_cannot_contribute() -> None:
    session = InMemory(parameters(5, 3), SLOTS, {0: MessageKind.SHARES})
    session.share()
    late = InMemory(parameters(5, 3), SLOTS)
    late.share()
    message = late.members[0].contribute(late.inboxes[0], VECTORS[0])
    with pytest.raises(ProtocolViolation, match="member 0"):
        session.server.survivors([message])


def test_messages_of_another_session_are_refused() -> None:
    session = InMemory(parameters(5, 3), SLOTS)
    other = Parameters(b"another", (0, 1, 2, 3, 4), 3, 20)
    with pytest.raises(ProtocolViolation, match="member 2 belongs to another session"):
        session.server.roster([Contributor(other, 2).advertise()])


def test_members_who_were_told_other_slots_cannot_work_together() -> None:
    session = InMemory(parameters(5, 3), SLOTS)
    session.advertise()
    weaker = {**SLOTS, 0: VectorSlot(8, (0, 1, 2, 3, 4), 1)}
    message = session.members[0].share_keys(session.roster, weaker)
    with pytest.raises(ProtocolViolation, match="slot table"):
        session.server.inboxes([message], SLOTS)


def test_altered_shares_are_refused_by_name() -> None:
    session = InMemory(parameters(5, 3), SLOTS)
    session.share()
    inbox = bytearray(session.inboxes[0])
    inbox[-1] ^= 1  # in the part of the last sender
    with pytest.raises(ProtocolViolation, match="member 4 do not decrypt") as caught:
        session.members[0].contribute(bytes(inbox), VECTORS[0])
    assert caught.value.party == 4


def test_a_wrong_mask_key_is_noticed() -> None:
    session = InMemory(parameters(5, 3), SLOTS, {4: MessageKind.CONTRIBUTION})
    answers = session.unmask(VECTORS)
    wrong = bytearray(answers[0])
    wrong[-16] ^= 1  # the share of member 4's mask key comes last
    with pytest.raises(ProtocolViolation, match="mask key of member 4"):
        session.server.sums([bytes(wrong), *answers[1:]])


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body[:-1],
        lambda body: body[68:] + body[:68],
        lambda body: body + body[-68:],
        lambda body: body[68:],
        lambda body: body[:32] + bytes(32) + body[64:],
        lambda body: body[:-68] + (99).to_bytes(4, "little") + body[-64:],
    ],
    ids=["cut", "order", "twice", "without me", "my key replaced", "stranger"],
)
def test_a_bad_roster_is_refused(change: Change) -> None:
    session = InMemory(parameters(5, 3), SLOTS)
    session.advertise()
    bad = session.roster[: HEADER.size] + change(session.roster[HEADER.size :])
    with pytest.raises(ProtocolViolation):
        session.members[0].share_keys(bad, SLOTS)


def test_a_roster_of_too_few_is_refused() -> None:
    session = InMemory(parameters(5, 3), SLOTS)
    session.advertise()
    with pytest.raises(TooFewMembers):
        session.members[0].share_keys(session.roster[: HEADER.size + 2 * 68], SLOTS)


def test_an_unusable_key_is_refused_by_name() -> None:
    session = InMemory(parameters(3, 2), SLOTS_OF_THREE)
    session.advertise()
    bad = session.roster[:-64] + bytes(64)  # a point of low order as member 2's keys
    with pytest.raises(ProtocolViolation, match="member 2 sent an unusable key"):
        session.members[0].share_keys(bad, SLOTS_OF_THREE)


SLOTS_OF_THREE = {0: VectorSlot(4, (0, 1, 2), 2)}


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m[:-1],
        lambda m: m + b"\0",
        lambda m: m[: HEADER.size],
        lambda m: m[: HEADER.size] + b"\xff\xff\xff\xff" + m[HEADER.size + 4 :],
        lambda m: with_header(m, number=1),
    ],
    ids=["cut", "long", "no body", "count", "another's"],
)
def test_a_bad_inbox_is_refused(change: Change) -> None:
    session = InMemory(parameters(3, 2), SLOTS_OF_THREE)
    session.share()
    with pytest.raises(ProtocolViolation):
        session.members[0].contribute(change(session.inboxes[0]), {})


# Lists of survivors


def contributed() -> InMemory:
    session = InMemory(parameters(5, 3), SLOTS)
    session.contribute(VECTORS)
    return session


def survivors_message(session: InMemory, numbers: Iterable[int]) -> bytes:
    body = b"".join(n.to_bytes(4, "little") for n in numbers)
    return session.survivors[: HEADER.size] + body


def test_the_same_list_is_answered_alike_and_another_one_refused() -> None:
    session = contributed()
    member = session.members[0]
    assert member.unmask(session.survivors) == member.unmask(session.survivors)
    with pytest.raises(ProtocolViolation, match="contradicts"):
        member.unmask(survivors_message(session, [0, 1, 2]))
    member.unmask(session.survivors)


@pytest.mark.parametrize(
    "numbers",
    [[1, 2, 3, 4], [0, 2, 1], [0, 1, 1, 2], [0, 1, 2, 5]],
    ids=["without me", "order", "twice", "stranger"],
)
def test_a_bad_list_of_survivors_is_refused(numbers: list[int]) -> None:
    session = contributed()
    with pytest.raises(ProtocolViolation):
        session.members[0].unmask(survivors_message(session, numbers))


def test_too_short_a_list_of_survivors_is_refused() -> None:
    session = contributed()
    with pytest.raises(TooFewMembers):
        session.members[0].unmask(survivors_message(session, [0, 1]))


def test_someone_who_did_not_share_cannot_survive() -> None:
    session = InMemory(parameters(5, 3), SLOTS, {4: MessageKind.SHARES})
    session.contribute(VECTORS)
    with pytest.raises(ProtocolViolation):
        session.members[0].unmask(survivors_message(session, [0, 1, 2, 3, 4]))


def test_an_answer_to_another_list_is_refused() -> None:
    session = contributed()
    answer = session.members[0].unmask(survivors_message(session, [0, 1, 2]))
    with pytest.raises(ProtocolViolation, match="member 0"):
        session.server.sums([answer])


def test_steps_out_of_order_are_refused() -> None:
    session = InMemory(parameters(3, 2), SLOTS_OF_THREE)
    member = session.members[0]
    for call in (member.share_keys, member.contribute):
        with pytest.raises(MpcError, match="not the next step"):
            call(b"", {})
    with pytest.raises(MpcError, match="not the next step"):
        member.unmask(b"")
    session.share()
    with pytest.raises(MpcError, match="not the next step"):
        member.share_keys(session.roster, SLOTS_OF_THREE)
    with pytest.raises(MpcError, match="not the next step"):
        member.advertise()
    with pytest.raises(MpcError, match="UNMASK"):
        session.server.sums([])


# Secrets stay inside; speed


def test_a_contributor_is_neither_shown_nor_serialised() -> None:
    member = Contributor(parameters(3, 2), 1)
    assert repr(member) == "Contributor(number=1, <redacted>)"
    with pytest.raises(TypeError):
        pickle.dumps(member)


def test_a_million_cells_of_ten_members_take_well_under_a_second_each() -> None:
    slots = {0: VectorSlot(10**6, tuple(range(10)), 6)}
    session = InMemory(parameters(10, 6), slots)
    session.share()
    values = {0: np.ones(10**6, np.uint64)}
    start = time.process_time()
    message = session.members[0].contribute(session.inboxes[0], values)
    assert time.process_time() - start < 1
    assert len(message) == HEADER.size + 2_500_000


def test_an_aggregator_of_another_ring_refuses() -> None:
    session = InMemory(parameters(5, 3), SLOTS)
    other = Aggregator(parameters(5, 3, 21))
    with pytest.raises(ProtocolViolation):
        other.roster([session.members[0].advertise()])
