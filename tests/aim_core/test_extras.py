"""What a lean install says about the packages that it lacks."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from aim_core.errors import AimError, MissingExtra
from aim_core.extras import import_optional


def test_a_missing_package_is_answered_with_the_extra_to_install() -> None:
    with pytest.raises(MissingExtra, match=r"needs quantum, .* pip install 'distaim\[mbi\]'"):
        import_optional("quantum.annealing", "mbi")
    assert issubclass(MissingExtra, AimError)


def test_a_package_that_is_there_is_returned() -> None:
    assert isinstance(import_optional("json.decoder", "mbi"), ModuleType)


def test_a_package_that_lacks_one_of_its_own_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_there.py").write_text("import nobody")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="nobody"):
        import_optional("half_there", "mbi")


ROWS = "import numpy as np; rows = np.eye(2, dtype=int); domain = Domain(('a', 'b'), (2, 2)); "
DOMAIN = "from aim_core.domain import Domain; "
REFERENCE = "from aim_core.models.fitters import make_fitter; make_fitter('mbi')"
CLUSTERS = "from aim_core.studies.splits import assign; assign([rows], domain, 2, 'cluster', 0)"
SCORE = "from aim_core.studies.classifier import auc; auc(rows, rows, domain, 'a')"


@pytest.mark.parametrize(
    ("program", "extra"),
    [
        (REFERENCE, "mbi"),
        (DOMAIN + ROWS + CLUSTERS, "compare"),
        (DOMAIN + ROWS + SCORE, "compare"),
    ],
)
def test_what_an_extra_brings_is_asked_for_by_name(program: str, extra: str) -> None:
    lean = "import sys; sys.modules.update({'jax': None, 'mbi': None, 'sklearn': None}); "
    done = subprocess.run(
        [sys.executable, "-c", lean + program], capture_output=True, text=True, check=False
    )
    assert "MissingExtra: this needs" in done.stderr
    assert f"pip install 'distaim[{extra}]'" in done.stderr
