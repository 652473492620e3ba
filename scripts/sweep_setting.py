"""Run `distaim compare` for several values of one setting and plot the error against it.

    python scripts/sweep_setting.py TABLE SCHEMA --over participation --values 0.1,0.3,1 --out DIR

`--over` is participation, rounds, split (values such as dirichlet:0.1) or holders. Everything else
is fixed by the other options. Each value has its folder, so an interrupted sweep goes on. Writes
sweep.csv (a row per run, the value first) and sweep.svg. DistAIM's utility is the plaintext
oracle's, so nothing runs over MPC but one run per value, for its bytes, if distaim is named.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

from matplotlib.figure import Figure

from parties.compare.drawing import line_of, marker_of
from parties.compare.rows import METHODS, NOT_PRIVATE, Row
from parties.compare.statistics import summarise
from parties.figures import Plot, plot_style, svg_file

AXES = {
    "participation": "participation per round",
    "rounds": "rounds",
    "split": "split",
    "holders": "holders",
}


def run_value(options: argparse.Namespace, value: str) -> list[Row]:
    """Run the comparison for one value; return its rows."""
    out = options.out / value.replace(":", "-").replace("/", "-")
    fixed = {
        "methods": options.methods,
        "holders": options.holders,
        "participation": options.participation,
        "rounds": options.rounds,
        "split": options.split,
        "epsilon": options.epsilon,
        "seeds": options.seeds,
        "workload": options.workload,
        options.over: value,
    }
    command = [sys.executable, "-m", "parties", "compare", str(options.table)]
    command += ["--schema", str(options.schema), "--plaintext-utility", "--out", str(out)]
    for name, setting in fixed.items():
        command += [f"--{name}", str(setting)]
    subprocess.run(command, check=True)
    found = json.loads((out / "compare.json").read_text("utf-8"))["rows"]
    return [Row.model_validate(row) for row in found]


def draw(options: argparse.Namespace, swept: dict[str, list[Row]]) -> None:
    """Plot one line per method, means with 95 % confidence intervals over the seeds."""
    with plot_style():
        figure = Figure(figsize=(7.2, 4.0), layout="constrained")
        axes = figure.subplots()
        groups = {value: summarise(rows) for value, rows in swept.items()}
        for method in METHODS:
            known = [
                (position, group, group.metrics["error_l1"])
                for position, found in enumerate(groups.values())
                for group in found
                if group.method == method
            ]
            if not known:
                continue
            first = known[0][1]
            axes.errorbar(
                [position for position, _, _ in known],
                [mean.mean for _, _, mean in known if mean],
                [mean.half_width for _, _, mean in known if mean],
                capsize=2,
                linestyle=line_of(first),
                label=method if first.is_private else f"{method} ({NOT_PRIVATE})",
                **marker_of(first),
            )
        axes.set_xticks(range(len(swept)), list(swept))
        axes.set_xlabel(AXES[options.over])
        axes.set_ylabel("mean L1 error over the workload (0 to 2)")
        axes.grid(axis="y")
        figure.legend(loc="outside right center")
        alt = f"Error against {AXES[options.over]}, epsilon {options.epsilon}, one line per method."
        (options.out / "sweep.svg").write_text(svg_file(Plot(figure, alt)), "utf-8")


def write_csv(options: argparse.Namespace, swept: dict[str, list[Row]]) -> None:
    """Write a row per run, the swept value first."""
    with (options.out / "sweep.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [f"swept_{options.over}", *Row.model_fields])
        writer.writeheader()
        for value, rows in swept.items():
            for row in rows:
                writer.writerow({f"swept_{options.over}": value, **row.model_dump()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("schema", type=Path)
    parser.add_argument("--over", choices=AXES, required=True)
    parser.add_argument("--values", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", default="central,flaim,augflaim-private,oneway")
    parser.add_argument("--holders", default="100")
    parser.add_argument("--participation", default="0.1")
    parser.add_argument("--rounds", default="10")
    parser.add_argument("--split", default="cluster")
    parser.add_argument("--epsilon", default="3")
    parser.add_argument("--seeds", default="5")
    parser.add_argument("--workload", default="random:64:123")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    swept = {value: run_value(options, value) for value in options.values.split(",")}
    write_csv(options, swept)
    draw(options, swept)
    print(f"{options.out / 'sweep.csv'}, {options.out / 'sweep.svg'}")


if __name__ == "__main__":
    main()
