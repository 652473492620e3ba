"""Dry runs: public noise that can be repeated, refused where there is privacy to lose, and loud."""

import json
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from parties.cli.app import app
from parties.errors import ConfigError
from parties.local.options import OracleKind, RunOptions
from parties.local.plaintext_noise import DryRunSampler
from parties.local.prepare import check_options
from parties.local.progress import RunProgress
from parties.local.run import run

RunMade = Callable[..., Path]


@pytest.fixture
def made(tmp_path: Path) -> RunMade:
    """Return a function that runs on a table of 20 records and returns the out folder."""
    values = ["x", "y", "z", "y"] * 5
    table, schema = tmp_path / "t.csv", tmp_path / "s.toml"
    table.write_text("a,b\n" + "".join(f"{v},{i % 8}\n" for i, v in enumerate(values)))
    schema.write_text(
        '[[columns]]\nname = "a"\ntype = "categorical"\nvalues = ["x", "y", "z"]\n'
        '[[columns]]\nname = "b"\ntype = "integer"\nmin = 0\nmax = 7\nbins = 8\n'
    )

    def go(name: str, **options: object) -> Path:
        fixed = {"table": table, "schema": schema, "oracle": OracleKind.PLAINTEXT, "rounds": 2}
        chosen = RunOptions(out=tmp_path / name, **{**fixed, **options})  # type: ignore[arg-type]
        with RunProgress() as progress:
            run(chosen, progress.show)
        return tmp_path / name

    return go


def test_the_same_seed_gives_the_same_table_and_another_one_does_not(made: RunMade) -> None:
    tables = [
        (made(name, epsilon="3", dry_run_noise=seed, rows=50) / "synthetic.csv").read_bytes()
        for name, seed in (("one", 7), ("two", 7), ("three", 8))
    ]
    assert tables[0] == tables[1] != tables[2]


def test_without_it_two_runs_with_one_public_seed_differ(made: RunMade) -> None:
    totals = [
        json.loads((made(name, epsilon="3", seed=7) / "run.json").read_text())["rows"]
        for name in ("one", "two", "three", "four", "five", "six")
    ]
    # noise of sigma above 4 in the total: six equal ones have a probability below 1e-6
    assert len(set(totals)) > 1


@pytest.mark.parametrize("noise", ["joint", "dealers"])
def test_results_say_that_there_is_no_privacy(
    made: RunMade, capsys: pytest.CaptureFixture[str], noise: str
) -> None:
    out = made("out", dry_run_noise=7, noise=noise)
    assert "warning: NO PRIVACY" in capsys.readouterr().err
    facts = json.loads((out / "run.json").read_text())
    assert (facts["is_private"], facts["dry_run_noise"]) == (False, 7)
    assert facts["warnings"][0].startswith("NO PRIVACY")
    report = (out / "report.html").read_text("utf-8")
    assert "NO PRIVACY" in report
    assert "together are" not in report


def test_a_real_run_claims_its_guarantee(made: RunMade) -> None:
    out = made("out", epsilon="3")
    facts = json.loads((out / "run.json").read_text())
    assert (facts["is_private"], facts["dry_run_noise"]) == (True, None)
    report = (out / "report.html").read_text("utf-8")
    assert "NO PRIVACY" not in report
    assert "together are" in report


def test_few_records_and_a_small_epsilon_are_warned_of_from_the_start(
    made: RunMade, capsys: pytest.CaptureFixture[str]
) -> None:
    out = made("out", epsilon="0.01")
    said = capsys.readouterr().err
    assert said.index("exceeds the average cell in 2 of 2") < said.index(
        "one-way marginals  budget"
    )
    assert "at most 31 records" in said
    (text,) = json.loads((out / "run.json").read_text())["warnings"]
    assert "exceeds the average cell in 2 of 2 columns (a, b): an estimated" in text
    assert "exceeds the average cell" in (out / "report.html").read_text("utf-8")


def test_a_large_epsilon_is_not_warned_of(made: RunMade) -> None:
    assert json.loads((made("out", epsilon="12") / "run.json").read_text())["warnings"] == []


def test_it_is_refused_outside_the_plaintext_oracle(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--oracle plaintext"):
        check_options(RunOptions(out=tmp_path / "out", dry_run_noise=7))
    arguments = ["run", "--dry-run-noise", "7", "--out", str(tmp_path / "out")]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_the_summary_promises_nothing(tmp_path: Path) -> None:
    arguments = ["run", "--oracle", "plaintext", "--rounds", "1", "--dry-run-noise", "7"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "NO PRIVACY (a dry run, noise from the public seed 7)" in done.stdout
    assert "differentially private" not in done.stdout


def test_no_role_of_a_job_can_reach_the_public_noise() -> None:
    """The layers say so; here is what a process of each role has loaded."""
    code = (
        "import sys, parties.party.process, parties.holder.submit, parties.estimator.job, "
        "mpc.mpyc_engine.job, mpc.steps.job; "
        "assert not any('plaintext_noise' in name for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_its_noise_has_the_width_of_real_noise() -> None:
    sampler = DryRunSampler(3)
    cells = sampler.gaussian(40_000, Fraction(64))
    # a fixed seed: the same on every run
    assert cells.var() == pytest.approx(64, rel=0.05)
    gumbels = sampler.gumbel(4_000, 24) / 2**24
    assert gumbels.var() == pytest.approx(np.pi**2 / 6, rel=0.1)
    assert np.array_equal(DryRunSampler(3).gaussian(40_000, Fraction(64)), cells)
