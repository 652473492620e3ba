"""How the plots of `distaim compare` look: markers, units, where names stand."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.ticker import FuncFormatter

from parties.compare.rows import CENTRAL, METHODS
from parties.compare.statistics import Group
from parties.figures import GREY

# Okabe and Ito's colours, which colour-blind readers tell apart; each method has a marker too.
_COLOURS = dict(
    zip(
        METHODS,
        (GREY, "#0072B2", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#56B4E9"),
        strict=True,
    )
)
_MARKERS = dict(zip(METHODS, "Dos^vPX", strict=True))
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))


def human_bytes(n_bytes: float, spread: float = 0.0) -> str:
    """Return bytes in decimal units, three digits: 1.23 MB; with a spread 1.23 ± 0.05 MB."""
    size, unit = next(((s, u) for s, u in _UNITS if abs(n_bytes) >= s), _UNITS[-1])
    return _in_unit(n_bytes / size, spread / size, unit)


def human_seconds(seconds: float, spread: float = 0.0) -> str:
    """Return seconds, or minutes from 2 minutes on, as human_bytes does."""
    size, unit = (60.0, "min") if seconds >= 120 else (1.0, "s")
    return _in_unit(seconds / size, spread / size, unit)


def _in_unit(value: float, spread: float, unit: str) -> str:
    decimals = max(0, 2 - math.floor(math.log10(abs(value)))) if abs(value) >= 0.01 else 2
    if unit == "B" and spread == 0 and value == int(value):
        decimals = 0
    extra = f" ± {spread:,.{decimals}f}" if spread > 0 else ""
    return f"{value:,.{decimals}f}{extra} {unit}"


def unit_ticks(human: Callable[[float], str]) -> FuncFormatter:
    """Return a formatter of axis ticks in the given units, without needless digits."""
    return FuncFormatter(lambda value, _: human(value).replace(".00 ", " ").replace(".0 ", " "))


def spread_apart(heights: Sequence[float], gap: float) -> list[float]:
    """Move ascending heights as little as it takes to be `gap` apart: crowds around their mean."""
    crowds: list[list[float]] = []  # heights less the room that names below them in a crowd take
    for index, height in enumerate(heights):
        crowds.append([height - index * gap])
        while len(crowds) > 1 and math.fsum(crowds[-2]) / len(crowds[-2]) >= math.fsum(
            crowds[-1]
        ) / len(crowds[-1]):
            last = crowds.pop()
            crowds[-1] += last
    middles = [math.fsum(crowd) / len(crowd) for crowd in crowds for _ in crowd]
    return [middle + index * gap for index, middle in enumerate(middles)]


def colour_of(group: Group) -> str:
    """Return the colour of the group's method."""
    return _COLOURS[group.method]


def marker_of(group: Group) -> dict[str, Any]:
    """Return the colour and marker of the group's method: hollow if it is not private."""
    colour = _COLOURS[group.method]
    face = colour if group.is_private else "none"
    return {"color": colour, "marker": _MARKERS[group.method], "markerfacecolor": face}


def line_of(group: Group) -> tuple[int, tuple[float, ...]]:
    """Return the dashes of the group's method: DistAIM's line must not hide central AIM's."""
    if group.method == CENTRAL:
        return 0, (5, 2)
    return 0, () if group.is_private else (1, 1.5)
