"""Forecasts against what a run then sends, and against the formulas of docs/protocol.md.

Seconds are compared by scripts/bench_forecast.py: no test may depend on the machine's load.
"""

import asyncio
import json
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from aim_core.counts.workload import closure, parse_workload
from aim_core.tables.schema_file import schema_from_dict
from mpc.noise.bank import MAX_GAUSSIANS, NoiseBank
from mpc.noise.kinds import NoiseKind
from mpc.noise.sources import JointNoise
from mpc.session.channel import Channel
from mpc.session.in_memory import run_parties
from mpc.session.session import Session
from mpc.shares.replicated import Algebra, Share, public_share, ring
from parties.agreement.derived import ring_parameters
from parties.agreement.manifest import Manifest, load_manifest
from parties.agreement.public_inputs import PublicInputs, public_inputs
from parties.agreement.values import EngineKind
from parties.cli.app import app
from parties.errors import ConfigError, JobFailed
from parties.forecast.forecast import Forecast, forecast
from parties.forecast.policy import made_up_codes
from parties.forecast.secure_steps import Cost, padded, rehearse, shrunk
from parties.forecast.steps import Clock, Link, gaussians_ahead
from parties.forecast.trial import try_out
from tests.support.processes.consortium import DISTAIM
from tests.support.processes.finished_run import FinishedRun
from tests.support.public_tables import public_file


@pytest.fixture(scope="module")
def manifest(finished_run: FinishedRun) -> Manifest:
    return load_manifest(finished_run.out / "manifest.json")


@pytest.fixture(scope="module")
def found(manifest: Manifest) -> Forecast:
    return forecast(manifest)


def costs(out: Path) -> dict[str, tuple[float, float]]:
    """Return the bytes (mean over the parties) and rounds of each step that a request waited for.

    What is made ahead of requests falls between them and is not in their costs.
    """
    totals: dict[str, tuple[float, float]] = {}
    for pid in range(3):
        for text in (out / "transcript" / f"party-{pid}.jsonl").read_text().splitlines():
            for step, cost in json.loads(text).get("cost", {}).items():
                n_bytes, rounds = totals.get(step, (0.0, 0.0))
                n_bytes += cost["bytes_sent"] / 3
                totals[step] = n_bytes, rounds + cost["rounds"] / 3
    return totals


def check_requested(found: Forecast, measured: dict[str, tuple[float, float]]) -> None:
    """Compare the bytes and rounds of all steps that a request waits for.

    Noise is left out: how much of it is made ahead in vain depends on how long a fit takes.
    """
    names = ("check", "prepare", "score", "select", "measure")
    steps = [step for step in found.steps if step.step in names]
    assert [step.step for step in steps] == list(names)
    sent, rounds = (sum(measured[name][part] for name in names) for part in (0, 1))
    assert sum(step.n_bytes for step in steps) == pytest.approx(sent, rel=0.3)
    if any(step.step == "score" and step.rounds for step in steps):  # MPyC does not count rounds
        assert sum(step.rounds for step in steps) == pytest.approx(rounds, rel=0.3)


def test_exact_figures_are_what_the_run_sent(finished_run: FinishedRun, found: Forecast) -> None:
    measured = costs(finished_run.out)
    figures = {step.step: step for step in found.steps}
    for step in ("check", "prepare"):
        assert figures[step].basis == "exact"
        assert figures[step].n_bytes == pytest.approx(measured[step][0], abs=1)
        assert figures[step].rounds == measured[step][1]
    summary = json.loads((finished_run.out / "run.json").read_text())
    assert set(summary["upload_bytes"].values()) == {found.upload_bytes_per_holder}
    assert found.rho_budget == summary["rho_budget"]
    assert found.delta_reserved == pytest.approx(summary["delta_reserved"])
    assert found.sigma_first == pytest.approx(summary["sigmas"][0])
    assert (found.rounds, found.rounds_most) == (2, 2)
    assert list(found.warnings) == summary["warnings"] == []
    assert (found.cells, found.candidates) == (summary["cells"], summary["candidates"])
    assert (found.holders, found.manifest) == (
        3,
        load_manifest(finished_run.out / "manifest.json").digest,
    )


