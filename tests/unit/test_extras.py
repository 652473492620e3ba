"""What a lean install says about the packages that it lacks, and what it loads."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from aim_core.errors import AimError, MissingExtra
from aim_core.extras import import_optional

OPTIONAL = "{'jax', 'mbi', 'sklearn', 'networkx', 'mpyc'} & set(sys.modules)"


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


@pytest.mark.parametrize("module", ["parties.cli", "parties.run", "parties.compare_bench"])
def test_nothing_optional_is_loaded_before_it_is_asked_for(module: str) -> None:
    program = f"import sys, {module}; print(*sorted({OPTIONAL}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not done.stdout.strip()
