"""One small real run that several test modules look at, with the keys of its roles kept."""

import functools
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SCRIPT = """
import shutil, sys
from pathlib import Path
from parties.local_network import LocalNetwork
from parties.run import run
from parties.run_options import RunOptions

start, out, keys = LocalNetwork.run, Path(sys.argv[1]), Path(sys.argv[2])

def keep(network):
    shutil.copytree(network._work / "keys", keys)
    return start(network)

LocalNetwork.run = keep
run(RunOptions(out=out, rounds=2, seed=1, holders=3))
"""


@dataclass(frozen=True)
class FinishedRun:
    """A run's results, and its keys, which a run throws away."""

    out: Path
    keys: Path


@functools.cache
def finished_run() -> FinishedRun:
    """Make the run once per test session; nobody may change it."""
    folder = tempfile.TemporaryDirectory(prefix="distaim-test-")
    out, keys = Path(folder.name) / "out", Path(folder.name) / "keys"
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(out), str(keys)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    _KEPT.append(folder)
    return FinishedRun(out, keys)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []
