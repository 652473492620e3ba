"""Which error is which HTTP status and exit code, and errors as JSON in both directions."""

from aim_core.errors import AimError, BudgetExceeded
from mpc.errors import EncodingOverflow, MpcError, PeerLost, PeerTimeout, ProtocolViolation
from parties.errors import (
    AnswersDiffer,
    ChargeLost,
    ConfigError,
    IdentityError,
    InputsRefused,
    JobFailed,
    ManifestDiffers,
    NotApproved,
    NotReady,
    PartyError,
    PartyUnreachable,
    RequestConflict,
    RequestRefused,
    StateError,
    UploadBroken,
    UploadRefused,
)
from parties.messages import ErrorBody

EXIT_INTERNAL = 1
EXIT_INPUT = 2
EXIT_BUDGET = 3
EXIT_PEER = 4
EXIT_VIOLATION = 5

_TABLE: tuple[tuple[type[Exception], int, int], ...] = (
    # (error, HTTP status, exit code); the first class that fits counts
    (BudgetExceeded, 403, EXIT_BUDGET),
    (AimError, 422, EXIT_INPUT),
    (EncodingOverflow, 422, EXIT_INPUT),
    (ProtocolViolation, 502, EXIT_VIOLATION),
    (MpcError, 502, EXIT_PEER),
    (IdentityError, 403, EXIT_VIOLATION),
    (AnswersDiffer, 502, EXIT_VIOLATION),
    (RequestConflict, 409, EXIT_VIOLATION),
    (ChargeLost, 410, EXIT_PEER),
    (NotReady, 503, EXIT_PEER),
    (ManifestDiffers, 409, EXIT_INPUT),
    (UploadRefused, 409, EXIT_INPUT),
    (InputsRefused, 422, EXIT_INPUT),
    (RequestRefused, 422, EXIT_VIOLATION),
    (ConfigError, 422, EXIT_INPUT),
    (PartyError, 502, EXIT_PEER),
)

_KNOWN: dict[str, type[PartyError]] = {
    kind.__name__: kind
    for kind in (
        ConfigError,
        NotApproved,
        IdentityError,
        UploadRefused,
        UploadBroken,
        InputsRefused,
        RequestRefused,
        RequestConflict,
        ChargeLost,
        NotReady,
        StateError,
        ManifestDiffers,
        JobFailed,
        PartyUnreachable,
        AnswersDiffer,
    )
}
_KNOWN_MPC: dict[str, type[MpcError]] = {
    kind.__name__: kind for kind in (PeerLost, PeerTimeout, ProtocolViolation, EncodingOverflow)
}


def http_status(error: Exception) -> int:
    """Return the HTTP status that answers a request which ended in `error`."""
    return next((status for kind, status, _ in _TABLE if isinstance(error, kind)), 500)


def exit_code(error: Exception) -> int:
    """Return the exit code of a command that ended in `error` (1: not raised on purpose)."""
    return next((code for kind, _, code in _TABLE if isinstance(error, kind)), EXIT_INTERNAL)


def to_body(error: Exception, round_number: int | None = None) -> ErrorBody:
    """Describe an error. One that was not raised on purpose is named, its text kept back."""
    known = isinstance(error, AimError | MpcError | PartyError)
    return ErrorBody(
        error=type(error).__name__,
        message=str(error) if known else "an internal error; see this program's own log",
        party=getattr(error, "party", None),
        round=round_number if round_number is not None else getattr(error, "round", None),
    )


def from_body(body: ErrorBody) -> AimError | MpcError | PartyError:
    """Return the error that a body describes; an unknown class becomes JobFailed."""
    if body.error == BudgetExceeded.__name__:
        return BudgetExceeded(body.message)
    if body.error in _KNOWN_MPC:
        return _KNOWN_MPC[body.error](body.message, body.party)
    kind = _KNOWN.get(body.error, JobFailed)
    return kind(body.message, party=body.party, round=body.round)
