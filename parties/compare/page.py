"""The files that `distaim compare` writes: compare.csv, compare.json and compare.html."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from parties.compare.drawing import (
    human_bytes,
    human_seconds,
)
from parties.compare.plots import draw_plots
from parties.compare.rows import METHODS, Facts, Row
from parties.compare.statistics import (
    ONE_RUN,
    PLAINTEXT,
    Group,
    Mean,
    label_rows,
    sort_key,
    summarise,
    text_marker,
)
from parties.figures import inline_svg, plot_style, svg_file
from parties.files import write_whole

_NOTHING = "–"
_FILES = ("error-epsilon", "error-bytes", "nll-epsilon", "auc-epsilon")
_TILES = {
    "holders": "data holders",
    "participation": "participation per round",
    "rounds": "rounds",
    "split": "split of the records",
    "workload": "workload",
    "delta": "delta",
}


@dataclass(frozen=True)
class Table:
    """A table as printed: each line is the method's label and its cells, one per column."""

    columns: tuple[str, ...]
    lines: tuple[tuple[str, tuple[str, ...]], ...]


def write_reports(out: Path, facts: Facts, rows: Sequence[Row]) -> None:
    """Write compare.csv, compare.json and compare.html into the folder `out`.

    The same facts and rows, in any order, give the same bytes. Raises ValueError for no rows.
    """
    if not rows:
        raise ValueError("there is nothing to compare: no run has finished")
    ordered = sorted(rows, key=sort_key)
    groups = summarise(ordered)
    write_whole(out / "compare.csv", _csv_text(ordered))
    content = {
        "facts": facts.model_dump(mode="json"),
        "rows": [row.model_dump(mode="json") for row in ordered],
        "summary": [group.as_json() for group in groups],
    }
    write_whole(out / "compare.json", json.dumps(content, indent=1, allow_nan=False))
    write_whole(out / "compare.html", _page(facts, ordered, groups))


def write_plots(folder: Path, facts: Facts, rows: Sequence[Row], prefix: str) -> None:
    """Write PREFIX-error-epsilon.svg, -error-bytes, -nll-epsilon and -auc-epsilon into `folder`.

    Plots that no row has numbers for (no target, nothing sent) are left out.
    """
    with plot_style():
        plots = draw_plots(facts, summarise(rows), label_rows(rows))
        for name in _FILES:
            if name in plots:
                (folder / f"{prefix}-{name}.svg").write_text(svg_file(plots[name]), "utf-8")


