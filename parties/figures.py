"""How the plots of reports look: one style, and SVG that fits a light or a dark page."""

import io
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.figure import Figure

GREY = "#808080"
_ON_WHITE = "#404040"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "distaim",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": GREY,
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.titlecolor": GREY,
    "axes.titlesize": 9.5,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GREY,
    "grid.alpha": 0.2,
    "legend.frameon": False,
    "lines.markersize": 5.5,
}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


@dataclass(frozen=True)
class Plot:
    """A drawn figure, and in words what it shows, for readers that do not see it."""

    figure: Figure
    alt: str


def plot_style() -> AbstractContextManager[None]:
    """Return the context that plots are drawn and written in."""
    return mpl.rc_context(_STYLE)


def inline_svg(plot: Plot, name: str) -> Markup:
    """Return a plot as inline SVG in the page's own text colour; its ids begin with `name`."""
    svg = _svg(plot, transparent=True).replace(GREY, "currentColor")
    for opening in ('id="', "url(#", 'href="#'):  # a page has many plots, and an id once
        svg = svg.replace(opening, f"{opening}{name}-")
    return Markup(svg[svg.index("<svg") :])  # noqa: S704 - matplotlib escapes the texts it draws


def svg_file(plot: Plot) -> str:
    """Return a plot as the text of an SVG file on white, legible wherever it is shown."""
    return _svg(plot, transparent=False).replace(GREY, _ON_WHITE)


def _svg(plot: Plot, transparent: bool) -> str:
    buffer = io.StringIO()
    plot.figure.savefig(buffer, format="svg", transparent=transparent, metadata=_NO_METADATA)
    return buffer.getvalue().replace("<svg", f'<svg role="img" aria-label="{escape(plot.alt)}"', 1)
