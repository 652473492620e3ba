"""Means and confidence intervals over the seeds of `distaim compare`, and names of its methods."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from scipy import stats

from aim_core.mechanisms.flaim_terms import Variant
from parties.compare.rows import CENTRAL, DISTAIM, METHODS, NOT_PRIVATE, Row

CONFIDENCE = 0.95
RATIOS = ("error_l1", "error_other_l1")
DIFFERENCES = (*RATIOS, "nll", "auc")
BYTES = ("bytes_up", "max_bytes_up", "bytes_down", "bytes_servers")
METRICS = (
    *DIFFERENCES,
    *BYTES,
    "rounds",
    "sigma",
    "rho",
    "rho_spent",
    "model_total",
    "heterogeneity_tv",
    "seconds",
)

NAMES = {
    CENTRAL: "central AIM",
    DISTAIM: "DistAIM",
    Variant.NAIVE.value: "FLAIM (naive)",
    Variant.ORACLE.value: "AugFLAIM (Oracle)",
    Variant.PRIVATE.value: "AugFLAIM (Private)",
    Variant.RANDOM.value: "FLAIM (Random)",
    Variant.ONEWAY.value: "one-way only",
}
"""How people read the methods' names."""

ONE_RUN, PLAINTEXT = "†", "‡"
"""Signs after a name: bytes of one real run stand for all seeds; utility is the plaintext
oracle's, not that of a run over MPC."""


@dataclass(frozen=True)
class Mean:
    """A mean over `n` runs, with its 95 % interval; no interval where the runs do not give one."""

    n: int
    mean: float
    interval: tuple[float, float] | None

    @property
    def half_width(self) -> float:
        """Half of an interval that is symmetric around its mean; 0 without an interval."""
        return self.interval[1] - self.mean if self.interval else 0.0


@dataclass(frozen=True)
class Group:
    """All seeds of one method at one epsilon, in the order of their seeds.

    `ratios` and `differences` are to central AIM on the same seeds, empty for central AIM itself
    and where it was not run. What no run knows (an AUC without a target) is None.
    """

    method: str
    epsilon: str
    rows: tuple[Row, ...]
    metrics: dict[str, Mean | None]
    ratios: dict[str, Mean | None]
    differences: dict[str, Mean | None]

    @property
    def has_bytes(self) -> bool:
        """Whether the method sends anything: central AIM does not."""
        return any(row.communication != "none" for row in self.rows)

    @property
    def is_private(self) -> bool:
        """Whether the method is differentially private."""
        return all(row.is_private for row in self.rows)

    @property
    def epsilon_value(self) -> float:
        """Epsilon as a number, for axes and tables of numbers."""
        return float(Fraction(self.epsilon))

    def as_json(self) -> dict[str, Any]:
        """Return what compare.json says of the group, in plain values."""
        return {
            "method": self.method,
            "epsilon": self.epsilon,
            "is_private": self.is_private,
            "n": len(self.rows),
            "n_real_mpc": sum(row.is_real_mpc for row in self.rows),
            "n_bytes_of_one_real_run": sum(_is_copied(row) for row in self.rows),
            "metrics": {name: value and asdict(value) for name, value in self.metrics.items()},
            "ratio_to_central": {name: m and asdict(m) for name, m in self.ratios.items()},
            "difference_to_central": {n: m and asdict(m) for n, m in self.differences.items()},
        }


def sort_key(row: Row) -> tuple[int, Fraction, int]:
    """Order rows by method as METHODS does, then by epsilon as a number, then by seed."""
    return METHODS.index(row.method), Fraction(row.epsilon), row.seed


def summarise(rows: Sequence[Row]) -> list[Group]:
    """Group rows by method and epsilon, in the order of `sort_key`, and average each group."""
    gathered: dict[tuple[str, Fraction], list[Row]] = {}
    for row in sorted(rows, key=sort_key):
        gathered.setdefault((row.method, Fraction(row.epsilon)), []).append(row)
    return [
        _group(method, members, gathered.get((CENTRAL, epsilon), []))
        for (method, epsilon), members in gathered.items()
    ]