def test_estimates_are_near_what_the_run_sent(finished_run: FinishedRun, found: Forecast) -> None:
    measured = costs(finished_run.out)
    figures = {step.step: step for step in found.steps}
    for step in ("score", "select"):
        assert figures[step].n_bytes == pytest.approx(measured[step][0], rel=0.3)
        assert figures[step].rounds == pytest.approx(measured[step][1], rel=0.1)
    check_requested(found, measured)
    assert found.bytes_sent_per_party == sum(step.n_bytes for step in found.steps)
    summary = json.loads((finished_run.out / "run.json").read_text())
    most = figures["score"].most_bytes
    assert most is not None
    assert most >= max(figures["score"].n_bytes, measured["score"][0])
    assert sum(step.rho for step in found.steps) == pytest.approx(found.rho_budget)
    memory = max(summary["peak_rss_mb"])
    assert found.memory_mb_per_party == pytest.approx(memory, rel=0.3)


@pytest.mark.parametrize(("n_max", "n_ands"), [(4095, 13), (65535, 19)])
def test_unit_costs_follow_the_documented_formulas(
    manifest: Manifest, n_max: int, n_ands: int
) -> None:
    """docs/protocol.md, section 16, for three parties: bits per cell and party."""
    manifest = manifest.model_copy(update={"n_max": n_max, "y_max": n_max})
    schema = schema_from_dict({"a": 64, "b": 50, "c": 40})
    workload = parse_workload("2way", schema.domain)
    inputs = PublicInputs(schema, workload, closure(workload))
    parameters = ring_parameters(manifest)
    b, k = parameters.count_bits, parameters.ring_bits
    unit = rehearse(manifest, inputs, Fraction(1, 5), [Fraction(400)])
    cells = sum(inputs.sizes)
    prepare = cells * (b / 3 + b - 1) / 8 * 3
    assert unit.prepare.n_bytes == pytest.approx(prepare, rel=0.02)
    assert unit.prepare.rounds == b
    score = (n_ands + 2 * k / 3) / 8 * 3
    assert unit.score_cell.n_bytes == pytest.approx(score, rel=0.02)
    assert unit.score_cell.rounds + unit.score_fixed.rounds == 2 + (b - 1).bit_length()
    assert unit.gaussian[Fraction(400)].n_bytes > 100


@pytest.mark.parametrize("n_cells", [100, MAX_GAUSSIANS, 3 * MAX_GAUSSIANS])
@pytest.mark.parametrize("kind", NoiseKind)
def test_what_is_made_ahead_is_booked_as_the_bank_makes_it(n_cells: int, kind: NoiseKind) -> None:
    """Also for a job whose largest candidate exceeds what the bank keeps ready."""

    async def program(session: Session) -> int:
        source = Counting(kind is NoiseKind.JOINT)
        bank = NoiseBank(session, source, ring(32), 24, n_candidates=1, n_cells=n_cells)
        await bank.gaussians(7, Fraction(4))
        for _ in range(50):
            await asyncio.sleep(0)  # let what is made ahead come to its end
        return source.n_gaussians - 7

    made = run_parties(3, 1, program)
    assert made == [min(n_cells, MAX_GAUSSIANS) if kind is NoiseKind.JOINT else 0] * 3
    assert gaussians_ahead(kind, [5, n_cells]) == padded(made[0])


class Counting(JointNoise):
    """Counts what the bank asks for; the values are zeros."""

    def __init__(self, made_ahead: bool) -> None:
        super().__init__(made_ahead=made_ahead)
        self.n_gaussians = 0

    async def gaussian(self, channel: Channel, algebra: Algebra, n: int, sigma2: Fraction) -> Share:
        self.n_gaussians += n
        return public_share(channel, algebra, np.zeros(n, algebra.dtype))


def test_a_line_takes_time_and_saves_the_start(manifest: Manifest, found: Forecast) -> None:
    slow = forecast(manifest, Link(bandwidth=1e6, rtt=0.1), holders=1)
    steps = {step.step: step.seconds for step in slow.steps}
    assert "start and end" not in steps
    select = next(step for step in slow.steps if step.step == "select")
    assert steps["select"] > 0.05 * select.rounds
    assert steps["collect"] > 8 * slow.upload_bytes_per_holder / 1e6
    assert slow.seconds == sum(steps.values())
    assert select.n_bytes == next(s for s in found.steps if s.step == "select").n_bytes
    assert (slow.holders, found.holders) == (1, 3)


