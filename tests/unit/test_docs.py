"""The documentation names files, functions, commands and options that exist."""

import ast
import re
from pathlib import Path

import pytest
import typer.main

from parties.cli import app
from parties.compare_rows import METHODS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PACKAGES = ("aim_core", "mpc", "parties")

_LINK = re.compile(r"\]\(([^)\s]+)\)", re.DOTALL)
_FENCED = re.compile(r"```\n(.*?)```", re.DOTALL)
_CODE = re.compile(r"`([^`]+)`")
_FILE = re.compile(r"(?:aim_core|mpc|parties|scripts|tests)/[\w/]*(?:\.py)?")
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?")
_OPTION = re.compile(r"--[a-z][a-z-]*")
_RESULT_FILE = re.compile(r"\w+\.(csv|html|json|toml|npz|crt|key)")
_OTHERS = {"abs", "argmax", "log1p", "transfer", "sys.argv", "mbi", "venv", "statistical", "slow"}
"""Names in the text that are other programs', or markers of tests."""


def page_id(path):
    return str(path.relative_to(ROOT))


def spans(path):
    text = _FENCED.sub("", path.read_text("utf-8"))
    return [" ".join(span.split()) for span in _CODE.findall(text)]


def heading_anchor(heading):
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def anchors(path):
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {heading_anchor(heading) for heading in headings}


def names_in(body):
    """Return what a module's or class's body defines: functions, classes, constants, fields."""
    names = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


def definitions():
    """Return every dotted name (module.name, Class.name) and every plain name of the packages."""
    dotted, plain = set(), set()
    for path in (path for package in PACKAGES for path in (ROOT / package).glob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        plain |= names_in(tree.body)
        dotted |= {f"{path.stem}.{name}" for name in names_in(tree.body)}
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                dotted |= {f"{node.name}.{name}" for name in names_in(node.body)}
                plain |= names_in(node.body)
    return dotted, plain


def commands():
    return typer.main.get_command(app).commands


def options_of(command):
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_links_lead_somewhere(path):
    for link in _LINK.findall(path.read_text("utf-8")):
        target, _, anchor = link.partition("#")
        if target.startswith("https:"):
            continue
        page = (path.parent / target) if target else path
        assert page.exists(), link
        if anchor:
            assert anchor in anchors(page), link


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_files_exist(path):
    for span in spans(path):
        if _FILE.fullmatch(span):
            assert (ROOT / span).exists(), span


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_names_exist(path):
    dotted, plain = definitions()
    known = dotted | plain | set(PACKAGES) | set(commands()) | set(METHODS) | _OTHERS
    for span in spans(path):
        if _NAME.fullmatch(span) and not _RESULT_FILE.fullmatch(span):
            assert span in known, span


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_options_exist(path):
    known = set().union({"--help"}, *map(options_of, commands().values()))
    for span in spans(path):
        assert set(_OPTION.findall(span)) <= known, span


def test_commands_of_the_readme():
    readme = (ROOT / "README.md").read_text("utf-8")
    lines = "".join(_FENCED.findall(readme)).splitlines()
    scripts = [line.split()[1] for line in lines if line.startswith("bash ")]
    assert scripts == ["scripts/demo", "scripts/test"]
    assert all((ROOT / script).exists() for script in scripts)
    calls = [line.split() for line in lines if line.startswith("distaim ")]
    assert {call[1] for call in calls} == {"schema", "run", "compare"}
    for _, name, *arguments in calls:
        command = commands()[name]
        options = {word for word in arguments if word.startswith("--")}
        assert options <= options_of(command)
        command.make_context(name, arguments)


def test_every_decision_has_its_number_in_the_title():
    numbers = []
    for path in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        number = path.name[:3]
        assert path.read_text("utf-8").startswith(f"# {number}: "), path.name
        numbers.append(int(number))
    assert numbers == list(range(1, len(numbers) + 1))
