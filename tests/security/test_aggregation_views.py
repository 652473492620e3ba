"""What the server of a secure aggregation and fewer than t members see together.

The coalition is the server and t - 1 members, whose randomness is fixed; that of the others is
fresh in every run. Its view is what the others send, the shares it decrypts, and every vector with
all masks taken away that it can compute. Views of two inputs with equal sums must have one
distribution. The negative controls take one protection away and must be rejected at the same rate.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from scipy import stats

from mpc.aggregation.masks import add_pair_mask, add_self_mask, agree_key, mask_key
from mpc.aggregation.member import Vectors
from mpc.aggregation.messages import HEADER, MessageKind
from mpc.aggregation.parameters import Item, Parameters, Slots, VectorSlot, due_shares, slots_of
from mpc.aggregation.seed_sharing import combine_shares, random_element, weights_at_zero
from mpc.arrays import Array
from mpc.session.keystream import RandomBytes
from mpc.shares.packing import pack_ring, packed_size, unpack_ring
from tests.support.secure.aggregation_sessions import InMemory, seeded, vectors_for
from tests.support.secure.views import ERROR_RATE, View, distinguish, sizes

N_RUNS = 28

PUBLIC = Parameters(b"session", (0, 1, 2, 3, 4), 3, 20)
COLLUDERS = (3, 4)
LATE = 2  # shares its keys; its contribution reaches the server too late to count
SLOTS = {
    0: VectorSlot(16, (0, 1, 2, 3, 4), 4),
    1: VectorSlot(16, (0, 2, 3), 3),  # stays closed: two contributions are not enough
    2: VectorSlot(16, (0, 1), 2),
}


def inputs(seed: int) -> Mapping[int, Vectors]:
    """Return vectors of equal sums over the survivors in the open slots, else different ones."""
    vectors = {member: dict(own) for member, own in vectors_for(SLOTS, 20, seed).items()}
    for slot in (0, 2):
        vectors[1][slot] = (np.uint64(5000) - vectors[0][slot]) & np.uint64(2**20 - 1)
    for member in COLLUDERS:
        vectors[member] = {slot: 0 * values for slot, values in vectors[member].items()}
    return vectors


class Coalition:
    """The server of one session, with the colluding members."""

    def __init__(self, vectors: Mapping[int, Vectors], *names: object) -> None:
        def source(number: int) -> RandomBytes:
            return seeded("fixed", number) if number in COLLUDERS else seeded(*names, number)

        self.session = InMemory(PUBLIC, SLOTS, {LATE: MessageKind.CONTRIBUTION}, source)
        self.answers = self.session.unmask(vectors)
        late = self.session.members[LATE].contribute(self.session.inboxes[LATE], vectors[LATE])
        self.contributions = {**self.session.contributions, LATE: late}
        self.context = self.session.server._context
        self._learn_secrets()

    def _learn_secrets(self) -> None:
        """Combine all shares that came, and add the colluders' own keys."""
        survivors = self.session.there(MessageKind.CONTRIBUTION, PUBLIC.members)
        weights = weights_at_zero([number + 1 for number in survivors[:3]])
        self.keys: dict[int, X25519PrivateKey] = {
            m: self.session.members[m]._mask_key for m in COLLUDERS
        }
        self.seeds: dict[tuple[int, int], int] = {}
        for place, (owner, slot) in enumerate(due_shares(SLOTS, PUBLIC.members, survivors)):
            start = HEADER.size + 16 * place
            shares = [
                int.from_bytes(answer[start : start + 16], "little") for answer in self.answers[:3]
            ]
            secret = combine_shares(shares, weights)
            if slot is None:
                self.keys[owner] = mask_key(secret, PUBLIC.context, owner)
            else:
                self.seeds[owner, slot] = secret

    def stripped(self, owner: int) -> dict[int, Array]:
        """Return the owner's vectors, by slot, without the masks that the coalition can compute."""
        raw, start = np.frombuffer(self.contributions[owner][HEADER.size :], np.uint8), 0
        vectors: dict[int, Array] = {}
        for slot in slots_of(SLOTS, owner):
            stop = start + packed_size(16, 20)
            words = unpack_ring(raw[start:stop], 16, 20, np.uint32)
            for peer in SLOTS[slot].members:
                key = None if peer == owner else self.pair_key(owner, peer)
                if key is not None:
                    add_pair_mask(words, key, slot, owner, peer, -1)
            seed = self.seeds.get((owner, slot), next(self.seeds_of(owner), None))
            if seed is not None:
                add_self_mask(words, seed, self.context, slot, owner, -1)
            vectors[slot] = words & np.uint32(2**20 - 1)
            start = stop
        return vectors

    def seeds_of(self, owner: int) -> Iterator[int]:
        return (seed for (member, _), seed in self.seeds.items() if member == owner)

    def pair_key(self, owner: int, peer: int) -> bytes | None:
        for known, other in ((owner, peer), (peer, owner)):
            if known in self.keys:
                public = self.session.server._roster[other][1]
                return agree_key(self.keys[known], public, self.context, other)
        return None

    def view(self) -> View:
        honest = [m for m in PUBLIC.members if m not in COLLUDERS]
        shares = [
            share
            for member in COLLUDERS
            for (owner, _), share in sorted(
                self.session.members[member]._shares.items(), key=lambda kv: repr(kv[0])
            )
            if owner in honest
        ]
        vectors = [pack_ring(words, 20) for m in honest for words in self.stripped(m).values()]
        raw = [self.contributions[m][HEADER.size :] for m in honest]
        return [*vectors, *shares, *raw]


