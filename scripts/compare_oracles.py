"""Compare the workload error of `--oracle mpc` with that of `--oracle plaintext`.

    python scripts/compare_oracles.py TABLE SCHEMA --runs 10 --json

Both run so many times, one after the other, with seeds of their own. Printed are both means of
workload_error_tv with 95 % confidence intervals (Student's t) and their ratio with one by Fieller's
theorem.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from scipy import stats

from parties.compare.statistics import CONFIDENCE, mean_of
from parties.wire.run_facts import RunFacts

ORACLES = ("mpc", "plaintext")


def run_once(options: argparse.Namespace, oracle: str, seed: int) -> dict[str, float]:
    """Run `distaim run` once; return its workload error and its seconds."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "out"
        command = [sys.executable, "-m", "parties", "run", str(options.table)]
        command += ["--schema", str(options.schema), "--epsilon", options.epsilon]
        command += ["--workload", options.workload, "--oracle", oracle]
        command += ["--noise", options.noise, "--seed", str(seed), "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        if done.returncode:
            raise SystemExit(f"the run with seed {seed} failed: {done.stderr[-500:]}")
        facts = RunFacts.model_validate_json((out / "run.json").read_bytes())
    return {"tv": facts.workload_error_tv, "seconds": facts.seconds.total}


def ratio_interval(above: list[float], below: list[float]) -> tuple[float, float]:
    """Return Fieller's interval for the ratio of two independent means."""
    a, b = statistics.fmean(above), statistics.fmean(below)
    var_a = statistics.variance(above) / len(above)
    var_b = statistics.variance(below) / len(below)
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(above) + len(below) - 2))
    g = quantile**2 * var_b / b**2
    if g >= 1:
        return -math.inf, math.inf
    half = quantile / b * math.sqrt((1 - g) * var_a + (a / b) ** 2 * var_b)
    return (a / b - half) / (1 - g), (a / b + half) / (1 - g)


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Return the report as a dictionary."""
    runs: dict[str, list[dict[str, float]]] = {oracle: [] for oracle in ORACLES}
    for number in range(options.runs):
        for index, oracle in enumerate(ORACLES):
            seed = options.seed + len(ORACLES) * number + index
            runs[oracle].append(run_once(options, oracle, seed))
            print(f"{oracle}, seed {seed}: {runs[oracle][-1]}", file=sys.stderr, flush=True)
    errors = {oracle: [run["tv"] for run in runs[oracle]] for oracle in ORACLES}
    report: dict[str, Any] = {"runs": options.runs, "epsilon": options.epsilon}
    for oracle in ORACLES:
        mean = mean_of(errors[oracle])
        assert mean is not None
        assert mean.interval is not None
        report[oracle] = {
            "mean_tv": mean.mean,
            "interval": list(mean.interval),
            "values": errors[oracle],
            "mean_seconds": statistics.fmean(run["seconds"] for run in runs[oracle]),
        }
    report["ratio"] = report["mpc"]["mean_tv"] / report["plaintext"]["mean_tv"]
    report["ratio_interval"] = list(ratio_interval(*(errors[oracle] for oracle in ORACLES)))
    return report


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("schema", type=Path)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--epsilon", default="1")
    parser.add_argument("--workload", default="2way")
    parser.add_argument("--noise", default="joint")
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.runs < 2:
        parser.error("a confidence interval takes at least 2 runs")
    report = compare(options)
    if options.json:
        print(json.dumps(report, indent=2))
        return
    for oracle in ORACLES:
        low, high = report[oracle]["interval"]
        print(f"{oracle}: mean TV {report[oracle]['mean_tv']:.5f}, 95 % in [{low:.5f}, {high:.5f}]")
    low, high = report["ratio_interval"]
    print(f"mpc / plaintext: {report['ratio']:.4f}, 95 % in [{low:.4f}, {high:.4f}]")


if __name__ == "__main__":
    main()
