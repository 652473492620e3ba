"""What an error is, it stays: on the way out of a process or a party, and in again."""

from collections import Counter

import pytest

from aim_core.errors import BudgetExceeded, SchemaError
from mpc.errors import EncodingOverflow, PeerLost, ProtocolViolation, TooFewMembers
from parties.errors import (
    AnswersDiffer,
    ChargeLost,
    ConfigError,
    ExitCode,
    IdentityError,
    InputsRefused,
    JobFailed,
    ManifestDiffers,
    NotReady,
    RequestConflict,
    RequestRefused,
    StateError,
    UploadBroken,
)
from parties.wire.failures import Failure, error_classes, exit_code, from_body, http_status, to_body
from parties.wire.messages import ErrorBody

CLASSES = sorted(error_classes(), key=lambda kind: kind.__name__)


def over_the_wire(error: Exception) -> Failure:
    return from_body(ErrorBody.model_validate_json(to_body(error).model_dump_json()))


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_comes_back_as_it_went(kind: type[Failure]) -> None:
    error = kind("what, why, what to do")
    error.party, error.round = 2, 7
    again = over_the_wire(error)
    assert type(again) is kind
    assert (str(again), again.party, again.round) == ("what, why, what to do", 2, 7)
    assert (exit_code(again), http_status(again)) == (exit_code(error), http_status(error))
    bare = over_the_wire(kind("nobody's"))
    assert (bare.party, bare.round) == (None, None)


def test_names_that_other_versions_send_are_still_known() -> None:
    """A class's name crosses the wire: who renames one changes the protocol, and this list."""
    known = """
        AimError SchemaError TableError WorkloadError DomainTooLarge BudgetExceeded MechanismError
        MpcError PeerLost PeerTimeout ProtocolViolation EncodingOverflow TooFewMembers
        PartyError ConfigError NotApproved IdentityError UploadRefused UploadBroken InputsRefused
        RequestRefused ManifestDiffers RequestConflict NotReady ChargeLost StateError JobFailed
        PartyUnreachable AnswersDiffer
    """
    assert set(known.split()) <= {kind.__name__ for kind in CLASSES}


def test_no_two_errors_have_one_name() -> None:
    assert max(Counter(kind.__name__ for kind in CLASSES).values()) == 1


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BudgetExceeded("no"), 403, ExitCode.BUDGET),
        (SchemaError("no"), 422, ExitCode.INPUT),
        (EncodingOverflow("no"), 422, ExitCode.INPUT),
        (PeerLost("no"), 502, ExitCode.PEER),
        (TooFewMembers("no"), 502, ExitCode.PEER),
        (ProtocolViolation("no"), 502, ExitCode.VIOLATION),
        (ConfigError("no"), 422, ExitCode.INPUT),
        (IdentityError("no"), 403, ExitCode.VIOLATION),
        (UploadBroken("no"), 409, ExitCode.INPUT),
        (InputsRefused("no"), 422, ExitCode.INPUT),
        (RequestRefused("no"), 422, ExitCode.VIOLATION),
        (RequestConflict("no"), 409, ExitCode.VIOLATION),
        (ManifestDiffers("no"), 409, ExitCode.INPUT),
        (ChargeLost("no"), 410, ExitCode.PEER),
        (NotReady("no"), 503, ExitCode.PEER),
        (StateError("no"), 502, ExitCode.PEER),
        (JobFailed("no"), 502, ExitCode.PEER),
        (AnswersDiffer("no"), 502, ExitCode.VIOLATION),
    ],
)
def test_an_error_has_the_status_and_the_exit_code_of_its_class(
    error: Failure, status: int, code: ExitCode
) -> None:
    assert (http_status(error), exit_code(error)) == (status, code)


def test_an_accident_is_named_and_its_text_kept_back() -> None:
    accident = ValueError("secret")
    assert (http_status(accident), exit_code(accident)) == (500, ExitCode.INTERNAL)
    body = to_body(accident, 3)
    assert "secret" not in body.model_dump_json()
    assert (body.error, body.round) == ("ValueError", 3)


@pytest.mark.parametrize("name", ["ValueError", "SystemExit", "Exception", "", "object"])
def test_an_unknown_class_becomes_a_failed_job(name: str) -> None:
    error = from_body(ErrorBody(error=name, message="from a peer", party=1))
    assert type(error) is JobFailed
    assert (str(error), error.party) == ("from a peer", 1)
