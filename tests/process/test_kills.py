"""kill -9 of each role in each state of a job, as far as test_deployment.py does not do it."""

import contextlib
from pathlib import Path

import pytest

from tests.support.consortium import PARTIES, Consortium, assert_complete, wait_until


def test_roles_are_killed_before_the_job_runs(tmp_path: Path) -> None:
    """Approved: a party that is alone. Collecting: holder, estimator. Frozen: estimator, party."""
    with Consortium(tmp_path, rounds=2) as c:
        c.start_party(0)
        c.wait_until_up(0)
        c.kill("party-0")
        c.start_parties()
        c.start_job()
        wait_until(lambda: '"uploads": 0' in c.log("estimator"), 60, "nobody waits for uploads")
        c.kill("estimator")
        outbox = tmp_path / "holder-0" / "outbox"
        c.start_holder(0)
        wait_until(lambda: any(outbox.glob("*")), 60, "holder 0 does not share")
        c.kill("holder-0")
        c.start_holder(0)
        c.wait_for("holder-0")
        c.start_holder(1)
        c.wait_for("holder-1")
        c.start_job()
        wait_until(lambda: '"freeze"' in c.log("estimator"), 60, "the inputs are never frozen")
        c.kill("estimator")
        c.start_job()
        c.wait_for_event(2, "freeze")
        c.kill("party-2")
        c.start_party(2)
        c.complete()
        assert_complete(c)


@pytest.mark.slow
def test_all_parties_are_killed_at_once_and_again_at_the_end(tmp_path: Path) -> None:
    """Running: as when the power fails. Done: the parties, and the estimator before it is told."""
    with Consortium(tmp_path, rounds=6, linger_seconds=6.0) as c:
        c.start_all()
        c.wait_for_event(0, "select", 2)
        for pid in PARTIES:
            c.kill(f"party-{pid}")
        c.start_parties()
        c.wait_for_event(1, "finish")
        c.kill("party-1")
        if c.processes["estimator"].poll() is None:
            c.kill("estimator")
        with contextlib.suppress(FileNotFoundError):
            (c.out / "results.json").unlink()  # as if it had been killed a moment earlier
        c.start_party(1)
        c.start_job()
        c.complete()
        assert_complete(c)
