"""A file that somebody relies on is old or new, never in between."""

import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from parties.files import write_whole

OLD, NEW = "the old text", "the new text " * 1000

DIES_AT = """
import os, signal, sys
from pathlib import Path
from parties import files

def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "rename":
    Path.replace = die
else:
    files.sync_folder = die
files.write_whole(Path(sys.argv[1]), sys.stdin.read())
"""

SMALL_FILES_ONLY = """
import resource, sys
from pathlib import Path
from parties.files import write_whole

resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    write_whole(Path(sys.argv[1]), sys.stdin.read())
except OSError as error:
    sys.exit(3)
"""


def run(program: str, *arguments: str) -> int:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, input=NEW, text=True, check=False, timeout=60).returncode


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "facts.json"
    path.write_text(OLD)
    return path


@pytest.mark.parametrize(("moment", "text"), [("rename", OLD), ("the folder's sync", NEW)])
def test_a_crash_leaves_the_old_file_or_the_new_one(path: Path, moment: str, text: str) -> None:
    assert run(DIES_AT, str(path), moment) == -signal.SIGKILL
    assert path.read_text() == text


def test_a_full_disk_leaves_the_old_file_and_nothing_else(path: Path) -> None:
    assert run(SMALL_FILES_ONLY, str(path)) == 3
    assert path.read_text() == OLD
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_whole(path, NEW)
    write_whole(path, b"\xff\x00")
    assert path.read_bytes() == b"\xff\x00"
    assert list(tmp_path.iterdir()) == [path]


def test_a_secret_file_is_never_readable_by_others(path: Path) -> None:
    path.chmod(0o644)
    write_whole(path, NEW, 0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_private_file_stays_private(path: Path) -> None:
    path.chmod(0o600)
    write_whole(path, NEW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "none" / "x", NEW)
