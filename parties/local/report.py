"""The report: one self-contained HTML file with plots, for the owner of the table."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from aim_core.arrays import CodeTable, FloatArray
from aim_core.counts.marginals import project, smallest_superset
from aim_core.domain import Clique
from aim_core.studies.errors_of_tables import WorkloadErrors
from parties.estimator.run import Outcome
from parties.figures import Plot, inline_svg, plot_style
from parties.files import write_whole
from parties.local.prepare import Prepared
from parties.wire.messages import FinishAnswer
from parties.wire.run_facts import MechanismFacts, RunFacts

REAL, SYNTHETIC, SELECT = "#4a6fa5", "#e07a3f", "#7a9e57"
_MAX_BARS = 40
_N_WORST = 15


def write_report(
    path: Path,
    prepared: Prepared,
    outcome: Outcome,
    errors: WorkloadErrors,
    facts: RunFacts,
) -> None:
    """Write the report; it compares with the real table, so it is not private and says so."""
    with plot_style():
        plots = {
            "one_way_plot": _one_way_plot(prepared, outcome.codes),
            "error_plot": _error_plot(list(errors.tv.values())),
            "budget_plot": _budget_plot(outcome.facts, facts.rho_budget),
        }
        if outcome.parties:
            plots["cost_plot"] = _cost_plot(outcome.parties)
        drawings = {name: inline_svg(plot, name) for name, plot in plots.items()}
    environment = Environment(
        loader=PackageLoader("parties"), autoescape=select_autoescape(default=True)
    )
    html = environment.get_template("report.html.j2").render(
        facts=facts,
        rounds=outcome.facts.rounds,
        worst=_worst(errors),
        parties=outcome.parties,
        noise_widening=math.sqrt(facts.noise_variance_factor),
        select_widening=prepared.noise.select_scale,
        **drawings,
    )
    write_whole(path, html)


def _worst(errors: WorkloadErrors) -> list[tuple[Clique, float]]:
    return sorted(errors.tv.items(), key=lambda item: -item[1])[:_N_WORST]


def _one_way_plot(prepared: Prepared, codes: CodeTable) -> Plot:
    domain = prepared.inputs.domain
    covered = [name for name in domain.attributes if any(name in c for c in prepared.real)]
    n_columns = min(3, len(covered))
    n_rows = math.ceil(len(covered) / n_columns)
    figure = Figure(figsize=(3.3 * n_columns, 1.9 * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for index, name in enumerate(covered):
        source = smallest_superset((name,), prepared.real, domain)
        real = project(prepared.real[source], domain, source, (name,))
        column = codes[:, domain.position(name)]
        synthetic = np.bincount(column, minlength=domain.size_of(name))
        _one_way(axes[index], name, real / real.sum(), synthetic / synthetic.sum())
    for spare in axes[len(covered) :]:
        spare.set_axis_off()
    axes[0].legend(fontsize=8)
    return Plot(figure, "Proportion of each code per attribute, real table against synthetic table")


def _one_way(axes: Axes, name: str, real: FloatArray, synthetic: FloatArray) -> None:
    positions = np.arange(len(real))
    if len(real) <= _MAX_BARS:
        axes.bar(positions - 0.2, real, 0.4, color=REAL, label="real")
        axes.bar(positions + 0.2, synthetic, 0.4, color=SYNTHETIC, label="synthetic")
    else:
        axes.step(positions, real, where="mid", color=REAL, lw=1.2, label="real")
        axes.step(positions, synthetic, where="mid", color=SYNTHETIC, lw=1.0, label="synthetic")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(0)
    axes.set_title(name, fontsize=9)


def _error_plot(values: Sequence[float]) -> Plot:
    figure = Figure(figsize=(9.5, 2.4), layout="constrained")
    axes = figure.subplots()
    ordered = np.sort(np.asarray(values))[::-1]
    axes.fill_between(np.arange(len(ordered)), ordered, step="mid", color=REAL, alpha=0.7)
    axes.axhline(float(ordered.mean()), color=SYNTHETIC, lw=1.2)
    axes.annotate(
        f"mean {ordered.mean():.4f}", (len(ordered) * 0.98, ordered.mean()), ha="right", va="bottom"
    )
    axes.set_xlabel("workload cliques, worst first")
    axes.set_ylabel("total variation")
    axes.set_ylim(0)
    axes.margins(x=0.01)
    return Plot(figure, "Total variation distance per workload clique, sorted")


def _budget_plot(facts: MechanismFacts, budget: float) -> Plot:
    figure = Figure(figsize=(9.5, 2.4), layout="constrained")
    axes = figure.subplots()
    spent = np.array([facts.rho_initial, *(entry.rho_spent for entry in facts.rounds)])
    selecting = np.array([0.0, *(entry.selection_epsilon**2 / 8 for entry in facts.rounds)])
    per_round = np.diff(spent, prepend=0.0)
    positions = np.arange(len(spent))
    axes.bar(positions, per_round - selecting, color=REAL, label="measuring")
    axes.bar(positions, selecting, bottom=per_round - selecting, color=SELECT, label="selecting")
    axes.set_xlabel("round (0: all one-way marginals)")
    axes.set_ylabel("rho")
    total = axes.twinx()
    total.plot(positions, spent / budget * 100, color=SYNTHETIC, lw=1.2)
    total.set_ylabel("% of budget spent", color=SYNTHETIC)
    total.set_ylim(0, 105)
    axes.legend(loc="upper center", fontsize=8)
    return Plot(figure, "Privacy budget spent per round and in all")


def _cost_plot(parties: Sequence[FinishAnswer]) -> Plot:
    """Draw bytes and seconds per step and party."""
    steps = list(parties[0].steps)
    figure = Figure(figsize=(9.5, 2.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    width = 0.8 / len(parties)
    shades = [REAL, SYNTHETIC, SELECT, "#9b6fb0", "#c9a227", "#5aa9a9", "#b05c6b"]
    for index, (party, shade) in enumerate(zip(parties, shades, strict=False)):
        offsets = np.arange(len(steps)) + index * width
        costs = [party.steps[step] for step in steps]
        megabytes = [cost.bytes_sent / 1e6 for cost in costs]
        left.bar(offsets, megabytes, width, color=shade, label=f"party {party.party}")
        right.bar(offsets, [cost.seconds for cost in costs], width, color=shade)
    for axes, title in ((left, "megabytes sent"), (right, "seconds")):
        axes.set_title(title, fontsize=9)
        axes.set_xticks(np.arange(len(steps)) + 0.4 - width / 2, steps, rotation=20)
    left.legend(fontsize=8)
    return Plot(figure, "Bytes sent and seconds per step and party")
