"""What all tests share: Hypothesis without deadlines, a consortium's keys, one finished run."""

from pathlib import Path

import pytest
from hypothesis import settings

from aim_core.studies.clinic import write_clinic
from tests.support.party_world import World
from tests.support.processes.finished_run import FinishedRun, make_finished_run

# These machines are shared, so the time that an example takes says nothing.
settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Return the keys and the manifest of a small consortium."""
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Return one small real run, with its keys kept; nobody may change it."""
    return make_finished_run(tmp_path_factory.mktemp("finished-run"))


@pytest.fixture(scope="session")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the demo table and its schema; nobody may change them."""
    return write_clinic(tmp_path_factory.mktemp("clinic"))