def mean_of(values: Sequence[float], has_interval: bool = True) -> Mean | None:
    """Average values of independent runs; the interval is Student's t with n - 1 degrees.

    None for no values; a single value has no interval.
    """
    n = len(values)
    if n == 0:
        return None
    mean = math.fsum(values) / n
    if n == 1 or not has_interval:
        return Mean(n, mean, None)
    low, high = stats.t.interval(CONFIDENCE, n - 1)
    error = stats.sem(values)
    return Mean(n, mean, (float(mean + low * error), float(mean + high * error)))


def _group(method: str, rows: Sequence[Row], central: Sequence[Row]) -> Group:
    # Bytes copied from one run are one observation: their spread over the seeds says nothing.
    copied = any(_is_copied(row) for row in rows)
    metrics = {
        name: mean_of(_known(rows, name), has_interval=not (copied and name in BYTES))
        for name in METRICS
    }
    if method == CENTRAL or not central:
        return Group(method, rows[0].epsilon, tuple(rows), metrics, {}, {})
    return Group(
        method,
        rows[0].epsilon,
        tuple(rows),
        metrics,
        {name: _ratio(_pairs(rows, central, name)) for name in RATIOS},
        {name: mean_of([a - b for a, b in _pairs(rows, central, name)]) for name in DIFFERENCES},
    )


def _is_copied(row: Row) -> bool:
    return row.communication == "one real run"


def _known(rows: Sequence[Row], name: str) -> list[float]:
    return [float(value) for row in rows if (value := getattr(row, name)) is not None]


def _pairs(rows: Sequence[Row], central: Sequence[Row], name: str) -> list[tuple[float, float]]:
    """Return a method's and central AIM's value on every seed that has both."""
    yardstick = {row.seed: getattr(row, name) for row in central}
    both = [(getattr(row, name), yardstick.get(row.seed)) for row in rows]
    return [(a, b) for a, b in both if a is not None and b is not None]


def _ratio(pairs: Sequence[tuple[float, float]]) -> Mean | None:
    """Average ratios on the log scale, so that a/b and b/a tell the same story.

    None if an error is 0: then there is no ratio to speak of.
    """
    if any(a <= 0 or b <= 0 for a, b in pairs):
        return None
    logs = mean_of([math.log(a / b) for a, b in pairs])
    if logs is None:
        return None
    interval = logs.interval and (math.exp(logs.interval[0]), math.exp(logs.interval[1]))
    return Mean(logs.n, math.exp(logs.mean), interval)


def label_rows(rows: Sequence[Row]) -> dict[str, str]:
    """Return how each method is printed: its name, "not private" if it is not, and signs."""
    labels = {}
    for method in METHODS:
        own = [row for row in rows if row.method == method]
        if not own:
            continue
        signs = ONE_RUN if any(_is_copied(row) for row in own) else ""
        if method == DISTAIM and not all(row.is_real_mpc for row in own):
            signs += PLAINTEXT
        mark = "" if all(row.is_private for row in own) else f" ({NOT_PRIVATE})"
        labels[method] = f"{NAMES[method]}{mark}{' ' + signs if signs else ''}"
    return labels


def text_marker(rows: Sequence[Row]) -> Callable[[str], str]:
    """Return a function that adds "not private" to names of such methods in any text."""
    exposed = {row.method for row in rows if not row.is_private}
    exposed |= {variant.value for variant in Variant if not variant.is_private}
    names = sorted(exposed | {NAMES[method] for method in exposed})
    unmarked = re.compile(rf"({'|'.join(map(re.escape, names))})(?! \({NOT_PRIVATE}\))")
    return lambda text: unmarked.sub(rf"\1 ({NOT_PRIVATE})", text)
