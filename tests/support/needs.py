"""What some tests need of the machine.

Without it they are skipped, and the reason says what to install or to do.
"""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def need(is_there: object, what_to_do: str) -> pytest.MarkDecorator:
    """Return a mark that skips a test where something is missing."""
    return pytest.mark.skipif(not is_there, reason=what_to_do)


def skip(what_to_do: str, error: object = None) -> NoReturn:
    """Skip the test that runs, as something turned out to be missing."""
    pytest.skip(what_to_do if error is None else f"{what_to_do} ({error})")


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = need(CHROMIUM, "install Chromium (Debian: apt install chromium)")

needs_root = need(os.geteuid() == 0, "run the tests as root: they make network namespaces")
needs_iproute2 = need(shutil.which("ip"), "install iproute2 (Debian: apt install iproute2)")


def libfaketime() -> Path:
    """Return the library that gives a process another clock."""
    found = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    return found or skip("install libfaketime (Debian: apt install faketime)")
