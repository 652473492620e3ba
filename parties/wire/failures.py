"""Errors of all three packages as HTTP statuses, exit codes and JSON, in both directions."""

from collections.abc import Iterator

from aim_core.errors import AimError
from mpc.errors import MpcError
from parties.errors import ExitCode, JobFailed, PartyError
from parties.wire.messages import ErrorBody

Failure = AimError | MpcError | PartyError
"""An error that was raised on purpose: its text and its public fields may be told to others."""

FAILURES = (AimError, MpcError, PartyError)
"""The roots of the trees, for `except` clauses."""

_INTERNAL_STATUS = 500
_STATUS = {
    ExitCode.INPUT: 422,
    ExitCode.BUDGET: 403,
    ExitCode.PEER: 502,
    ExitCode.VIOLATION: 502,
}
"""What errors answer that know nothing of HTTP."""


def http_status(error: Exception) -> int:
    """Return the HTTP status that answers a request which ended in `error`."""
    if isinstance(error, PartyError):
        return error.http_status
    return _STATUS.get(exit_code(error), _INTERNAL_STATUS)


def exit_code(error: Exception) -> ExitCode:
    """Return the exit code of a command that ended in `error`."""
    return ExitCode(error.exit_code) if isinstance(error, Failure) else ExitCode.INTERNAL


def to_body(error: Exception, round_number: int | None = None) -> ErrorBody:
    """Describe an error. One that was not raised on purpose is named, its text kept back."""
    if isinstance(error, Failure):
        number = error.round if round_number is None else round_number
        return ErrorBody(
            error=type(error).__name__, message=str(error), party=error.party, round=number
        )
    text = "an internal error; see this program's own log"
    return ErrorBody(error=type(error).__name__, message=text, round=round_number)


def from_body(body: ErrorBody) -> Failure:
    """Return the error that a body describes; an unknown class becomes JobFailed."""
    known = {kind.__name__: kind for kind in error_classes()}
    error = known.get(body.error, JobFailed)(body.message)
    error.party, error.round = body.party, body.round
    return error


def error_classes() -> Iterator[type[Failure]]:
    """Yield every class of the three trees."""
    waiting: list[type[Failure]] = list(FAILURES)
    while waiting:
        kind = waiting.pop()
        yield kind
        waiting.extend(kind.__subclasses__())
