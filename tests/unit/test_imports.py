"""The architecture's import rules, read from the sources."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("aim_core", "mpc", "parties")
NETWORK = {"asyncio", "socket", "ssl", "socketserver", "selectors", "http", "httpx", "uvicorn"}
FORBIDDEN = {
    "aim_core": {"mpc", "parties", "mpyc", "starlette", *NETWORK},
    "mpc": {"aim_core", "parties"},
    "parties": set(),
}
ONLY_IN = {
    "mpyc": "mpc/runtime.py",
    "mbi": "aim_core/mbi_bridge.py",
    "jax": "aim_core/mbi_bridge.py",
    "jaxlib": "aim_core/mbi_bridge.py",
}
EVERYWHERE = {
    "scripts",
    "tests",
    "pickle",
    "_pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "shelve",
    "marshal",
}


def imported_roots(tree):
    """Yield the top-level package of every import, also of those made by a call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Call) and node.args:
            called = (
                node.func.attr
                if isinstance(node.func, ast.Attribute)
                else getattr(node.func, "id", "")
            )
            argument = node.args[0]
            is_text = isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            if (
                called in {"import_module", "import_optional", "__import__", "find_spec"}
                and is_text
            ):
                yield argument.value.split(".")[0]


def violations(path, source):
    """List what a file, named relative to the root, imports against the rules."""
    tree = ast.parse(source)
    package = path.split("/")[0]
    found = []
    for root in imported_roots(tree):
        misplaced = root in ONLY_IN and path != ONLY_IN[root]
        if misplaced or root in EVERYWHERE or root in FORBIDDEN[package]:
            found.append(root)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level > 0:
            found.append("relative import")
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            off = isinstance(node.value, ast.Constant) and node.value.value is False
            found += [] if off else ["allow_pickle"]
    return found


def sources():
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_architecture(path):
    name = path.relative_to(ROOT).as_posix()
    assert violations(name, path.read_text(encoding="utf-8")) == []


def test_every_package_has_sources():
    assert {path.relative_to(ROOT).parts[0] for path in sources()} == set(PACKAGES)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("aim_core/x.py", "import mpc.sharing"),
        ("aim_core/x.py", "from parties import ledger"),
        ("aim_core/x.py", "def f():\n    import asyncio"),
        ("aim_core/x.py", "import importlib\nimportlib.import_module('mpyc.runtime')"),
        ("aim_core/x.py", "import jax.numpy as jnp"),
        ("aim_core/x.py", "from . import errors"),
        ("mpc/x.py", "from aim_core.domain import Domain"),
        ("mpc/x.py", "import mpyc"),
        ("mpc/runtime.py", "import pickle"),
        ("parties/x.py", "import mbi"),
        ("parties/x.py", "from scripts import demo"),
        ("parties/x.py", "numpy.load(path, allow_pickle=True)"),
        ("aim_core/mbi_bridge.py", "__import__('socket')"),
    ],
)
def test_the_check_finds_violations(path, source):
    assert violations(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("mpc/runtime.py", "import mpyc.runtime"),
        ("aim_core/mbi_bridge.py", "import mbi, jax"),
        ("parties/x.py", "import asyncio\nfrom mpc import wire\nfrom aim_core import aim"),
        ("parties/x.py", "numpy.load(path, allow_pickle=False)"),
    ],
)
def test_the_check_allows_what_is_allowed(path, source):
    assert violations(path, source) == []


def test_importing_the_mechanism_loads_neither_network_nor_jax():
    program = (
        "import sys, aim_core.aim, aim_core.plaintext, aim_core.evaluation\n"
        "print(*sorted({'mpc', 'parties', 'mpyc', 'jax', 'mbi'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not done.stdout.strip()
