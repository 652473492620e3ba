"""Whole sessions of secure aggregation in memory, with members that leave at any step."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from mpc.aggregation.member import Contributor, Vectors
from mpc.aggregation.messages import MessageKind
from mpc.aggregation.parameters import Parameters, Slots, VectorSlot
from mpc.aggregation.server import Aggregator, SlotSum
from mpc.session.keystream import Keystream, RandomBytes

SENDING = (MessageKind.ADVERTISE, MessageKind.SHARES, MessageKind.CONTRIBUTION, MessageKind.UNMASK)


def seeded(*names: object) -> RandomBytes:
    """Return a reproducible source of random bytes."""
    return Keystream(b"tests", repr(names).encode()).read


def vectors_for(slots: Slots, ring_bits: int, seed: int = 0) -> dict[int, Vectors]:
    """Return random vectors: per member, per slot."""
    generator = np.random.default_rng(seed)
    top = (1 << ring_bits) - 1
    members = sorted({m for slot in slots.values() for m in slot.members})
    return {
        member: {
            number: generator.integers(0, top, slot.n_cells, np.uint64, endpoint=True)
            for number, slot in slots.items()
            if member in slot.members
        }
        for member in members
    }


@dataclass
class InMemory:
    """One session; every step sends what the members that are still there say."""

    parameters: Parameters
    slots: Mapping[int, VectorSlot]
    leaves: Mapping[int, MessageKind] = field(default_factory=dict)
    random_bytes: Callable[[int], RandomBytes] = seeded
    sent: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server = Aggregator(self.parameters)
        self.members = {
            number: Contributor(self.parameters, number, self.random_bytes(number))
            for number in self.parameters.members
        }

    def there(self, step: MessageKind, numbers: Iterable[int]) -> list[int]:
        """Return who of `numbers` still sends its message of a step."""
        return [n for n in numbers if self.leaves.get(n, MessageKind.UNMASK + 1) > step]

    def keep(self, messages: list[bytes]) -> list[bytes]:
        self.sent += messages
        return messages

    def advertise(self) -> list[int]:
        there = self.there(MessageKind.ADVERTISE, self.members)
        self.roster = self.server.roster(self.keep([self.members[n].advertise() for n in there]))
        return there

    def share(self) -> list[int]:
        there = self.there(MessageKind.SHARES, self.advertise())
        self.shares = self.keep(
            [self.members[n].share_keys(self.roster, self.slots) for n in there]
        )
        self.inboxes = self.server.inboxes(self.shares, self.slots)
        return there

    def contribute(self, vectors: Mapping[int, Vectors]) -> list[int]:
        there = self.there(MessageKind.CONTRIBUTION, self.share())
        self.contributions = {
            n: self.members[n].contribute(self.inboxes[n], vectors.get(n, {})) for n in there
        }
        self.keep(list(self.contributions.values()))
        self.survivors = self.server.survivors(self.contributions.values())
        return there

    def unmask(self, vectors: Mapping[int, Vectors]) -> list[bytes]:
        there = self.there(MessageKind.UNMASK, self.contribute(vectors))
        return self.keep([self.members[n].unmask(self.survivors) for n in there])

    def run(self, vectors: Mapping[int, Vectors]) -> dict[int, SlotSum]:
        return self.server.sums(self.unmask(vectors))
