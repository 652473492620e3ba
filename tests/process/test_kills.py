"""kill -9 of each role in each state of a job, as far as test_deployment.py does not do it."""

import contextlib
import multiprocessing
import sqlite3
import time
from pathlib import Path

import pytest

from parties.party.state.store import Store
from tests.support.processes.consortium import PARTIES, Consortium, assert_complete, wait_until
from tests.support.programs.charges import charge, charge_until_killed


def test_roles_are_killed_before_the_job_runs(tmp_path: Path) -> None:
    """Approved: a party that is alone. Collecting: holder, estimator. Frozen: estimator, party."""
    with Consortium(tmp_path, rounds=2) as c:
        c.start_party(0)
        c.wait_until_up(0)
        c.kill("party-0")
        c.start_parties()
        c.start_job()
        wait_until(lambda: '"uploads":0' in c.log("estimator"), 60, "nobody waits for uploads")
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


def test_a_kill_at_any_instant_loses_no_charge_and_tears_none(tmp_path: Path) -> None:
    path, done = tmp_path / "job.sqlite", tmp_path / "done"
    context = multiprocessing.get_context("spawn")
    for turn in range(5):
        process = context.Process(target=charge_until_killed, args=(path, done))
        process.start()
        before = done.stat().st_size if done.exists() else 0
        deadline = time.monotonic() + 20
        while not done.exists() or done.stat().st_size <= before + 20:
            assert time.monotonic() < deadline
            time.sleep(0.001 * (turn + 1))
        process.kill()
        process.join()
        reported = int(done.read_text().rpartition("\n")[0].split()[-1])
        store = Store(path, "m", 0)
        charges = store.charges()
        assert reported <= len(charges) <= reported + 1
        assert [booked for booked, _ in charges] == [charge(n + 1) for n in range(len(charges))]
        assert store.unanswered() == [booked.request for booked, _ in charges]
        assert store.fact("round") == str(len(charges))
        store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
