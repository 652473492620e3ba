"""The messages of secure aggregation, byte by byte.

A message is `step (1 byte) | tag (16 bytes) | member (4 bytes) | body`, little endian. The tag is
the head of a context: a hash chained over everything public so far. A message of another session,
roster, slot table or list of members has another tag. All lengths follow from public facts.
"""

import struct
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import IntEnum

from mpc.aggregation.masks import KEY_BYTES, TAG_BYTES
from mpc.aggregation.parameters import (
    SERVER,
    Parameters,
    Slots,
    ascending,
    encode_numbers,
    slots_of,
)
from mpc.aggregation.seed_sharing import SHARE_BYTES
from mpc.errors import ProtocolViolation
from mpc.shares.packing import packed_size

HEADER = struct.Struct("<B16sI")
_ENTRY = struct.Struct(f"<I{KEY_BYTES}s{KEY_BYTES}s")


class MessageKind(IntEnum):
    """What a message carries, in the order of the protocol."""

    ADVERTISE = 1
    ROSTER = 2
    SHARES = 3
    INBOX = 4
    CONTRIBUTION = 5
    SURVIVORS = 6
    UNMASK = 7


def sealed_size(slots: Slots, owner: int) -> int:
    """Return the bytes of one member's sealed shares for one other member."""
    return SHARE_BYTES * (1 + len(slots_of(slots, owner))) + TAG_BYTES


def contribution_size(parameters: Parameters, slots: Slots, member: int) -> int:
    """Return the bytes of a contribution's body."""
    own = slots_of(slots, member)
    return sum(packed_size(slots[slot].n_cells, parameters.ring_bits) for slot in own)


def write(kind: MessageKind, context: bytes, number: int, *parts: bytes) -> bytes:
    """Return one message; `number` is its sender, or the receiver of the server's."""
    return b"".join([HEADER.pack(kind, context[:16], number), *parts])


def read(kind: MessageKind, context: bytes, message: bytes) -> tuple[int, bytes]:
    """Return number and body of a message.

    Raises ProtocolViolation: too short, of another step, or of another context.
    """
    if len(message) < HEADER.size:
        raise ProtocolViolation(f"a message of {len(message)} bytes is too short")
    found, tag, number = HEADER.unpack_from(message)
    name = "the server" if number == SERVER else f"member {number}"
    party = None if number == SERVER else number
    if found != kind:
        text = f"a message of step {found} for {name} came where step {kind.name} is due"
        raise ProtocolViolation(text, party)
    if tag != context[:16]:
        text = f"the {kind.name} message of {name} belongs to another session, roster or slot table"
        raise ProtocolViolation(text, party)
    return number, message[HEADER.size :]


def collect(
    kind: MessageKind,
    context: bytes,
    messages: Iterable[bytes],
    allowed: Collection[int],
    body_size: Callable[[int], int],
) -> dict[int, bytes]:
    """Return the bodies of one step's messages by sender, ascending.

    Raises ProtocolViolation: names a sender that is unknown, did not take part in the step before,
    sent twice, or sent a body of a wrong length.
    """
    bodies: dict[int, bytes] = {}
    for message in messages:
        number, body = read(kind, context, message)
        if number not in allowed or number in bodies:
            why = "a second time" if number in bodies else "without having taken part so far"
            raise ProtocolViolation(f"member {number} sent a {kind.name} message {why}", number)
        if len(body) != body_size(number):
            text = (
                f"member {number} sent {len(body)} bytes in its {kind.name} message where "
                f"{body_size(number)} are due"
            )
            raise ProtocolViolation(text, number)
        bodies[number] = body
    return dict(sorted(bodies.items()))


def decode_numbers(body: bytes, allowed: Collection[int], needed: int) -> tuple[int, ...]:
    """Return a list of members that the server sent.

    Raises ProtocolViolation: not ascending, someone not in `allowed`, or without `needed`.
    """
    numbers = tuple(int.from_bytes(body[i : i + 4], "little") for i in range(0, len(body), 4))
    if len(body) % 4 or not ascending(numbers) or not set(numbers) <= set(allowed):
        raise ProtocolViolation("the server sent a list of members that is out of order or range")
    if needed not in numbers:
        raise ProtocolViolation(f"the server's list of members leaves out member {needed}")
    return numbers


def encode_roster(bodies: Mapping[int, bytes]) -> bytes:
    """Return the members' advertised keys as one body."""
    return b"".join(number.to_bytes(4, "little") + body for number, body in bodies.items())


def decode_roster(parameters: Parameters, body: bytes) -> dict[int, tuple[bytes, bytes]]:
    """Return channel and mask key per member, ascending.

    Raises ProtocolViolation: a wrong length, or numbers out of order or not of the session.
    """
    if len(body) % _ENTRY.size:
        raise ProtocolViolation(f"a roster of {len(body)} bytes has a wrong length")
    entries = list(_ENTRY.iter_unpack(body))
    numbers = tuple(number for number, _, _ in entries)
    if not ascending(numbers) or not set(numbers) <= set(parameters.members):
        raise ProtocolViolation("the roster lists members out of order or unknown ones")
    return {number: (channel, mask) for number, channel, mask in entries}


def encode_inbox(
    slots: Slots, roster: Collection[int], receiver: int, bodies: Mapping[int, bytes]
) -> bytes:
    """Return the body for one member: who shared, and what each of the others sealed for it.

    `roster`: who advertised keys, ascending. `bodies`: of the SHARES messages by sender, ascending;
    each has one sealed part for every other member of the roster, in order.
    """
    parts = [len(bodies).to_bytes(4, "little"), encode_numbers(bodies)]
    for sender, body in bodies.items():
        if sender != receiver:
            index = [number for number in roster if number != sender].index(receiver)
            size = sealed_size(slots, sender)
            parts.append(body[index * size : (index + 1) * size])
    return b"".join(parts)


def decode_inbox(
    slots: Slots, roster: Collection[int], receiver: int, body: bytes
) -> tuple[tuple[int, ...], dict[int, bytes]]:
    """Return who shared, and the sealed parts by sender.

    Raises ProtocolViolation: a wrong length, or a list that `decode_numbers` refuses.
    """
    start = 4 + 4 * int.from_bytes(body[:4], "little")
    sharers = decode_numbers(body[4:start], roster, receiver)
    sealed = {}
    for sender in sharers:
        if sender != receiver:
            size = sealed_size(slots, sender)
            sealed[sender] = body[start : start + size]
            start += size
    if start != len(body):
        raise ProtocolViolation(f"an inbox of {len(body)} bytes came where {start} are due")
    return sharers, sealed