def views_of_two_inputs() -> list[list[View]]:
    return [[Coalition(inputs(seed), seed, run).view() for run in range(N_RUNS)] for seed in (0, 1)]


def test_the_coalition_learns_nothing_but_the_sums() -> None:
    views = views_of_two_inputs()
    assert len(sizes(views[0] + views[1])) == 1
    assert distinguish(*views) > ERROR_RATE


def without_self_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpc.aggregation.member.add_self_mask", lambda *_: None)
    monkeypatch.setattr(f"{__name__}.add_self_mask", lambda *_: None)


def without_pair_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpc.aggregation.member.add_pair_mask", lambda *_: None)
    monkeypatch.setattr(f"{__name__}.add_pair_mask", lambda *_: None)


def without_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_slots(slots: Slots, survivors: Collection[int]) -> dict[int, tuple[int, ...]]:
        return {n: tuple(m for m in s.members if m in survivors) for n, s in sorted(slots.items())}

    monkeypatch.setattr("mpc.aggregation.parameters.contributors", all_slots)


def with_one_seed_for_all_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[RandomBytes, list[int]] = {}

    def draw(random_bytes: RandomBytes) -> int:
        seeds = drawn.setdefault(random_bytes, [])
        if len(seeds) < 2:  # the mask key's, then that of all masks
            seeds.append(random_element(random_bytes))
        return seeds[-1]

    monkeypatch.setattr("mpc.aggregation.member.random_element", draw)


def with_a_lower_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    def weak(
        seed: int, threshold: int, points: Sequence[int], random_bytes: RandomBytes
    ) -> list[int]:
        return [seed] * len(points)

    monkeypatch.setattr("mpc.aggregation.member.split_seed", weak)
    learn = Coalition._learn_secrets

    def learn_from_one_share(self: Coalition) -> None:
        learn(self)
        for (owner, slot), share in self.session.members[COLLUDERS[0]]._shares.items():
            if slot is not None:
                self.seeds[owner, slot] = int.from_bytes(share, "little")

    monkeypatch.setattr(Coalition, "_learn_secrets", learn_from_one_share)


