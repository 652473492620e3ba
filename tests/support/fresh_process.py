"""A program in a Python process of its own, with the project's code."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_program(
    program: str, folder: Path, *arguments: str, options: tuple[str, ...] = ("-W", "error")
) -> "subprocess.CompletedProcess[str]":
    """Run a program in a folder and return how it ended; by default warnings are errors in it."""
    return subprocess.run(
        [sys.executable, *options, "-c", program, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
