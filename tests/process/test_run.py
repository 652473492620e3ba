"""`distaim run` as a user runs it: real processes, real TLS, real failures."""

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from aim_core.studies.clinic import write_clinic
from parties.agreement.approval import load_approved_manifest
from parties.local.options import OracleKind, RunOptions
from parties.local.run import run
from parties.wire.events import Event, MarginalsMeasured
from parties.wire.run_facts import FailureFacts, RunFacts
from tests.support.processes.consortium import DISTAIM, wait_until

KEYS = {
    "epsilon", "delta", "rho_budget", "rho_spent", "delta_reserved", "exact", "rounds", "selected",
    "sigmas", "true_sigmas", "workload", "workload_error_l1", "workload_error_tv", "not_private",
    "oracle", "estimator", "engine", "noise_variance_factor", "parties", "threshold", "holders",
    "participation", "rows", "n_max", "seed", "cells", "candidates", "seconds", "bytes_sent",
    "comm_rounds", "upload_bytes", "peak_rss_mb", "versions", "warnings", "is_private",
    "dry_run_noise",
}  # fmt: skip
"""The keys of `run.json`, which scripts of others read."""

LARGE_DEMO = ["--workload", "3way", "--rounds", "200", "--seed", "1"]


def distaim(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DISTAIM, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def parent_and_command(pid: int) -> tuple[int, str]:
    """Return a process's parent and command line; (0, "") if it is gone."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        stat = Path(f"/proc/{pid}/stat").read_text()
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        state, parent = stat.rpartition(")")[2].split()[:2]
        return (0, "") if state == "Z" else (int(parent), command)
    return 0, ""


def children(parent: int) -> dict[str, int]:
    """Return the children of a run by name: the stem of their config file."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            owner, command = parent_and_command(int(entry.name))
            words = command.split()
            if owner == parent and "--config" in words:
                found[Path(words[words.index("--config") + 1]).stem] = int(entry.name)
    return found


class Running:
    """A run that has reached its second round, with the ids of its children."""

    def __init__(self, out: Path, *extra: str) -> None:
        self.out = out
        self.log = out.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*DISTAIM, "run", *LARGE_DEMO, "--out", str(out), *extra],
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        try:
            wait_until(self._measured_or_ended, 90, "the second round does not come")
            assert not self._ended(), self.text()
            self.children = children(self.process.pid)
        except BaseException:
            self.process.kill()
            raise

    def text(self) -> str:
        return self.log.read_text()

    def _measured_or_ended(self) -> bool:
        return "round 2: measured" in self.text() or self._ended()

    def _ended(self) -> bool:
        return self.process.poll() is not None

    def assert_no_orphans(self, seconds: float) -> None:
        pids = self.children.values()

        def all_gone() -> bool:
            return not any("--config" in parent_and_command(pid)[1] for pid in pids)

        wait_until(all_gone, seconds, "a process of the run lives on")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    result = distaim("run", "--rounds", "3", "--seed", "5", "--json", "--out", str(out))
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == json.loads((out / "run.json").read_text())
    return out


