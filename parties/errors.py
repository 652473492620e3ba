"""Errors of roles and wiring. Texts say what happened, why, and what to do; never any data."""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What a command exits with. aim_core and mpc write the same numbers on their own errors."""

    INTERNAL = 1
    """Not raised on purpose: a fault of the program."""

    INPUT = 2
    """The caller's files, options or settings cannot be used."""

    BUDGET = 3
    """The privacy budget does not pay for the request."""

    PEER = 4
    """A party or a peer failed, or cannot be reached."""

    VIOLATION = 5
    """The protocol was broken, or somebody is not who it should be."""


class PartyError(Exception):
    """Root of all errors that parties raises on purpose; each can be made from its text alone.

    `exit_code` is what a command exits with, `http_status` what answers a request that ended in
    the error. `run` names the job (a prefix of the manifest digest), `party` the compute party
    concerned and `round` the round of the mechanism, each None where it does not apply. A class's
    name crosses the wire (parties/wire/failures.py): to rename one changes the protocol.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.PEER
    http_status: ClassVar[int] = 502

    def __init__(
        self,
        message: str,
        *,
        run: str | None = None,
        party: int | None = None,
        round: int | None = None,  # noqa: A002 - the field's name in every error of this tree
    ) -> None:
        super().__init__(message)
        self.run = run
        self.party = party
        self.round = round


class ConfigError(PartyError):
    """A manifest, a config file or an option cannot be used."""

    exit_code = ExitCode.INPUT
    http_status = 422


class NotApproved(ConfigError):
    """A manifest lacks the valid signature of a compute party, or has expired."""


class IdentityError(PartyError):
    """A peer's certificate is not the one that the manifest pins for its role."""

    exit_code = ExitCode.VIOLATION
    http_status = 403


class UploadRefused(PartyError):
    """A compute party does not take an upload."""

    exit_code = ExitCode.INPUT
    http_status = 409


class UploadBroken(UploadRefused):
    """What a compute party has of an upload does not fit what is sent; the holder tries again."""


class InputsRefused(PartyError):
    """Uploaded shares are not counts of one table within the manifest's bounds."""

    exit_code = ExitCode.INPUT
    http_status = 422


class RequestRefused(PartyError):
    """A compute party does not answer a request."""

    exit_code = ExitCode.VIOLATION
    http_status = 422


class ManifestDiffers(RequestRefused):
    """A role works on another manifest than this one."""

    exit_code = ExitCode.INPUT
    http_status = 409


class RequestConflict(RequestRefused):
    """A different request has been answered under the same id."""

    http_status = 409


class NotReady(RequestRefused):
    """A compute party cannot answer now, but will when its peers are back."""

    exit_code = ExitCode.PEER
    http_status = 503


class ChargeLost(RequestRefused):
    """A request was charged and will never be answered under its id."""

    exit_code = ExitCode.PEER
    http_status = 410


class StateError(PartyError):
    """A compute party's own state cannot be read or written."""


class JobFailed(PartyError):
    """A job ended before its last round."""


class PartyUnreachable(PartyError):
    """A compute party does not answer at its address."""


class AnswersDiffer(PartyError):
    """Compute parties gave different answers to one request."""

    exit_code = ExitCode.VIOLATION
