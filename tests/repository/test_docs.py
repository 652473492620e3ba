"""The documentation names files, functions, commands and options that exist."""

import ast
import functools
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import typer.main

from aim_core.tables.constraints import constraints_from
from aim_core.tables.schema_file import COLUMN_TYPES, schema_from_dict
from parties.cli.app import app
from parties.compare.rows import METHODS
from tests.support.documents import PAGES, ROOT, commands, options_of

PACKAGES = ("aim_core", "distaim", "mpc", "parties")
FOLDERS = (*PACKAGES, "scripts", "tests")

_LINK = re.compile(r"\]\(([^)\s]+)\)", re.DOTALL)
_FENCED = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
_CODE = re.compile(r"`([^`]+)`")
_FILE = re.compile(r"\.?(?:aim_core|mpc|parties|scripts|tests|docs|deploy)/[\w/.-]*")
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?")
_NAME_IN_FILE = re.compile(r"`([\w.]+)`\s+in\s+`((?:aim_core|mpc|parties)/[\w/]+\.py)`")
_PAGE = re.compile(r"[\w/-]+\.md\b")
_DOTTED = re.compile(r"`([A-Za-z_]\w*\.[A-Za-z_]\w*)`")
_OPTION = re.compile(r"--[a-z][a-z-]*")
_RESULT_FILE = re.compile(r"\w+\.(cff|csv|html|json|toml|npy|npz|crt|key|lock)")
_OTHERS = {
    *("abs", "argmax", "log1p", "transfer", "sys.argv", "date.toordinal", "strftime"),
    "venv",
    *("mbi", "mbi.Estimator", "mbi.Model", "mbi.estimation"),
    *("statistical", "slow", "mechanism.epsilon"),
}
"""Names in the text that are other programs', markers of tests, or keys of a manifest."""


def spans(path: Path) -> list[str]:
    text = _FENCED.sub("", path.read_text("utf-8"))
    return [" ".join(span.split()) for span in _CODE.findall(text)]


def heading_anchor(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {heading_anchor(heading) for heading in headings}


def names_in(body: Iterable[ast.stmt]) -> set[str]:
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


@functools.cache
def definitions() -> frozenset[str]:
    """Return every dotted name (module.name, Class.name), plain name and module of the project."""
    known = set(PACKAGES)
    for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        known |= names_in(tree.body) | {path.stem, path.parent.name}
        known |= {f"{path.parent.name}.{path.stem}"}
        known |= {f"{path.stem}.{name}" for name in names_in(tree.body)}
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                known |= {f"{node.name}.{name}" for name in names_in(node.body)}
                known |= names_in(node.body)
    return frozenset(known)


def docstrings(path: Path) -> str:
    """Return all docstrings of a file, those of constants too."""
    tree = ast.parse(path.read_text("utf-8"))
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Expr))
    return "\n".join(
        text.value
        for text in texts
        if isinstance(text, ast.Constant) and isinstance(text.value, str)
    )


@functools.cache
def schema_words() -> frozenset[str]:
    """Return the texts in the code of schemas: among them keys, types, units and spellings."""
    folder = ROOT / "aim_core" / "tables"
    nodes = (
        node for path in folder.rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))
    )
    texts = (node.value for node in nodes if isinstance(node, ast.Constant))
    return frozenset(text for text in texts if isinstance(text, str))


def test_the_page_of_schemas_has_all_types_and_its_examples_load() -> None:
    page = (ROOT / "docs" / "schema.md").read_text("utf-8")
    assert set(COLUMN_TYPES) <= set(spans(ROOT / "docs" / "schema.md"))
    whole, part, constraints = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    schema_from_dict(tomllib.loads(whole))
    column = {"name": "x", "type": "categorical", **tomllib.loads(part)["columns"]}
    schema_from_dict({"columns": [column]})
    assert len(constraints_from(tomllib.loads(constraints)["constraints"])) == 2


def test_links_lead_somewhere() -> None:
    dead = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in PAGES
        for link in _LINK.findall(page.read_text("utf-8"))
        if not link.startswith("https:") and not leads_somewhere(page, link)
    ]
    assert dead == []


def leads_somewhere(page: Path, link: str) -> bool:
    target, _, anchor = link.partition("#")
    path = (page.parent / target) if target else page
    return path.exists() and (not anchor or anchor in anchors(path))


def test_files_exist() -> None:
    missing = [
        f"{page.relative_to(ROOT)}: {span}"
        for page in PAGES
        for span in spans(page)
        if _FILE.fullmatch(span) and not (ROOT / span).exists()
    ]
    assert missing == []


def test_names_exist() -> None:
    known = definitions() | set(commands()) | set(METHODS) | _OTHERS | schema_words()
    unknown = [
        f"{page.relative_to(ROOT)}: {span}"
        for page in PAGES
        for span in spans(page)
        if _NAME.fullmatch(span) and not _RESULT_FILE.fullmatch(span) and span not in known
    ]
    assert unknown == []


def test_names_are_in_the_files_that_pages_say() -> None:
    wrong = [
        f"{page.relative_to(ROOT)}: {name} in {path}"
        for page in PAGES
        for name, path in _NAME_IN_FILE.findall(page.read_text("utf-8"))
        if name.rpartition(".")[2] not in (ROOT / path).read_text("utf-8")
    ]
    assert wrong == []


def test_pages_and_names_that_docstrings_mention_exist() -> None:
    known = definitions() | _OTHERS
    pages = {page.relative_to(ROOT).as_posix() for page in PAGES}
    wrong = {}
    for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        text = docstrings(path)
        named = set(_PAGE.findall(text)) - pages
        named |= {name for name in _DOTTED.findall(text) if name.removesuffix(".py") not in known}
        if named := {name for name in named if not _RESULT_FILE.fullmatch(name)}:
            wrong[path.relative_to(ROOT).as_posix()] = sorted(named)
    assert wrong == {}


def test_options_exist() -> None:
    own = {option for each in typer.main.get_command(app).params for option in each.opts}
    known = {"--help"}.union(own, *map(options_of, commands().values()))
    unknown = [
        f"{page.relative_to(ROOT)}: {span}"
        for page in PAGES
        for span in spans(page)
        if span.startswith(("distaim", "--")) and not set(_OPTION.findall(span)) <= known
    ]
    assert unknown == []


def test_commands_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    lines = "".join(_FENCED.findall(readme)).splitlines()
    scripts = [line.split()[1] for line in lines if line.startswith("bash ")]
    assert scripts == ["scripts/demo", "scripts/test"]
    assert all((ROOT / script).exists() for script in scripts)
    calls = [line.split() for line in lines if line.startswith("distaim ")]
    assert {call[1] for call in calls} == {"schema", "run", "sample", "compare"}
    for _, name, *arguments in calls:
        command = commands()[name]
        options = {word for word in arguments if word.startswith("--")}
        assert options <= options_of(command)
        command.make_context(name, arguments)


def test_every_decision_has_its_number_in_the_title() -> None:
    numbers = []
    for path in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        number = path.name[:3]
        assert path.read_text("utf-8").startswith(f"# {number}: "), path.name
        numbers.append(int(number))
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_room_stands_in_the_reference() -> None:
    for package in PACKAGES:
        page = (ROOT / "docs" / "reference" / f"{package}.md").read_text("utf-8")
        listed = set(re.findall(r"^::: ([\w.]+)$", page, re.MULTILINE))
        rooms = {f"{package}.{p.parent.name}" for p in (ROOT / package).glob("*/__init__.py")}
        files = {f"{package}.{p.stem}" for p in (ROOT / package).glob("[!_]*.py")}
        assert listed == rooms | files
