"""The server of a secure aggregation (protocol and model: `mpc.aggregation.parameters`)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from mpc.aggregation.masks import (
    KEY_BYTES,
    add_pair_mask,
    add_self_mask,
    agree_key,
    mask_key,
    public_bytes,
)
from mpc.aggregation.messages import (
    MessageKind,
    collect,
    contribution_size,
    decode_roster,
    encode_inbox,
    encode_roster,
    sealed_size,
    write,
)
from mpc.aggregation.parameters import (
    SERVER,
    Item,
    Parameters,
    Slots,
    check_slots,
    contributors,
    due_shares,
    encode_numbers,
    encode_slots,
    slots_of,
)
from mpc.aggregation.seed_sharing import SHARE_BYTES, combine_shares, weights_at_zero
from mpc.arrays import Array, Words
from mpc.errors import MpcError, ProtocolViolation
from mpc.session.keystream import digest
from mpc.shares.packing import packed_size, unpack_ring
from mpc.shares.replicated import reduce_ring, ring


@dataclass(frozen=True)
class SlotSum:
    """An opened slot.

    `values`: `(n_cells,)` uint64, the sum modulo 2**k. `contributors`: whose vectors it is the sum
    of, ascending.
    """

    values: Words
    contributors: tuple[int, ...]


class Aggregator:
    """The server. It passes messages on, adds masked vectors and opens the sums.

    Every step takes the messages that came in time and goes on without the other members. A step
    that raises changes nothing: after a `ProtocolViolation` that names a member it can be
    repeated without that member's message.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._context = parameters.context
        self._due = MessageKind.ADVERTISE
        self._roster: dict[int, tuple[bytes, bytes]] = {}
        self._slots: Slots = {}
        self._sharers: tuple[int, ...] = ()
        self._survivors: tuple[int, ...] = ()
        self._sums: dict[int, Array] = {}

    def _require_due(self, kind: MessageKind) -> None:
        if self._due != kind:
            raise MpcError(f"the server cannot take {kind.name} messages now")

    def roster(self, messages: Iterable[bytes]) -> bytes:
        """Return the ROSTER message for all members that sent an ADVERTISE message.

        Raises ProtocolViolation: a bad message; names the sender. Raises TooFewMembers: fewer than
        the threshold are there.
        """
        self._require_due(MessageKind.ADVERTISE)
        members = self._parameters.members
        bodies = collect(
            MessageKind.ADVERTISE, self._context, messages, members, lambda _: 2 * KEY_BYTES
        )
        self._parameters.require(bodies, "sent their keys")
        body = encode_roster(bodies)
        message = write(MessageKind.ROSTER, self._context, SERVER, body)
        self._roster = decode_roster(self._parameters, body)
        self._context = digest(self._context, body)
        self._due = MessageKind.SHARES
        return message

    def inboxes(self, messages: Iterable[bytes], slots: Slots) -> dict[int, bytes]:
        """Return the INBOX message for each member that sent a SHARES message.

        Raises ProtocolViolation: a bad message; names the sender. Raises TooFewMembers: fewer than
        the threshold are left. Raises MpcError: an invalid slot table.
        """
        self._require_due(MessageKind.SHARES)
        check_slots(self._parameters, slots)
        context = digest(self._context, encode_slots(slots))
        n_others = len(self._roster) - 1
        bodies = collect(
            MessageKind.SHARES,
            context,
            messages,
            self._roster,
            lambda m: n_others * sealed_size(slots, m),
        )
        self._parameters.require(bodies, "shared their keys")
        self._slots, self._sharers, self._due = dict(slots), tuple(bodies), MessageKind.CONTRIBUTION
        self._context = digest(context, encode_numbers(bodies))
        return {
            number: write(
                MessageKind.INBOX,
                context,
                number,
                encode_inbox(slots, self._roster, number, bodies),
            )
            for number in bodies
        }

    def survivors(self, contributions: Iterable[bytes]) -> bytes:
        """Add up the masked vectors; return the SURVIVORS message for all that sent theirs.

        Raises ProtocolViolation: a bad message; names the sender. Raises TooFewMembers: fewer than
        the threshold are left.
        """
        self._require_due(MessageKind.CONTRIBUTION)
        bodies = collect(
            MessageKind.CONTRIBUTION,
            self._context,
            contributions,
            self._sharers,
            lambda m: contribution_size(self._parameters, self._slots, m),
        )
        self._parameters.require(bodies, "contributed")
        self._survivors, self._due = tuple(bodies), MessageKind.UNMASK
        self._sums = self._add(bodies)
        return write(MessageKind.SURVIVORS, self._context, SERVER, encode_numbers(bodies))

    def _add(self, bodies: Mapping[int, bytes]) -> dict[int, Array]:
        """Return the sums of the masked vectors of the slots that will be opened."""
        bits = self._parameters.ring_bits
        dtype = ring(bits).dtype
        opened = contributors(self._slots, self._survivors)
        sums = {slot: np.zeros(self._slots[slot].n_cells, dtype) for slot in opened}
        for number, body in bodies.items():
            raw, start = np.frombuffer(body, np.uint8), 0
            for slot in slots_of(self._slots, number):
                n_cells = self._slots[slot].n_cells
                stop = start + packed_size(n_cells, bits)
                if slot in opened:
                    sums[slot] += unpack_ring(raw[start:stop], n_cells, bits, dtype)
                start = stop
        return sums

    def sums(self, messages: Iterable[bytes]) -> dict[int, SlotSum]:
        """Return the opened slots; one that stayed below its minimum is missing.

        Raises ProtocolViolation: a bad message; names the sender. Or the shares of a member's mask
        key do not give the key that it advertised. Raises TooFewMembers: fewer than the threshold
        sent an UNMASK message.
        """
        self._require_due(MessageKind.UNMASK)
        items = due_shares(self._slots, self._sharers, self._survivors)
        context = digest(self._context, encode_numbers(self._survivors))
        size = SHARE_BYTES * len(items)
        bodies = collect(MessageKind.UNMASK, context, messages, self._survivors, lambda _: size)
        self._parameters.require(bodies, "helped to open the sums")
        seeds = _combine(self._parameters.threshold, items, bodies)
        masked = {slot: words.copy() for slot, words in self._sums.items()}
        opened = contributors(self._slots, self._survivors)
        for (owner, slot), seed in seeds.items():
            if slot is None:
                self._remove_pair_masks(masked, opened, owner, seed)
            else:
                add_self_mask(masked[slot], seed, self._context, slot, owner, -1)
        bits = self._parameters.ring_bits
        return {
            slot: SlotSum(reduce_ring(words, bits).astype(np.uint64), opened[slot])
            for slot, words in masked.items()
        }

    def _remove_pair_masks(
        self, masked: dict[int, Array], opened: Mapping[int, tuple[int, ...]], owner: int, seed: int
    ) -> None:
        """Take away what the survivors added against a member that dropped out."""
        own = mask_key(seed, self._parameters.context, owner)
        if public_bytes(own) != self._roster[owner][1]:
            raise ProtocolViolation(f"the shares of the mask key of member {owner} are wrong")
        slots = [slot for slot in slots_of(self._slots, owner) if slot in opened]
        for peer in {peer for slot in slots for peer in opened[slot]}:
            key = agree_key(own, self._roster[peer][1], self._context, peer)
            for slot in slots:
                if peer in opened[slot]:
                    add_pair_mask(masked[slot], key, slot, peer, owner, -1)


def _combine(threshold: int, items: list[Item], bodies: Mapping[int, bytes]) -> dict[Item, int]:
    """Return the secrets, from the shares of the first t members that answered."""
    helpers = list(bodies)[:threshold]
    weights = weights_at_zero([number + 1 for number in helpers])
    secrets_by_item = {}
    for index, item in enumerate(items):
        part = slice(index * SHARE_BYTES, (index + 1) * SHARE_BYTES)
        shares = [int.from_bytes(bodies[number][part], "little") for number in helpers]
        secrets_by_item[item] = combine_shares(shares, weights)
    return secrets_by_item
