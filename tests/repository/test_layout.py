"""The house stays small: files, folders, and what each room says of itself."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("aim_core", "distaim", "mpc", "parties")
MOST_LINES = 400
MOST_FILES = 14
MOST_LINES_OF_A_FUNCTION = 40


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_no_module_is_longer_than_400_lines() -> None:
    lengths = {name(path): path.read_text("utf-8").count("\n") for path in sources(*PACKAGES)}
    assert {path: n for path, n in lengths.items() if n > MOST_LINES} == {}


def test_no_folder_of_code_has_more_than_14_files() -> None:
    folders: dict[str, int] = {}
    for path in sources(*PACKAGES, "scripts", "tests"):
        folders[name(path.parent)] = folders.get(name(path.parent), 0) + 1
    assert {folder: n for folder, n in folders.items() if n > MOST_FILES} == {}


def test_every_room_says_what_lives_there() -> None:
    for folder in {path.parent for path in sources(*PACKAGES)}:
        face = ast.parse((folder / "__init__.py").read_text("utf-8"))
        assert ast.get_docstring(face), name(folder)


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function's body, without its docstring."""
    first = function.body[0]
    if ast.get_docstring(function) is not None and len(function.body) > 1:
        first = function.body[1]
    return (function.end_lineno or 0) - first.lineno + 1


def test_a_function_fits_on_a_screen() -> None:
    long = {
        f"{name(path)}: {node.name}": body_lines(node)
        for path in sources(*PACKAGES, "scripts")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and body_lines(node) > MOST_LINES_OF_A_FUNCTION
    }
    assert long == {}
