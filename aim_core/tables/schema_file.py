"""Schema files, TOML or JSON: read, checked and written."""

import dataclasses
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from aim_core.errors import SchemaError
from aim_core.tables.cells import nfc
from aim_core.tables.columns.base import Column
from aim_core.tables.columns.ids import IdColumn
from aim_core.tables.columns.keys import ColumnKeys
from aim_core.tables.columns.listed import BooleanColumn, CategoricalColumn, CodedColumn
from aim_core.tables.columns.numbers import ContinuousColumn, IntegerColumn
from aim_core.tables.columns.temporal import (
    DateColumn,
    DatetimeColumn,
    DurationColumn,
    TimeColumn,
)
from aim_core.tables.constraints import constraints_from
from aim_core.tables.schema import Schema

COLUMN_TYPES: Mapping[str, type[Column | IdColumn]] = {
    column_type.kind: column_type
    for column_type in (
        CategoricalColumn,
        IntegerColumn,
        ContinuousColumn,
        DateColumn,
        DatetimeColumn,
        TimeColumn,
        DurationColumn,
        BooleanColumn,
        CodedColumn,
        IdColumn,
    )
}
"""The types that a schema file may name, by their kinds."""

Key = TypeVar("Key")

_KEYS = ("draft", "drop", "columns", "constraints")


def load_schema(path: Path | str) -> Schema:
    """Read a schema file: TOML, or JSON where the name ends in .json.

    Raises SchemaError for a file that cannot be read, and as `schema_from_dict` does.
    """
    path = Path(path)
    as_json = path.suffix.lower() == ".json"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaError(f"cannot read the schema file {path}: {error}") from error
    try:
        data = (
            json.loads(text, object_pairs_hook=_distinct_keys) if as_json else tomllib.loads(text)
        )
    except (ValueError, RecursionError) as error:
        raise SchemaError(
            f"the schema file {path} is not valid {'JSON' if as_json else 'TOML'}: {error}; "
            "a name ending in .json means JSON, any other TOML"
        ) from error
    try:
        return schema_from_dict(data)
    except SchemaError as error:
        raise SchemaError(f"{path}: {error}") from error


def save_schema(schema: Schema, path: Path | str) -> None:
    """Write a schema file: JSON where the name ends in .json, else TOML."""
    path = Path(path)
    as_json = path.suffix.lower() == ".json"
    text = json.dumps(schema.to_dict(), indent=2) + "\n" if as_json else schema_toml(schema)
    path.write_text(text, encoding="utf-8")


def schema_toml(schema: Schema) -> str:
    """Write a schema as TOML; `schema_from_dict` of the parsed text is the same schema."""
    from aim_core.tables.toml import toml_text  # loads tomlkit, which reading does not need

    return toml_text(schema.to_dict())


def schema_from_dict(data: object) -> Schema:
    """Make a schema of a parsed file: `columns` and more, or the plain `{attribute: size}`.

    Raises SchemaError for unknown keys and for columns that make no sense, by their names.
    """
    data = _composed(data)
    if not isinstance(data, Mapping) or not data:
        raise SchemaError("the schema is empty; list `columns`, or give {attribute: size}")
    if all(isinstance(size, int) and not isinstance(size, bool) for size in data.values()):
        return Schema(tuple(CodedColumn(str(name), False, size) for name, size in data.items()))
    unknown = [key for key in data if key not in _KEYS]
    if unknown:
        names = ", ".join(f"`{key}`" for key in unknown)
        raise SchemaError(
            f"the schema has unknown keys {names}; it has {', '.join(f'`{k}`' for k in _KEYS)}, "
            "or nothing but attributes with their sizes"
        )
    drop, columns = data.get("drop", []), data.get("columns", [])
    draft = data.get("draft", False)
    if not isinstance(draft, bool):
        raise SchemaError("`draft` must be true or false")
    if not isinstance(drop, list) or not all(isinstance(name, str) for name in drop):
        raise SchemaError("`drop` must be a list of column names")
    if not isinstance(columns, list) or not columns:
        raise SchemaError("`columns` must list at least one column ([[columns]] in TOML)")
    layout = tuple(_column(number, keys) for number, keys in enumerate(columns, 1))
    return Schema(layout, tuple(drop), draft, constraints_from(data.get("constraints", [])))


def _composed(data: object) -> object:
    """Return a parsed file with all texts, names among them, composed as those of cells are."""
    if isinstance(data, Mapping):
        return _distinct_keys([(_composed(key), _composed(v)) for key, v in data.items()])
    if isinstance(data, list | tuple):
        return [_composed(value) for value in data]
    return nfc(data) if isinstance(data, str) else data


def _column(number: int, keys: object) -> Column | IdColumn:
    if not isinstance(keys, Mapping) or not isinstance(keys.get("name"), str) or not keys["name"]:
        raise SchemaError(f"column number {number} of the schema needs a `name`")
    own = ColumnKeys(keys["name"], {key: value for key, value in keys.items() if key != "name"})
    kind = own.text("type")
    if kind not in COLUMN_TYPES:
        raise own.refuse(f"unknown type {kind!r}; the types are {', '.join(COLUMN_TYPES)}")
    column = COLUMN_TYPES[kind].from_keys(own)
    if isinstance(column, Column):
        missing_values = own.labels("missing_values") or ()
        column = dataclasses.replace(
            column,
            missing=own.flag("missing") or bool(missing_values),
            missing_values=missing_values,
            special=own.labels("special") or (),
            other=own.optional_text("other"),
        )
    own.finish(kind)
    return column


def _distinct_keys(pairs: Sequence[tuple[Key, object]]) -> dict[Key, object]:
    keys = dict(pairs)
    if len(keys) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise SchemaError(f"the schema names {repeated!r} twice; keep one of the two")
    return keys