def test_a_run_leaves_the_table_the_report_and_the_transcripts(finished: Path) -> None:
    facts = RunFacts.model_validate_json((finished / "run.json").read_bytes())
    assert facts.rho_spent <= facts.rho_budget
    assert (facts.rounds, len(facts.selected), len(facts.sigmas)) == (3, 3, 3)
    assert facts.seconds.total > facts.seconds.fit > 0
    assert len(facts.bytes_sent) == len(facts.peak_rss_mb) == 3
    assert min(facts.bytes_sent) > 1000
    assert len(facts.upload_bytes) == 10
    assert len(set(facts.upload_bytes.values())) == 1
    assert facts.comm_rounds["score"] > 0
    with (finished / "synthetic.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == facts.rows
    assert {row["smoker"] for row in rows} <= {"yes", "no", ""}
    report = (finished / "report.html").read_text()
    assert report.count("<svg") == 4
    assert "not private" in report
    assert not re.search(r"<script|<link|@import|(src|href)=\"(?!#)", report)
    assert not (finished / "work").exists()


def test_holders_join_round_by_round_and_the_audit_follows(tmp_path: Path) -> None:
    out = tmp_path / "out"
    joining = ("--participation", "0.3", "--holders", "6", "--rounds", "3", "--seed", "5")
    skewed = ("--split", "dirichlet:1", "--target", "smoker")
    result = distaim("run", *joining, *skewed, "--json", "--out", str(out))
    assert result.returncode == 0, result.stderr
    facts = RunFacts.model_validate_json(result.stdout)
    assert facts.participation == "0.3"
    assert facts.comm_rounds["prepare"] > 0
    # the holders sampled so far have a part of the 4,000 rows, and so has the model
    assert 200 < facts.rows < 4000
    audit = distaim("audit", str(out), "--json")
    assert audit.returncode == 0, audit.stdout


def test_transcripts_agree_but_for_the_costs(finished: Path) -> None:
    views = []
    for pid in range(3):
        lines = (finished / "transcript" / f"party-{pid}.jsonl").read_text().splitlines()
        entries = [json.loads(line) for line in lines]
        events = [entry["event"] for entry in entries]
        rounds = ["select", "selected", "measure", "measured"] * 3
        assert events == ["begin", "freeze", "loaded", "measure", "measured", *rounds, "finish"]
        own = ("cost", "previous", "signature", "party", "name")
        views.append([{k: v for k, v in e.items() if k not in own} for e in entries])
    assert views[0] == views[1] == views[2]
    audited = distaim("audit", str(finished), "--json")
    assert audited.returncode == 0, audited.stdout
    assert json.loads(audited.stdout)["verdict"] == "ok"


def test_the_manifest_that_binds_the_transcripts_is_kept(finished: Path) -> None:
    manifest = load_approved_manifest(finished / "manifest.json")
    for pid in range(3):
        with (finished / "transcript" / f"party-{pid}.jsonl").open() as file:
            assert json.loads(file.readline())["manifest"] == manifest.digest
    facts = RunFacts.model_validate_json((finished / "run.json").read_bytes())
    assert manifest.mechanism.rho == facts.exact.rho_budget
    assert 0 < facts.delta_reserved < facts.delta / 1000


def test_the_plaintext_oracle_takes_the_same_options(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = distaim("run", "--oracle", "plaintext", "--noise", "dealers", "--rounds", "2",
                     "--rows", "100", "--out", str(out))  # fmt: skip
    assert result.returncode == 0, result.stderr
    facts = RunFacts.model_validate_json((out / "run.json").read_bytes())
    assert (facts.rows, facts.noise_variance_factor) == (100, 1.5)
    assert facts.bytes_sent == []


def test_run_json_has_the_keys_that_others_read(tmp_path: Path) -> None:
    out = tmp_path / "out"
    told: list[Event] = []
    options = RunOptions(out=out, oracle=OracleKind.PLAINTEXT, rounds=1, rows=50, seed=1)
    facts = run(options, told.append)
    text = (out / "run.json").read_text("utf-8")
    raw = json.loads(text)
    assert set(raw) == KEYS
    assert set(raw["exact"]) == {"epsilon", "delta", "rho_budget", "rho_spent", "delta_reserved"}
    assert set(raw["seconds"]) == {
        "collect", "score", "select", "measure", "fit", "sample", "total",
    }  # fmt: skip
    assert raw["not_private"] == ["workload_error_l1", "workload_error_tv"]
    assert raw["selected"] == [list(clique) for clique in facts.selected]
    assert RunFacts.model_validate_json(text) == facts
    assert (facts.rows, facts.rounds, facts.bytes_sent, facts.upload_bytes) == (50, 1, [], {})


@pytest.mark.parametrize("victim", ["party-1", "estimator"])
def test_a_killed_process_ends_the_run_and_is_named(tmp_path: Path, victim: str) -> None:
    run = Running(tmp_path / "out")
    os.kill(run.children[victim], signal.SIGKILL)
    started = time.monotonic()
    assert run.process.wait(30) == 4
    assert time.monotonic() - started < 30
    run.assert_no_orphans(1)
    assert f"{victim} was killed by signal 9" in run.text()
    failure = FailureFacts.model_validate_json((run.out / "error.json").read_bytes())
    assert failure.error == "JobFailed"
    assert failure.party == (1 if victim == "party-1" else None)
    assert failure.round is not None
    assert failure.round >= 2
    assert any(isinstance(event, MarginalsMeasured) for event in failure.events)
    for pid in (0, 2):
        lines = (run.out / "transcript" / f"party-{pid}.jsonl").read_text().splitlines()
        assert sum(json.loads(line)["event"] == "measure" for line in lines) >= 2
    assert not (run.out / "work").exists()
    assert not (run.out / "synthetic.csv").exists()


def test_no_child_outlives_a_killed_parent(tmp_path: Path) -> None:
    run = Running(tmp_path / "out")
    assert {"party-0", "party-1", "party-2", "estimator"} <= set(run.children)
    run.process.kill()
    run.process.wait()
    run.assert_no_orphans(10)


def test_a_terminated_run_stops_its_children(tmp_path: Path) -> None:
    run = Running(tmp_path / "out")
    run.process.terminate()
    assert run.process.wait(20) == 130
    run.assert_no_orphans(1)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    table, schema = write_clinic(tmp_path_factory.mktemp("demo"))
    return str(table), str(schema)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--epsilon", "0"], "epsilon"),
        (["--delta", "1"], "delta"),
        (["--parties", "2"], "3 to 7"),
        (["--rounds", "none"], "rounds"),
        (["--workload", "9way"], "9way"),
        (["TABLE"], "distaim schema"),
        (["missing.csv", "--schema", "SCHEMA"], "missing.csv"),
        (["TABLE", "--schema", "missing.toml"], "missing.toml"),
    ],
)
def test_bad_input_is_refused_with_a_reason(
    demo: tuple[str, str], tmp_path: Path, arguments: list[str], text: str
) -> None:
    named = {"TABLE": demo[0], "SCHEMA": demo[1]}
    out = tmp_path / "out"
    result = distaim("run", *(named.get(a, a) for a in arguments), "--out", str(out))
    assert result.returncode == 2, result.stderr
    assert text in result.stderr
    assert "Traceback" not in result.stderr
    assert not out.exists()


def test_values_outside_the_schema_are_counted_per_column(
    demo: tuple[str, str], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text(Path(demo[0]).read_text().replace("yes", "perhaps"))
    result = distaim("run", str(bad), "--schema", demo[1], "--json", "--out", str(tmp_path / "out"))
    assert result.returncode == 2
    error = json.loads(result.stderr.splitlines()[-1])
    assert error["error"] == "TableError"
    assert "smoker" in error["message"]


def test_an_existing_out_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "keep").write_text("mine")
    result = distaim("run", "--out", str(tmp_path))
    assert result.returncode == 2
    assert "exists" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["keep"]


def test_schema_is_drafted_and_usable(demo: tuple[str, str], tmp_path: Path) -> None:
    draft = tmp_path / "draft.toml"
    result = distaim("schema", demo[0], "--out", str(draft))
    assert result.returncode == 0, result.stderr
    assert "NOT PRIVATE" in draft.read_text()
    out = tmp_path / "out"
    result = distaim("run", demo[0], "--schema", str(draft), "--oracle", "plaintext",
                     "--rounds", "1", "--out", str(out))  # fmt: skip
    assert result.returncode == 0, result.stderr
