"""Who imports what: the contracts of pyproject.toml, and what they cannot say."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("aim_core", "distaim", "mpc", "parties")
NETWORK = {"asyncio", "socket", "ssl", "socketserver", "selectors", "http", "httpx", "uvicorn"}
FORBIDDEN = {
    "aim_core": {"mpyc", "starlette", *NETWORK},
    "distaim": set(),
    "mpc": set(),
    "parties": set(),
}
ONLY_IN = {
    "mpyc": "mpc/mpyc_engine/runtime.py",
    "mbi": "aim_core/models/mbi_bridge.py",
    "jax": "aim_core/models/mbi_bridge.py",
    "jaxlib": "aim_core/models/mbi_bridge.py",
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


def imported_roots(tree: ast.AST) -> Iterator[str]:
    """Yield the top-level package of every import, also of those made by a call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            called = node.func.id if isinstance(node.func, ast.Name) else called
            argument = node.args[0]
            if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
                continue
            if called in {"import_module", "import_optional", "__import__", "find_spec"}:
                yield argument.value.split(".")[0]


def violations(path: str, source: str) -> list[str]:
    """List what a file, named relative to the root, imports against the rules."""
    tree = ast.parse(source)
    package = path.split("/", maxsplit=1)[0]
    found = []
    for root in imported_roots(tree):
        misplaced = root in ONLY_IN and path != ONLY_IN[root]
        if misplaced or root in EVERYWHERE or root in FORBIDDEN.get(package, ()):
            found.append(root)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level > 0:
            found.append("relative import")
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            off = isinstance(node.value, ast.Constant) and node.value.value is False
            found += [] if off else ["allow_pickle"]
    return found


def test_no_file_imports_what_it_must_not() -> None:
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert {path.relative_to(ROOT).parts[0] for path in sources} == set(PACKAGES)
    found = {
        name: wrong
        for path in sources
        if (wrong := violations(name := path.relative_to(ROOT).as_posix(), path.read_text("utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("aim_core/x.py", "def f():\n    import asyncio"),
        ("aim_core/x.py", "import importlib\nimportlib.import_module('mpyc.runtime')"),
        ("aim_core/x.py", "import jax.numpy as jnp"),
        ("aim_core/x.py", "import_optional('mbi', 'mbi')"),
        ("aim_core/x.py", "from . import errors"),
        ("mpc/x.py", "import mpyc"),
        ("mpc/mpyc_engine/runtime.py", "import pickle"),
        ("parties/x.py", "import mbi"),
        ("parties/x.py", "from scripts import demo"),
        ("parties/x.py", "numpy.load(path, allow_pickle=True)"),
        ("aim_core/models/mbi_bridge.py", "__import__('socket')"),
    ],
)
def test_the_check_finds_violations(path: str, source: str) -> None:
    assert violations(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("mpc/mpyc_engine/runtime.py", "import mpyc.runtime"),
        ("aim_core/models/mbi_bridge.py", "import mbi, jax"),
        ("parties/x.py", "import asyncio\nfrom mpc.session import frames"),
        ("parties/x.py", "numpy.load(path, allow_pickle=False)"),
    ],
)
def test_the_check_allows_what_is_allowed(path: str, source: str) -> None:
    assert violations(path, source) == []


def test_the_contracts_of_the_rooms_hold() -> None:
    """Layers of each package; roles do not import each other; the auditor runs no party's code."""
    assert lint_imports(str(ROOT / "pyproject.toml"), cache_dir=None) == EXIT_STATUS_SUCCESS


def loaded_by(program: str, *names: str) -> list[str]:
    """Return which of some packages a program has loaded when it ends, in a fresh process."""
    program += f"\nimport sys\nprint(*sorted({set(names)!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.split("\n")[-2].split()


def test_the_mechanism_loads_neither_network_nor_jax() -> None:
    program = (
        "import aim_core.mechanisms.aim, aim_core.mechanisms.plaintext\n"
        "import aim_core.studies.errors_of_tables"
    )
    assert loaded_by(program, "mpc", "parties", "mpyc", "jax", "mbi", "sklearn") == []


def test_nothing_optional_is_loaded_before_it_is_asked_for() -> None:
    """All roles' modules, all commands and the comparison: extras are for who asks for them."""
    program = (
        "import parties.local.run, parties.party.process, parties.holder.submit\n"
        "import parties.estimator.job, parties.cli.app, parties.compare.bench"
    )
    assert loaded_by(program, "mbi", "jax", "sklearn", "networkx", "mpyc", "mkdocs") == []
