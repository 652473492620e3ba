"""Writing TOML for people, with comments (the standard library only reads TOML)."""

from collections.abc import Mapping, Sequence

import tomlkit
from tomlkit.items import AoT, Item, Table

MAX_WIDTH = 96

Path = tuple[str | int, ...]
"""Where something stands: `()` is the file, `("columns", 0)` the first table of `columns`."""


def toml_text(data: Mapping[str, object], comments: Mapping[Path, str] | None = None) -> str:
    """Write nested mappings as TOML: values first, then tables and lists of tables.

    A comment stands below the header of its table or above its value; control characters in it
    are shown as escapes. A long list takes one line per few items, a text of several lines stands
    as it is.
    """
    document = tomlkit.document()
    comments = comments or {}
    if () in comments:
        _add_comment(document, comments[()])
        document.add(tomlkit.nl())
    _add_keys(document, data, (), comments)
    return tomlkit.dumps(document)


def _add_keys(
    into: tomlkit.TOMLDocument | Table,
    data: Mapping[str, object],
    path: Path,
    comments: Mapping[Path, str],
) -> None:
    for key, value in sorted(data.items(), key=lambda pair: _holds_tables(pair[1])):
        here = (*path, key)
        if isinstance(value, Mapping):
            into.add(key, _table(value, here, comments))
        elif isinstance(value, list) and _holds_tables(value):
            tables = [_table(keys, (*here, number), comments) for number, keys in enumerate(value)]
            into.add(key, AoT(tables))
        else:
            _add_comment(into, comments.get(here, ""))
            into.add(key, _value(value))


def _holds_tables(value: object) -> bool:
    """Tell a table, or a list of tables, from a value; they stand below all values."""
    one = value[0] if isinstance(value, list) and value else value
    return isinstance(one, Mapping)


def _table(data: Mapping[str, object], path: Path, comments: Mapping[Path, str]) -> Table:
    table = tomlkit.table()
    _add_comment(table, comments.get(path, ""))
    _add_keys(table, data, path, comments)
    return table


def _add_comment(into: tomlkit.TOMLDocument | Table, text: str) -> None:
    for line in text.split("\n") if text else ():
        shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
        into.add(tomlkit.comment(shown))


def _value(value: object) -> Item:
    if isinstance(value, str):
        return tomlkit.string(value, multiline="\n" in value)
    if isinstance(value, list | tuple):
        return _array(value)
    return tomlkit.item(value)


def _array(values: Sequence[object]) -> Item:
    lines: list[str] = [""]
    for value in values:
        text = tomlkit.item(value).as_string()
        if lines[-1] and len(lines[-1]) + len(text) + 2 > MAX_WIDTH:
            lines.append("")
        lines[-1] += f"{', ' if lines[-1] else ''}{text}"
    flat = f"[{lines[0]}]" if len(lines) == 1 else "[\n    " + ",\n    ".join(lines) + ",\n]"
    # an Array that is filled line by line renumbers itself each time: slow for many values
    return tomlkit.value(flat)
