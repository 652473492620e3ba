"""Public tables that are no part of the repository: tests of them are left out where they lack."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("DISTAIM_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def public_file(name: str) -> Path:
    """Return the path of adult.csv, magic.csv and so on; skip the test if it is not there."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not in {DATA}; set DISTAIM_DATA to the folder that has it")
    return path