def test_a_step_takes_its_computing_its_bytes_and_its_rounds(manifest: Manifest) -> None:
    cost = Cost(n_bytes=3e6, rounds=10, seconds=6.0)
    line = Clock(manifest, Link(bandwidth=1e6, rtt=0.1), round_seconds=7.0)
    assert line.secure(cost) == pytest.approx(6 / 3 + 8 * 1 + 10 * 0.05)
    assert line.transfer(1e6) == pytest.approx(8 + 0.1)
    here = Clock(manifest, None, round_seconds=0.01)
    assert here.secure(cost) - here.secure(replace(cost, rounds=0)) == pytest.approx(10 * 3 * 0.01)
    assert here.secure(cost) - here.secure(replace(cost, seconds=0)) == here.computing(6.0, 3)


def test_what_cannot_be_estimated_is_refused(manifest: Manifest) -> None:
    with pytest.raises(ConfigError, match="MPyC does not count rounds"):
        forecast(
            manifest.model_copy(update={"engine": EngineKind.SHAMIR}), Link(bandwidth=1e6, rtt=0.1)
        )
    with pytest.raises(ConfigError, match="3"):
        forecast(manifest, holders=4)


def test_a_large_domain_is_shrunk_and_keeps_its_candidates(manifest: Manifest) -> None:
    inputs = public_inputs(manifest)
    small = shrunk(inputs, 1000)
    assert small.candidates == inputs.candidates
    assert 500 < sum(small.sizes) <= 1000
    assert shrunk(inputs, 10**6) is inputs
    assert min(shrunk(inputs, 1).domain.sizes) == 2


def test_costs_add_up() -> None:
    cost = Cost(10, 2, 1.0)
    assert cost + cost == cost.repeated(2) == replace(cost.scaled(2), rounds=4)


def test_the_command_prints_tables_and_json(finished_run: FinishedRun) -> None:
    path = str(finished_run.out / "manifest.json")
    runner = CliRunner()
    shown = runner.invoke(app, ["estimate", path, "--bandwidth", "100mbit", "--rtt", "20ms"])
    assert shown.exit_code == 0, shown.output
    for word in ("score", "(bound)", "exact", "assumed:", "memory"):
        assert word in shown.stdout
    as_json = runner.invoke(app, ["estimate", path, "--holders", "2", "--json"])
    raw = json.loads(as_json.stdout)
    assert raw["holders"] == 2
    assert raw["seconds"] == pytest.approx(sum(step["seconds"] for step in raw["steps"]))
    for bad in (["--bandwidth", "fast"], ["--rtt", "0ms"], ["--rtt", "20"]):
        assert runner.invoke(app, ["estimate", path, *bad]).exit_code == 2


def test_a_trial_run_shows_start_and_end_and_the_steps(manifest: Manifest) -> None:
    inputs = public_inputs(manifest)
    trial = try_out(manifest, inputs, 2)
    assert trial.start_seconds >= 0
    assert trial.n_cells == sum(shrunk(inputs, 1000).sizes)
    assert {"check", "prepare", "score", "select", "measure"} <= set(trial.steps)
    assert trial.steps["prepare"].bytes_sent > 0


def test_a_trial_run_that_fails_says_why(manifest: Manifest) -> None:
    impossible = manifest.model_copy(update={"threshold": 2})
    with pytest.raises(JobFailed, match="nothing to estimate from"):
        try_out(impossible, public_inputs(manifest), 2)


@pytest.mark.slow
@pytest.mark.parametrize("table", ["demo", "adult", "shamir"])
def test_a_run_sends_what_was_forecast(table: str, tmp_path: Path) -> None:
    command = [*DISTAIM, "run", "--seed", "1", "--out", str(tmp_path / "out")]
    if table == "adult":
        domain = public_file("adult-domain.json")
        command += [str(public_file("adult.csv")), "--schema", str(domain)]
    if table == "shamir":
        schema, rows = dict.fromkeys("abcdef", 12), tmp_path / "rows.csv"
        (tmp_path / "schema.json").write_text(json.dumps(schema))
        codes = made_up_codes(schema_from_dict(schema).domain, 3000)
        pd.DataFrame(codes, columns=list(schema)).to_csv(rows, index=False)
        command += [str(rows), "--schema", str(tmp_path / "schema.json")]
        command += ["--engine", "shamir", "--rounds", "2"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    found = forecast(load_manifest(tmp_path / "out" / "manifest.json"))
    assert found.bytes_sent_per_party == sum(step.n_bytes for step in found.steps)
    check_requested(found, costs(tmp_path / "out"))