@pytest.mark.parametrize(
    "weaken",
    [
        without_self_masks,
        without_pair_masks,
        without_minimum,
        with_one_seed_for_all_slots,
        with_a_lower_threshold,
    ],
)
def test_without_a_protection_views_differ(
    weaken: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    weaken(monkeypatch)
    assert distinguish(*views_of_two_inputs()) < ERROR_RATE


# A server that pretends that a member dropped out


def late_vectors_found() -> dict[int, bool]:
    vectors = inputs(0)
    found = Coalition(vectors, "attack").stripped(LATE)
    return {slot: np.array_equal(words, vectors[LATE][slot]) for slot, words in found.items()}


def test_a_contribution_withheld_from_the_list_stays_hidden() -> None:
    assert late_vectors_found() == {0: False, 1: False}


def test_without_self_masks_a_withheld_contribution_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_self_masks(monkeypatch)
    assert late_vectors_found() == {0: True, 1: True}


def collected(
    session: InMemory,
    item: Item,
    honest: Sequence[int],
    numbers: Sequence[int],
    colluder: int,
) -> int:
    """Return what honest members' answers to a list of survivors and a colluder give together."""
    body = session.survivors[HEADER.size :]
    message = session.survivors[: HEADER.size] + b"".join(body[4 * n : 4 * n + 4] for n in numbers)
    place = due_shares(session.slots, session.parameters.members, numbers).index(item)
    start = HEADER.size + 16 * place
    shares = {n: session.members[n].unmask(message)[start : start + 16] for n in honest}
    shares[colluder] = session.members[colluder]._shares[item]
    weights = weights_at_zero([number + 1 for number in shares])
    return combine_shares([int.from_bytes(s, "little") for s in shares.values()], weights)


@pytest.mark.parametrize(("threshold", "found"), [(3, True), (4, False)])
def test_the_bound_on_colluders_of_a_lying_server_is_sharp(threshold: int, found: bool) -> None:
    """n = 5 and one colluder: lists that differ open both secrets of member 0 iff 2 t <= n + 1."""
    public = Parameters(b"lies", (0, 1, 2, 3, 4), threshold, 20)
    session = InMemory(public, {0: VectorSlot(16, public.members, 2)})
    vectors = vectors_for(session.slots, 20)
    session.contribute(vectors)
    seed = collected(session, (0, 0), (0, 1), (0, 1, 2, 3, 4), 4)
    key_seed = collected(session, (0, None), (2, 3), (1, 2, 3, 4), 4)
    context = session.server._context
    key = mask_key(key_seed, public.context, 0)
    body = np.frombuffer(session.contributions[0][HEADER.size :], np.uint8)
    words = unpack_ring(body, 16, 20, np.uint32)
    add_self_mask(words, seed, context, 0, 0, -1)
    for peer in (1, 2, 3, 4):
        pair_key = agree_key(key, session.server._roster[peer][1], context, peer)
        add_pair_mask(words, pair_key, 0, 0, peer, -1)
    assert np.array_equal(words & np.uint32(2**20 - 1), vectors[0][0]) == found


# The serialised messages


def body_of_zeros(ring_bits: int) -> Array:
    public = Parameters(b"bytes", (0, 1, 2), 2, ring_bits)
    slots = {0: VectorSlot(1 << 16, (0, 1, 2), 2)}
    session = InMemory(public, slots)
    session.share()
    zeros = {0: np.zeros(1 << 16, np.uint64)}
    message = session.members[0].contribute(session.inboxes[0], zeros)
    return np.frombuffer(message[HEADER.size :], np.uint8)


def uniform_p_value(body: Array) -> float:
    return float(stats.chisquare(np.bincount(body, minlength=256)).pvalue)


@pytest.mark.parametrize("ring_bits", [5, 20, 32, 64])
def test_a_contribution_is_uniform_bytes(ring_bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert uniform_p_value(body_of_zeros(ring_bits)) > ERROR_RATE
    without_pair_masks(monkeypatch)
    assert uniform_p_value(body_of_zeros(ring_bits)) > ERROR_RATE
    without_self_masks(monkeypatch)
    assert uniform_p_value(body_of_zeros(ring_bits)) < ERROR_RATE


def test_a_single_contributor_is_masked_until_its_slot_is_opened() -> None:
    slots = {0: VectorSlot(64, (1,), 1)}
    session = InMemory(PUBLIC, slots)
    vectors = vectors_for(slots, 20)
    found = session.run(vectors)[0]
    np.testing.assert_array_equal(found.values, vectors[1][0])
    body = session.contributions[1][HEADER.size :]
    words = unpack_ring(np.frombuffer(body, np.uint8), 64, 20, np.uint64)
    assert np.mean(words == vectors[1][0]) < 0.1


def windows(vector: Array, ring_bits: int) -> set[bytes]:
    packed = pack_ring(vector, ring_bits)
    return {packed[i : i + 8] for i in range(len(packed) - 7)}


def test_no_message_contains_a_piece_of_a_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    def pieces_in_messages() -> list[set[bytes]]:
        public = Parameters(b"pieces", (0, 1, 2, 3, 4), 3, 32)
        session = InMemory(public, SLOTS, {LATE: MessageKind.CONTRIBUTION})
        vectors = vectors_for(SLOTS, 32)
        session.run(vectors)
        sent = b"".join(session.sent)
        seen = {sent[i : i + 8] for i in range(len(sent) - 7)}
        return [seen & windows(v, 32) for own in vectors.values() for v in own.values()]

    assert not any(pieces_in_messages())
    without_pair_masks(monkeypatch)
    without_self_masks(monkeypatch)
    monkeypatch.setattr("mpc.aggregation.server.add_self_mask", lambda *_: None)
    assert any(pieces_in_messages())
