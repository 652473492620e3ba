"""One small real run that several test modules look at, with the keys of its roles kept."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SCRIPT = """
import shutil, sys
from pathlib import Path
from parties.local import run
from parties.local.options import RunOptions

start, out, keys = run.LocalNetwork.run, Path(sys.argv[1]), Path(sys.argv[2])

def keep(network):
    shutil.copytree(network._work / "keys", keys)
    return start(network)

run.LocalNetwork.run = keep
run.run(RunOptions(out=out, rounds=2, seed=1, holders=3))
"""


@dataclass(frozen=True)
class FinishedRun:
    """A run's results, and its keys, which a run throws away."""

    out: Path
    keys: Path


def make_finished_run(folder: Path) -> FinishedRun:
    """Run everything once on the demo table, with results and keys in `folder`."""
    out, keys = folder / "out", folder / "keys"
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(out), str(keys)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return FinishedRun(out, keys)
