"""Errors of roles and wiring. Texts say what happened, why, and what to do; never any data."""


class PartyError(Exception):
    """Root of all errors that parties raises on purpose.

    `run` names the job (a prefix of the manifest digest), `party` the compute party concerned
    and `round` the round of the mechanism, each None where it does not apply.
    """

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


class NotApproved(ConfigError):
    """A manifest lacks the valid signature of a compute party, or has expired."""


class IdentityError(PartyError):
    """A peer's certificate is not the one that the manifest pins for its role."""


class UploadRefused(PartyError):
    """A compute party does not take an upload."""


class UploadBroken(UploadRefused):
    """What a compute party has of an upload does not fit what is sent; the holder tries again."""


class InputsRefused(PartyError):
    """Uploaded shares are not counts of one table within the manifest's bounds."""


class RequestRefused(PartyError):
    """A compute party does not answer a request."""


class ManifestDiffers(RequestRefused):
    """A role works on another manifest than this one."""


class RequestConflict(RequestRefused):
    """A different request has been answered under the same id."""


class NotReady(RequestRefused):
    """A compute party cannot answer now, but will when its peers are back."""


class ChargeLost(RequestRefused):
    """A request was charged and will never be answered under its id."""


class StateError(PartyError):
    """A compute party's own state cannot be read or written."""


class JobFailed(PartyError):
    """A job ended before its last round."""


class PartyUnreachable(PartyError):
    """A compute party does not answer at its address."""


class AnswersDiffer(PartyError):
    """Compute parties gave different answers to one request."""
