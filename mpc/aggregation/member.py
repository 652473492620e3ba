"""A member of a secure aggregation (protocol and model: `mpc.aggregation.parameters`)."""

import secrets
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from mpc.aggregation.masks import (
    KEY_BYTES,
    add_pair_mask,
    add_self_mask,
    agree_key,
    mask_key,
    public_bytes,
    seal,
    unseal,
)
from mpc.aggregation.messages import (
    MessageKind,
    decode_inbox,
    decode_numbers,
    decode_roster,
    read,
    write,
)
from mpc.aggregation.parameters import (
    Item,
    Parameters,
    Slots,
    check_slots,
    due_shares,
    encode_numbers,
    encode_slots,
    slots_of,
)
from mpc.aggregation.seed_sharing import SHARE_BYTES, random_element, split_seed
from mpc.errors import EncodingOverflow, MpcError, ProtocolViolation
from mpc.session.keystream import RandomBytes, digest
from mpc.shares.packing import pack_ring
from mpc.shares.replicated import ring

Vectors = Mapping[int, npt.NDArray[np.unsignedinteger]]


class Contributor:
    """One member. It takes its steps once, in order; one that fails ends its part in the session.

    `random_bytes`: the operating system's CSPRNG unless a test injects another source.

    Raises MpcError: the number is not one of the members'.
    """

    def __init__(
        self,
        parameters: Parameters,
        number: int,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> None:
        if number not in parameters.members:
            raise MpcError(f"{number} is no member of this session")
        self.number = number
        self._parameters = parameters
        self._random_bytes = random_bytes
        self._context = parameters.context
        self._channel_key = X25519PrivateKey.from_private_bytes(random_bytes(KEY_BYTES))
        self._mask_seed = random_element(random_bytes)
        self._mask_key = mask_key(self._mask_seed, parameters.context, number)
        self._due: MessageKind | None = MessageKind.ADVERTISE
        self._roster: dict[int, tuple[bytes, bytes]] = {}
        self._slots: Slots = {}
        self._seeds: dict[int, int] = {}
        self._shares: dict[Item, bytes] = {}
        self._sharers: tuple[int, ...] = ()
        self._survivors: tuple[int, ...] | None = None

    def __repr__(self) -> str:
        return f"Contributor(number={self.number}, <redacted>)"

    def __reduce__(self) -> str:
        raise TypeError("a contributor holds secrets and is never serialised")

    def _take(self, kind: MessageKind) -> None:
        if self._due != kind:
            raise MpcError(f"{kind.name} is not the next step of member {self.number}")
        self._due = None

    def advertise(self) -> bytes:
        """Return the ADVERTISE message: the public keys of the channels and of the masks."""
        self._take(MessageKind.ADVERTISE)
        self._due = MessageKind.SHARES
        return write(MessageKind.ADVERTISE, self._context, self.number, *self._public_keys())

    def _public_keys(self) -> tuple[bytes, bytes]:
        return public_bytes(self._channel_key), public_bytes(self._mask_key)

    def share_keys(self, roster: bytes, slots: Slots) -> bytes:
        """Return the SHARES message: for every other member a share of each of its own secrets.

        The secrets are the seed of the mask key and one mask seed per own slot.

        `roster`: the server's answer to the advertised keys. `slots`: the public slot table, the
        same at all members.

        Raises ProtocolViolation: the roster is malformed or does not have this member's keys.
        Raises TooFewMembers: it has fewer members than the threshold. Raises MpcError: an invalid
        slot table.
        """
        self._take(MessageKind.SHARES)
        _, body = read(MessageKind.ROSTER, self._context, roster)
        self._roster = decode_roster(self._parameters, body)
        if self._roster.get(self.number) != self._public_keys():
            raise ProtocolViolation(f"the roster does not have the keys of member {self.number}")
        self._parameters.require(self._roster, "sent their keys")
        check_slots(self._parameters, slots)
        self._slots = dict(slots)
        self._context = digest(digest(self._context, body), encode_slots(slots))
        own = slots_of(slots, self.number)
        self._seeds = {slot: random_element(self._random_bytes) for slot in own}
        parts = self._split()
        self._store(self.number, parts.pop(self.number))
        sealed = [
            seal(self._channel(peer), self.number, peer, part) for peer, part in parts.items()
        ]
        self._due = MessageKind.CONTRIBUTION
        return write(MessageKind.SHARES, self._context, self.number, *sealed)

    def _split(self) -> dict[int, bytes]:
        """Return, per member of the roster, its shares of this member's secrets."""
        points = [number + 1 for number in self._roster]
        threshold = self._parameters.threshold
        columns = [
            split_seed(secret, threshold, points, self._random_bytes)
            for secret in (self._mask_seed, *self._seeds.values())
        ]
        return {
            number: b"".join(share.to_bytes(SHARE_BYTES, "little") for share in row)
            for number, row in zip(self._roster, zip(*columns, strict=True), strict=True)
        }

    def _store(self, owner: int, part: bytes) -> None:
        items = [(owner, None), *((owner, slot) for slot in slots_of(self._slots, owner))]
        for index, item in enumerate(items):
            self._shares[item] = part[index * SHARE_BYTES : (index + 1) * SHARE_BYTES]

    def _channel(self, peer: int) -> bytes:
        return agree_key(self._channel_key, self._roster[peer][0], self._context, peer)

    def contribute(self, inbox: bytes, vectors: Vectors) -> bytes:
        """Return the CONTRIBUTION message: the masked vectors of this member's slots.

        `inbox`: the others' shares, as the server passes them on. `vectors`: per own slot
        `(n_cells,)` unsigned integers below 2**k, noise included.

        Raises ProtocolViolation: a malformed inbox, or shares that do not decrypt. Raises
        TooFewMembers: fewer than the threshold shared their keys. Raises EncodingOverflow: other
        vectors than this member's slots need.
        """
        self._take(MessageKind.CONTRIBUTION)
        number, body = read(MessageKind.INBOX, self._context, inbox)
        if number != self.number:
            raise ProtocolViolation(f"member {self.number} got the inbox of member {number}")
        self._sharers, sealed = decode_inbox(self._slots, self._roster, self.number, body)
        self._parameters.require(self._sharers, "shared their keys")
        for peer, part in sealed.items():
            self._store(peer, unseal(self._channel(peer), peer, self.number, part))
        self._context = digest(self._context, encode_numbers(self._sharers))
        self._check_vectors(vectors)
        masked = self._mask(vectors)
        self._due = MessageKind.UNMASK
        return write(MessageKind.CONTRIBUTION, self._context, self.number, *masked)

    def _check_vectors(self, vectors: Vectors) -> None:
        if set(vectors) != set(self._seeds):
            raise EncodingOverflow(f"member {self.number} has vectors for other slots than its own")
        top = (1 << self._parameters.ring_bits) - 1
        for slot, values in vectors.items():
            if values.dtype.kind != "u" or values.shape != (self._slots[slot].n_cells,):
                raise EncodingOverflow(
                    f"the vector of slot {slot} is {values.dtype} {values.shape} where "
                    f"{self._slots[slot].n_cells} unsigned integers are due"
                )
            if int(values.max()) > top:
                raise EncodingOverflow(f"the vector of slot {slot} has values above {top}")

    def _mask(self, vectors: Vectors) -> list[bytes]:
        bits = self._parameters.ring_bits
        peers = {peer for slot in self._seeds for peer in self._peers(slot)}
        keys = {
            peer: agree_key(self._mask_key, self._roster[peer][1], self._context, peer)
            for peer in peers
        }
        packed = []
        for slot, seed in self._seeds.items():
            words = vectors[slot].astype(ring(bits).dtype)
            add_self_mask(words, seed, self._context, slot, self.number, 1)
            for peer in self._peers(slot):
                add_pair_mask(words, keys[peer], slot, self.number, peer, 1)
            packed.append(pack_ring(words, bits))
        return packed

    def _peers(self, slot: int) -> list[int]:
        members = self._slots[slot].members
        return [m for m in members if m in self._sharers and m != self.number]

    def unmask(self, survivors: bytes) -> bytes:
        """Return the UNMASK message: this member's shares of what opens the sums.

        They are those of `due_shares`: no slot below its minimum is opened, and never both the
        mask key and a mask seed of one member. The same list may be answered again.

        Raises ProtocolViolation: a malformed list, one without this member, or another list than
        the one that was answered before. Raises TooFewMembers: fewer than the threshold
        contributed. Raises MpcError: this member has not contributed.
        """
        if self._due != MessageKind.UNMASK:
            raise MpcError(f"UNMASK is not the next step of member {self.number}")
        _, body = read(MessageKind.SURVIVORS, self._context, survivors)
        numbers = decode_numbers(body, self._sharers, self.number)
        if self._survivors not in (None, numbers):
            text = "the server's list of who contributed contradicts the one it sent before"
            raise ProtocolViolation(text)
        self._parameters.require(numbers, "contributed")
        self._survivors = numbers
        due = due_shares(self._slots, self._sharers, numbers)
        context = digest(self._context, body)
        return write(
            MessageKind.UNMASK, context, self.number, *(self._shares[item] for item in due)
        )
