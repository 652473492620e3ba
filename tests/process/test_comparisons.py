"""`distaim compare` as a user runs it: over MPC, with the plaintext flag, interrupted, misused."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from parties.cli.app import app
from parties.compare import sweep
from parties.compare.bench import Communication
from parties.compare.rows import Row
from parties.compare.settings import CompareSettings, Task
from tests.support.comparisons import Clinic, settings_of

DISTAIM = [sys.executable, "-m", "parties"]


def command(clinic: Clinic, out: Path, methods: str, *more: str) -> list[str]:
    table, schema = clinic
    return [
        *DISTAIM,
        "compare",
        *(str(table), "--schema", str(schema)),
        *("--methods", methods, "--out", str(out)),
        *("--holders", "6", "--participation", "0.4", "--rounds", "2", "--epsilon", "1"),
        *("--seeds", "1", "--workload", "random:4:1", "--max-model-mb", "2", *more),
    ]


def rows(out: Path) -> dict[str, dict[str, Any]]:
    found = json.loads((out / "compare.json").read_text())["rows"]
    return {row["method"]: row for row in found}


def test_distaim_is_run_over_mpc(clinic: Clinic, tmp_path: Path) -> None:
    out = tmp_path / "out"
    skewed = ("--split", "dirichlet:1", "--target", "smoker")
    done = subprocess.run(
        command(clinic, out, "distaim,central", *skewed, "--json"),
        capture_output=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == {"rows": 2, "out": str(out)}
    found = rows(out)
    assert found["distaim"]["is_real_mpc"]
    assert found["distaim"]["communication"] == "measured"
    assert found["distaim"]["bytes_servers"] > 100_000
    assert found["distaim"]["max_bytes_up"] > found["distaim"]["bytes_up"] > 0
    assert not (out / "work").exists()
    assert b"ETA" in done.stderr


@pytest.mark.slow
def test_a_flag_takes_only_the_bytes_from_mpc(clinic: Clinic, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = command(clinic, out, "distaim", "--plaintext-utility")
    subprocess.run([*arguments, "--seeds", "2"], capture_output=True, timeout=180, check=True)
    found = json.loads((out / "compare.json").read_text())
    real = {row["seed"]: row["is_real_mpc"] for row in found["rows"]}
    assert real == {0: True, 1: False}
    assert len({row["bytes_up"] for row in found["rows"]}) == 1
    assert "plaintext oracle" in (out / "compare.html").read_text()


@pytest.mark.slow
def test_an_interrupted_comparison_goes_on(
    clinic: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = settings_of(clinic)
    rows = sweep.compare(asked, tmp_path / "out", 2)
    assert {row.method for row in rows} == {"central", "flaim", "oneway"}
    for name in ("compare.csv", "compare.json", "compare.html"):
        assert (tmp_path / "out" / name).stat().st_size > 500
    # as if it had been killed while the last row was written
    path = tmp_path / "out" / "rows.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:40])
    ran: list[Task] = []
    pooled = sweep._pooled

    def noting(
        settings: CompareSettings, due: Sequence[Task], one_run: Communication | None, n_jobs: int
    ) -> Iterator[tuple[Task, Row]]:
        ran.extend(due)
        return pooled(settings, due, one_run, n_jobs)

    monkeypatch.setattr(sweep, "_pooled", noting)
    more = settings_of(clinic, methods=["central", "flaim", "oneway", "flaim-random"])
    again = sweep.compare(more, tmp_path / "out", 1)
    lost = json.loads(lines[-1])["method"]
    assert {task.method for task in ran} == {lost, "flaim-random"}
    assert len(again) == 4


def test_a_killed_comparison_leaves_no_process_and_goes_on(clinic: Clinic, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = command(clinic, out, "central,flaim,oneway", "--seeds", "20")
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, start_new_session=True) as process:
        deadline = time.monotonic() + 60
        while not (out / "rows.jsonl").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        group = process.pid
    while _alive(group):
        assert time.monotonic() < deadline, "a process of the pool lives on"
        time.sleep(0.1)
    n_before = len((out / "rows.jsonl").read_bytes().splitlines())
    again = subprocess.run([*arguments[:-1], "2"], capture_output=True, timeout=120, check=False)
    assert again.returncode == 0, again.stderr.decode()
    assert len(json.loads((out / "compare.json").read_text())["rows"]) >= max(6, n_before - 1)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--epsilon", "-1"], "epsilon"),
        (["--split", "postcode"], "split"),
        (["--methods", "magic"], "cannot be compared"),
        (["--participation", "0"], "above 0"),
        (["--target", "nothing", "--split", "dirichlet:1"], "nothing"),
        (["--workload", "random:9999:1"], "cannot draw"),
        (["--split", "dirichlet:1"], "no attribute with two values"),
    ],
)
def test_bad_options_end_with_a_reason(
    clinic: Clinic, tmp_path: Path, more: list[str], text: str
) -> None:
    arguments = command(clinic, tmp_path / "out", "flaim")
    done = CliRunner().invoke(app, [*arguments[arguments.index("compare") :], *more])
    assert done.exit_code == 2, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr
