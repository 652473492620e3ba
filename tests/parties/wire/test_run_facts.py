"""What processes tell each other and what a run leaves as JSON, written and read again."""

import json

import pytest
from pydantic import ValidationError

from parties.errors import JobFailed
from parties.local.progress import RunProgress
from parties.wire.environment import environment, fitting_packages
from parties.wire.events import (
    EVENTS,
    CliqueSelected,
    Event,
    InputsFrozen,
    MarginalsMeasured,
    Notice,
    RequestLost,
    SamplingBegun,
    UploadsCounted,
    UploadsSent,
)
from parties.wire.failures import to_body
from parties.wire.run_facts import FailureFacts

EVERY_EVENT: list[Event] = [
    UploadsCounted(uploads=2, holders=3),
    InputsFrozen(holders=3),
    MarginalsMeasured(round=0, rho_used=0.1, rho_budget=0.4, cliques=(("a",), ("b",)), sigma=12.25),
    CliqueSelected(round=1, rho_used=0.2, rho_budget=0.4, clique=("a", "b"), n_candidates=3),
    RequestLost(round=1, rho_used=0.3, rho_budget=0.4, kind="measure"),
    MarginalsMeasured(round=2, rho_used=0.4, rho_budget=0.4, cliques=(("a", "b"),), sigma=3.5),
    SamplingBegun(),
    Notice(event="waiting", text="waiting for party 1"),
    UploadsSent(upload_bytes={"holder-0": 1234}),
]


@pytest.mark.parametrize("event", EVERY_EVENT, ids=lambda event: type(event).__name__)
def test_an_event_is_read_as_it_was_written(event: Event) -> None:
    text = event.model_dump_json()
    assert json.loads(text)["event"] == event.event
    assert EVENTS.validate_json(text) == event


@pytest.mark.parametrize(
    "text", ['{"event": "other"}', '{"event": "freeze"}', '{"event": "sample", "more": 1}', "text"]
)
def test_an_event_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        EVENTS.validate_json(text)


def test_progress_says_where_a_run_is(capsys: pytest.CaptureFixture[str]) -> None:
    progress = RunProgress()
    for event in EVERY_EVENT:
        progress.show(event)
    said = [line.split("] ")[1] for line in capsys.readouterr().err.splitlines()]
    assert said[0] == "2 of 3 holders have uploaded"
    assert said[2] == "measured 2 one-way marginals  budget  25.0%  ETA ..."
    assert said[3].startswith("round 1: selected a × b of 3  budget  50.0%  ETA")
    assert said[4].startswith("round 1: a measure request was paid for and lost  budget  75.0%")
    assert said[5].startswith("round 2: measured a × b, sigma 3.5  budget 100.0%  ETA 0 s")
    assert said[6:8] == ["sampling the synthetic table", "waiting for party 1"]


def test_a_failure_keeps_what_was_released() -> None:
    body = to_body(JobFailed("party 1 is gone", party=1), 2)
    written = FailureFacts(**dict(body), events=EVERY_EVENT).model_dump_json()
    again = FailureFacts.model_validate_json(written)
    assert (again.error, again.party, again.round) == ("JobFailed", 1, 2)
    assert again.complete is False
    assert again.events == EVERY_EVENT


def test_versions_are_those_of_the_packages_that_are_used() -> None:
    assert set(environment("numpy")) == {"python", "distaim", "numpy", "processor"}
    assert set(fitting_packages("mbi")) == {"distaim", "numpy", "mbi", "jax"}
