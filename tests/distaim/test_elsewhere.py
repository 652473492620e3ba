"""Where a system lacks what Linux has, the API, schemas, plaintext runs and samples still work."""

import subprocess
from pathlib import Path

from tests.support.fresh_process import run_program

WITHOUT = '''
"""Take away what Windows lacks, before anything else is imported."""

import os
import signal
import sys

MODULES = {"resource", "fcntl", "termios", "tty", "pty", "pwd", "grp", "syslog", "readline"}
ATTRIBUTES = (  # but for uname, which packages want where sys.platform says Linux
    "O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "fchmod", "fchown", "chown", "lchown",
    "sched_getaffinity", "sched_setaffinity", "getuid", "geteuid", "getgid", "getegid", "setsid",
    "killpg", "getpgid", "fork", "forkpty", "sysconf", "statvfs", "nice", "wait3", "mkfifo",
)
SIGNALS = (
    "SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD", "SIGPIPE", "pthread_kill",
)


class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


# of the standard library, which chooses its own parts by the system, take what it needs here
import asyncio, multiprocessing, platform, shutil, subprocess, tempfile, uuid

for name in MODULES:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Blocker())
for name in ATTRIBUTES:
    if hasattr(os, name):
        delattr(os, name)
for name in SIGNALS:
    if hasattr(signal, name):
        delattr(signal, name)
'''

IMPORTS = """
import importlib, pkgutil
import aim_core, distaim, mpc, parties, parties.cli.app

optional = ("mpc.mpyc_engine", "parties.__main__", "aim_core.models.mbi_bridge")
for package in (aim_core, distaim, mpc, parties):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.startswith(optional):
            importlib.import_module(module.name)
"""

WORK = """
import sys
from pathlib import Path
from typer.testing import CliRunner
import numpy
import distaim
from aim_core.studies.clinic import clinic_table
from parties.cli.app import app

folder = Path(sys.argv[1])
table = clinic_table(numpy.random.default_rng(0), 300)
schema = distaim.Schema.draft(table).reviewed()
distaim.run(table, schema, epsilon=1, rounds=1).model.save(folder / "model.npz")
table.to_csv(folder / "t.csv", index=False)
for words in (
    "--version",
    "schema t.csv --out s.toml",
    "run t.csv --schema s.toml --oracle plaintext --rounds 1 --out run",
    "sample run/model.npz --rows 5 --out some.parquet",
    "sample model.npz --rows 5 --where visits=0 --out none.json",
):
    done = CliRunner().invoke(app, words.split())
    assert done.exit_code == 0, (words, done.output, done.exception)
print("done")
"""


def run(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return run_program(WITHOUT + program, folder, str(folder), options=())


def test_every_module_can_be_imported(tmp_path: Path) -> None:
    done = run(IMPORTS, tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_plaintext_path_works(tmp_path: Path) -> None:
    done = run(WORK, tmp_path)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_the_modules_are_really_gone(tmp_path: Path) -> None:
    for program in ("import resource", "import os; os.fchmod", "from signal import SIGKILL"):
        assert run(program, tmp_path).returncode == 1