def _csv_text(rows: Sequence[Row]) -> str:
    """Return a line per run; what is unknown is empty, epsilon is a number."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(Row.model_fields), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(row.model_dump() | {"epsilon": float(Fraction(row.epsilon))})
    return buffer.getvalue()


def _page(facts: Facts, rows: Sequence[Row], groups: Sequence[Group]) -> str:
    labels = label_rows(rows)
    with plot_style():
        plots = draw_plots(facts, groups, labels)
        drawings = {name: inline_svg(plot, name) for name, plot in plots.items()}
    marked = text_marker(rows)
    environment = Environment(
        loader=PackageLoader("parties"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
    )
    return environment.get_template("compare.html.j2").render(
        facts=facts,
        tiles=_tiles(facts.settings),
        settings={_words(name): marked(_text(v)) for name, v in facts.settings.items()},
        remarks=[marked(remark) for remark in facts.remarks],
        words=_words,
        methods=[
            (labels[method], marked(method), method) for method in METHODS if method in labels
        ],
        seeds=sorted({row.seed for row in rows}),
        n_rows=len(rows),
        has_copied_bytes=any(ONE_RUN in label for label in labels.values()),
        has_plaintext=any(PLAINTEXT in label for label in labels.values()),
        plots=drawings,
        tables=_tables(groups, labels),
    )


def _tables(groups: Sequence[Group], labels: Mapping[str, str]) -> dict[str, Table | None]:
    """Return every table of the page by name; None where no group has a number for it."""
    return {
        "error": _by_epsilon(groups, labels, lambda g: _number(g.metrics["error_l1"])),
        "error_other": _by_epsilon(groups, labels, lambda g: _number(g.metrics["error_other_l1"])),
        "ratio": _by_epsilon(groups, labels, lambda g: _ratio(g.ratios.get("error_l1"))),
        "ratio_other": _by_epsilon(
            groups, labels, lambda g: _ratio(g.ratios.get("error_other_l1"))
        ),
        "nll": _by_epsilon(groups, labels, lambda g: _number(g.metrics["nll"])),
        "nll_difference": _by_epsilon(
            groups, labels, lambda g: _number(g.differences.get("nll"), "+")
        ),
        "auc": _by_epsilon(groups, labels, lambda g: _number(g.metrics["auc"])),
        "auc_difference": _by_epsilon(
            groups, labels, lambda g: _number(g.differences.get("auc"), "+")
        ),
        "time": _by_epsilon(groups, labels, lambda g: _human(g, "seconds", human_seconds)),
        "bytes": _bytes_table(groups, labels),
        "runs": _runs_table(groups, labels),
    }


def _by_epsilon(
    groups: Sequence[Group], labels: Mapping[str, str], cell: Callable[[Group], str]
) -> Table | None:
    """Return a line per method, a column per epsilon; methods without any number are left out."""
    cells = {(group.method, group.epsilon_value): cell(group) for group in groups}
    epsilons = dict(sorted((group.epsilon_value, group.epsilon) for group in groups))
    lines = [
        (label, tuple(cells.get((method, epsilon), _NOTHING) for epsilon in epsilons))
        for method, label in labels.items()
    ]
    kept = tuple(line for line in lines if any(text != _NOTHING for text in line[1]))
    return Table(tuple(f"ε = {text}" for text in epsilons.values()), kept) if kept else None


def _bytes_table(groups: Sequence[Group], labels: Mapping[str, str]) -> Table | None:
    metrics = {
        "bytes_up": "up, per holder",
        "max_bytes_up": "up, busiest holder",
        "bytes_down": "down, per holder",
        "bytes_servers": "between compute parties",
    }
    lines = tuple(
        (
            labels[group.method],
            (group.epsilon, *(_human(group, name, human_bytes) for name in metrics)),
        )
        for group in groups
        if group.has_bytes
    )
    return Table(("ε", *metrics.values()), lines) if lines else None


def _runs_table(groups: Sequence[Group], labels: Mapping[str, str]) -> Table:
    columns = ("ε", "runs", "rounds", "σ, first", "ρ", "ρ spent", "total of the model", "TV")
    lines = tuple(
        (
            labels[group.method],
            (
                group.epsilon,
                str(len(group.rows)),
                _plain(group.metrics["rounds"]),
                _plain(group.metrics["sigma"]),
                _plain(group.metrics["rho"]),
                _plain(group.metrics["rho_spent"]),
                _number(group.metrics["model_total"], decimals=0),
                _number(group.metrics["heterogeneity_tv"]),
            ),
        )
        for group in groups
    )
    return Table(columns, lines)


def _number(mean: Mean | None, sign: str = "", decimals: int = 4) -> str:
    if mean is None:
        return _NOTHING
    text = f"{mean.mean:{sign},.{decimals}f}".replace("-", "−")
    return f"{text} ± {mean.half_width:,.{decimals}f}" if mean.half_width > 0 else text


def _plain(mean: Mean | None) -> str:
    return f"{mean.mean:.5g}" if mean else _NOTHING


def _ratio(mean: Mean | None) -> str:
    if mean is None:
        return _NOTHING
    between = f" ({mean.interval[0]:.3f} to {mean.interval[1]:.3f})" if mean.interval else ""
    return f"{mean.mean:.3f}{between}"


def _human(group: Group, metric: str, human: Callable[[float, float], str]) -> str:
    mean = group.metrics[metric]
    return human(mean.mean, mean.half_width) if mean else _NOTHING


def _tiles(settings: Mapping[str, Any]) -> dict[str, str]:
    return {word: _text(settings[key]) for key, word in _TILES.items() if key in settings}


def _text(value: Any) -> str:
    if value is None:
        return _NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")
