"""Compare the seconds and bytes that `distaim estimate` forecasts with those of runs.

    python scripts/bench_forecast.py [TABLE SCHEMA] --repeats 3 -- --engine shamir --rounds 2

Without a table it is the demo; what follows `--` are more options of `distaim run`. Runs and
forecasts take turns on a machine that does nothing else. Printed are the medians, and the ratios of
the forecast's to the run's; both ratios should lie between 0.7 and 1.3.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from parties.agreement.manifest import load_manifest
from parties.forecast.forecast import forecast
from parties.wire.run_facts import RunFacts


@dataclass(frozen=True)
class Figures:
    """What a run took, or was forecast to take: seconds, and bytes sent per party (mean)."""

    seconds: float
    n_bytes: float


def run_once(arguments: list[str], out: Path) -> Figures:
    """Run `distaim run` once; return what it took."""
    command = [sys.executable, "-m", "parties", "run", *arguments, "--seed", "1", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        raise SystemExit(f"the run failed: {done.stderr[-500:]}")
    facts = RunFacts.model_validate_json((out / "run.json").read_bytes())
    return Figures(facts.seconds.total, statistics.mean(facts.bytes_sent))


def forecast_once(out: Path) -> Figures:
    """Forecast the run that has left its manifest in a folder."""
    found = forecast(load_manifest(out / "manifest.json"))
    return Figures(found.seconds, found.bytes_sent_per_party)


def median(figures: list[Figures]) -> Figures:
    """Return the medians of seconds and of bytes."""
    return Figures(
        statistics.median(figure.seconds for figure in figures),
        statistics.median(figure.n_bytes for figure in figures),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("table", type=Path, nargs="?")
    parser.add_argument("schema", type=Path, nargs="?")
    parser.add_argument("--repeats", type=int, default=3)
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, arguments = parser.parse_args(sys.argv[1:cut]), sys.argv[cut + 1 :]
    if options.table is not None:
        arguments += [str(options.table), "--schema", str(options.schema)]
    runs, forecasts = [], []
    with tempfile.TemporaryDirectory() as directory:
        for number in range(options.repeats):
            out = Path(directory) / str(number)
            runs.append(run_once(arguments, out))
            forecasts.append(forecast_once(out))
    run, expected = median(runs), median(forecasts)
    for name, found, due in (
        ("seconds", run.seconds, expected.seconds),
        ("bytes per party", run.n_bytes, expected.n_bytes),
    ):
        print(f"{name:16} run {found:14,.2f}  forecast {due:14,.2f}  ratio {due / found:.2f}")


if __name__ == "__main__":
    main()
