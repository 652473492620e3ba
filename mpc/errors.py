"""Errors of the secure engine. They carry a party id and public facts, never data."""

from typing import ClassVar


class MpcError(Exception):
    """Base of all errors of the secure engine; each can be made from its text alone.

    `exit_code` is what a program exits with (the meanings: docs/deploying.md, Troubleshooting).
    `party` is the id of the party that caused the error, where one is known; `round` is set where
    a round of the mechanism was under way.
    """

    exit_code: ClassVar[int] = 4
    round: int | None = None

    def __init__(self, message: str, party: int | None = None) -> None:
        super().__init__(message)
        self.party = party


class PeerLost(MpcError):
    """The connection to a peer broke: its process ended or the network failed."""


class PeerTimeout(MpcError):
    """A peer stayed silent for longer than the deadline."""


class ProtocolViolation(MpcError):
    """A peer sent what the protocol does not allow, or peers disagree about a public value."""

    exit_code = 5


class EncodingOverflow(MpcError):
    """A public bound shows that a value would not fit into its ring."""

    exit_code = 2


class TooFewMembers(MpcError):
    """Fewer members of a secure aggregation are left than its threshold: nothing can be opened."""
