"""Secure aggregation: a server learns sums of the members' vectors and nothing else [BIK17].

Double masking with dropouts. The two roles are free of I/O and turn message bytes into message
bytes, in this order (docs/protocol.md, section 22, has the proofs):

    Contributor.advertise      two public keys                      -> Aggregator.roster
    Contributor.share_keys     t-of-n shares of its secrets, sealed -> Aggregator.inboxes
    Contributor.contribute     masked vectors                       -> Aggregator.survivors
    Contributor.unmask         shares that open the sums            -> Aggregator.sums

The slots, that is who contributes which vectors, become known between the first step and the
second. A member may be missing from any step on.

Model: the server and fewer than t members, together, follow the protocol and look at all they
see. Keys are not authenticated against a server that replaces them; a deployment signs the
ADVERTISE messages. A server that lies about who is left is only held off as section 22 says.
Nothing hides a slot's sum: with one contributor it is that member's vector. Noise must be in the
vectors already, and a slot's `minimum` says how many of them it takes to have enough of it.

This module has what is public: parameters, slots, and which secrets open which sums.
"""

import struct
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mpc.arrays import Integers, Words
from mpc.errors import EncodingOverflow, MpcError, TooFewMembers
from mpc.session.keystream import digest
from mpc.shares.replicated import reduce_ring

SERVER = 2**32 - 1
"""Stands for the server where a member's number is due; no member has it."""
_SLOT = struct.Struct("<IQII")
_MAX_CELLS = 2**40


def encode_numbers(numbers: Iterable[int]) -> bytes:
    """Return member numbers as bytes."""
    return b"".join(number.to_bytes(4, "little") for number in numbers)


def ascending(numbers: tuple[int, ...]) -> bool:
    """Say whether every number is above the one before it."""
    return all(a < b for a, b in pairwise(numbers))


@dataclass(frozen=True)
class Parameters:
    """The public parameters of one session.

    `session`: an id that no other session has; it is part of every key. `members`: public numbers
    below 2**32 - 1, ascending. `threshold`: t. Any t members can open sums, fewer cannot and learn
    nothing. `ring_bits`: k; vectors are added modulo 2**k.

    Raises MpcError: no session id, unordered members, t not above half of the members (which would
    let a server that lies about who is left collect both kinds of a member's secrets), or k outside
    1..64.
    """

    session: bytes
    members: tuple[int, ...]
    threshold: int
    ring_bits: int

    def __post_init__(self) -> None:
        n = len(self.members)
        if not self.session:
            raise MpcError("a secure aggregation needs a session id")
        if not (n and ascending(self.members) and self.members[0] >= 0):
            raise MpcError("the members of a secure aggregation must be ascending numbers")
        if self.members[-1] >= SERVER:
            raise MpcError(f"the number {self.members[-1]} of a member is too large")
        if not n < 2 * self.threshold <= 2 * n:
            raise MpcError(
                f"a threshold of {self.threshold} does not fit {n} members: it must be above half "
                f"of them, so {n // 2 + 1} to {n}"
            )
        if not 1 <= self.ring_bits <= 64:
            raise MpcError(f"a ring of {self.ring_bits} bits is not supported, 1 to 64 are")

    @property
    def context(self) -> bytes:
        """The first link of the chain of contexts."""
        return digest(
            b"secure aggregation 1",
            self.session,
            encode_numbers(self.members),
            struct.pack("<II", self.threshold, self.ring_bits),
        )

    def require(self, numbers: Collection[int], done: str) -> None:
        """Refuse to go on with fewer members than the threshold.

        Raises TooFewMembers: says how many are left and how many are needed.
        """
        if len(numbers) < self.threshold:
            raise TooFewMembers(
                f"only {len(numbers)} of {len(self.members)} members {done}; "
                f"{self.threshold} are needed, so this session ends and nothing is opened"
            )


@dataclass(frozen=True)
class VectorSlot:
    """One vector to be summed.

    `n_cells`: length of the vector. `members`: who contributes to it, ascending. `minimum`: at
    least 1; with fewer contributions the slot stays closed for ever.
    """

    n_cells: int
    members: tuple[int, ...]
    minimum: int


Slots = Mapping[int, VectorSlot]
Item = tuple[int, int | None]
"""A secret that is shared: (owner, slot) its mask of a slot, (owner, None) its mask key."""


def check_slots(parameters: Parameters, slots: Slots) -> None:
    """Check a slot table.

    Raises MpcError: a number, size, minimum or list of members that is out of range.
    """
    for number, slot in slots.items():
        known = set(slot.members) <= set(parameters.members) and ascending(slot.members)
        sizes = 1 <= slot.n_cells <= _MAX_CELLS and 1 <= slot.minimum < SERVER
        if not (0 <= number <= SERVER and known and sizes):
            raise MpcError(
                f"slot {number} is invalid: it needs at least one cell, ascending members of the "
                f"session and a minimum of at least 1"
            )


def encode_slots(slots: Slots) -> bytes:
    """Return the slot table as bytes, for the context."""
    parts = []
    for number, slot in sorted(slots.items()):
        parts.append(_SLOT.pack(number, slot.n_cells, slot.minimum, len(slot.members)))
        parts.append(encode_numbers(slot.members))
    return b"".join(parts)


def slots_of(slots: Slots, member: int) -> list[int]:
    """Return the slots that a member contributes to, ascending."""
    return sorted(number for number, slot in slots.items() if member in slot.members)


def contributors(slots: Slots, survivors: Collection[int]) -> dict[int, tuple[int, ...]]:
    """Return who contributed, per slot that may be opened: those that reach their minimum."""
    present = {
        number: tuple(m for m in slot.members if m in survivors)
        for number, slot in sorted(slots.items())
    }
    return {number: who for number, who in present.items() if len(who) >= slots[number].minimum}


def due_shares(slots: Slots, sharers: Collection[int], survivors: Collection[int]) -> list[Item]:
    """Return the secrets that are opened, in the order of an unmasking message.

    Of a survivor the masks of its open slots, of a member that dropped out its mask key if it has
    an open slot: never both of one member, and nothing that belongs to closed slots alone.
    """
    opened = contributors(slots, survivors)
    items: list[Item] = []
    for owner in sorted(sharers):
        of_owner = [slot for slot in slots_of(slots, owner) if slot in opened]
        if owner in survivors:
            items += [(owner, slot) for slot in of_owner]
        elif of_owner:
            items.append((owner, None))
    return items


def to_ring(values: Integers, ring_bits: int) -> Words:
    """Return signed integers as elements of Z_2^k.

    Raises EncodingOverflow: a value is outside -2^(k-1) <= x < 2^(k-1).
    """
    bound = 1 << (ring_bits - 1)
    if values.size and not (-bound <= int(values.min()) and int(values.max()) < bound):
        raise EncodingOverflow(f"a value does not fit into a signed ring of {ring_bits} bits")
    return reduce_ring(values.astype(np.int64).view(np.uint64), ring_bits)


def from_ring(values: Words, ring_bits: int) -> Integers:
    """Return the signed representatives, -2^(k-1) <= x < 2^(k-1), of elements of Z_2^k."""
    shift = np.uint64(64 - ring_bits)
    return (values << shift).view(np.int64) >> np.int64(shift)
