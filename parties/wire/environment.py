"""Versions of the packages that a run uses, and what a fit's last digits depend on."""

import importlib.metadata
import platform
from collections.abc import Iterable

import numpy as np

_FITTING = {"numpy": ("distaim", "numpy"), "mbi": ("distaim", "numpy", "mbi", "jax")}
"""The packages that fits are made with, by the fitter's name."""


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python and of packages that are installed."""
    versions = {package: importlib.metadata.version(package) for package in packages}
    return {"python": platform.python_version(), **versions}


def fitting_packages(fitter_name: str) -> tuple[str, ...]:
    """Return the packages that a fitter makes its fits with."""
    return _FITTING[fitter_name]


def environment(fitter_name: str) -> dict[str, str]:
    """Return what a fit's last digits depend on besides its input: versions and the processor.

    Two environments that are equal give equal fits; others may differ in rounding.
    """
    simd = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    return {
        **versions_of(fitting_packages(fitter_name)),
        "processor": f"{platform.system()} {platform.machine()} {' '.join(simd)}",
    }
