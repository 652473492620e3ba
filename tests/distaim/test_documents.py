"""What the documents show of the Python API runs as it stands there."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.fresh_process import ROOT, run_program

NOTEBOOK = ROOT / "docs" / "python.ipynb"


def run(program: str, folder: Path) -> None:
    """Run a program in a process of its own; warnings are errors."""
    done = run_program(program, folder)
    assert done.returncode == 0, done.stderr


def code_cells() -> list[dict[str, Any]]:
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_the_notebook_runs(tmp_path: Path) -> None:
    cells = ["".join(cell["source"]) for cell in code_cells()]
    assert len(cells) > 5
    run("\n".join(cells), tmp_path)


def test_the_notebook_has_no_outputs() -> None:
    assert all(cell["outputs"] == [] for cell in code_cells())
    assert all(cell["execution_count"] is None for cell in code_cells())


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_the_lines_of_a_page_run(page: str, tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    generator = np.random.default_rng(1)
    patients = {
        "age": generator.integers(18, 90, 400),
        "sex": generator.choice(["f", "m"], 400),
        "visits": generator.integers(0, 9, 400),
    }
    pd.DataFrame(patients).to_csv(tmp_path / "patients.csv", index=False)
    run(block + "\nassert len(older) == 500 and (older.age >= 60).all()", tmp_path)
    assert list(pd.read_csv(tmp_path / "synthetic.csv")) == list(patients)
