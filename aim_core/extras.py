"""Packages that the default install lacks: imported when first needed, by name, with advice."""

import importlib
from types import ModuleType

from aim_core.errors import MissingExtra


def import_optional(module: str, extra: str) -> ModuleType:
    """Import a module of an optional dependency.

    Raises MissingExtra, which names the extra to install, where its package is not there.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise  # the package is there, and lacks one of its own
        raise MissingExtra(
            f"this needs {package}, which is not installed; run: pip install 'distaim[{extra}]'"
        ) from error
