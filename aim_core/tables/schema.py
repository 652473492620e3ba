"""The public schema: a table's columns, their codes, and the file that states them."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from aim_core.arrays import CodeTable
from aim_core.domain import Domain
from aim_core.errors import SchemaError, TableError
from aim_core.tables.binned_columns import ContinuousColumn, DateColumn, IntegerColumn
from aim_core.tables.cells import Chunk
from aim_core.tables.column_keys import ColumnKeys
from aim_core.tables.columns import BooleanColumn, CategoricalColumn, CodedColumn, Column
from aim_core.tables.misfits import Misfits, column_mismatch

COLUMN_TYPES: Mapping[str, type[Column]] = {
    column_type.kind: column_type
    for column_type in (
        CategoricalColumn,
        IntegerColumn,
        ContinuousColumn,
        DateColumn,
        BooleanColumn,
        CodedColumn,
    )
}
"""The types that a schema file may name, by their kinds."""


@dataclass(frozen=True)
class Schema:
    """Columns in order, and names of the table's columns to ignore.

    Raises SchemaError for no column, or a name that is empty or occurs twice.
    """

    columns: tuple[Column, ...]
    drop: tuple[str, ...] = ()
    domain: Domain = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = tuple(column.name for column in self.columns)
        if set(names) & set(self.drop):
            both = ", ".join(sorted(set(names) & set(self.drop)))
            raise SchemaError(f"the schema both describes and drops {both}; remove one of the two")
        domain = Domain(names, tuple(column.size for column in self.columns))
        object.__setattr__(self, "domain", domain)

    def encode(self, chunk: Chunk) -> CodeTable:
        """Code a table, its columns in any order.

        Raises TableError for columns that lack or are unknown, and for values that do not fit
        (the text has examples: show it to the table's holder only).
        """
        misfits = Misfits()
        codes = self.encode_collecting(chunk, misfits, first_row=1)
        if misfits:
            raise misfits.error()
        return codes

    def encode_collecting(self, chunk: Chunk, misfits: Misfits, first_row: int) -> CodeTable:
        """Code one chunk of a table and add what does not fit to `misfits`.

        Where something does not fit the codes are negative. Raises TableError for columns that
        lack or are unknown.
        """
        mismatch = column_mismatch(self.domain.attributes, self.drop, list(chunk))
        if mismatch:
            raise TableError(mismatch)
        n_rows = len(next(iter(chunk.values())))
        codes = np.empty((n_rows, len(self.columns)), dtype=np.int32)
        for index, column in enumerate(self.columns):
            cells = chunk[column.name]
            codes[:, index] = column.encode(cells)
            misfits.add(column, codes[:, index], cells, first_row)
        return codes

    def decode(self, codes: CodeTable, generator: np.random.Generator) -> pd.DataFrame:
        """Turn (n, d) codes into a table of the original types.

        Numbers and dates are drawn uniformly within their bins; dates are ISO texts; missing
        values are null. Raises TableError for codes outside the domain.
        """
        sizes = np.array(self.domain.sizes)
        if codes.ndim != 2 or codes.shape[1] != len(self.columns):
            raise TableError(f"codes must be (n, {len(self.columns)}), got {codes.shape}")
        if np.any(codes < 0) or np.any(codes >= sizes):
            raise TableError("codes lie outside the schema's domain; use the schema they came from")
        narrow = codes.astype(np.int32)
        return pd.DataFrame(
            {
                column.name: column.decode(narrow[:, index], generator)
                for index, column in enumerate(self.columns)
            }
        )

    def to_dict(self) -> dict[str, object]:
        """Return what a schema file holds, with plain values only (fit for JSON)."""
        drop = {"drop": list(self.drop)} if self.drop else {}
        return {**drop, "columns": [column.to_dict() for column in self.columns]}

    def to_toml(self) -> str:
        """Write the schema as TOML; `schema_from_dict` of the parsed text is the same schema."""
        from aim_core.tables.toml import toml_text  # loads tomlkit, which reading does not need

        return toml_text(self.to_dict())


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
    text = json.dumps(schema.to_dict(), indent=2) + "\n" if as_json else schema.to_toml()
    path.write_text(text, encoding="utf-8")


def schema_from_dict(data: object) -> Schema:
    """Make a schema of a parsed file: `columns` and `drop`, or the plain `{attribute: size}`.

    Raises SchemaError for unknown keys and for columns that make no sense, by their names.
    """
    if not isinstance(data, Mapping) or not data:
        raise SchemaError("the schema is empty; list `columns`, or give {attribute: size}")
    if all(isinstance(size, int) and not isinstance(size, bool) for size in data.values()):
        return Schema(tuple(CodedColumn(str(name), False, size) for name, size in data.items()))
    unknown = [key for key in data if key not in ("columns", "drop")]
    if unknown:
        names = ", ".join(f"`{key}`" for key in unknown)
        raise SchemaError(
            f"the schema has unknown keys {names}; it has `columns` and `drop`, "
            "or nothing but attributes with their sizes"
        )
    drop, columns = data.get("drop", []), data.get("columns", [])
    if not isinstance(drop, list) or not all(isinstance(name, str) for name in drop):
        raise SchemaError("`drop` must be a list of column names")
    if not isinstance(columns, list) or not columns:
        raise SchemaError("`columns` must list at least one column ([[columns]] in TOML)")
    return Schema(
        tuple(_column(number, keys) for number, keys in enumerate(columns, 1)), tuple(drop)
    )


def _column(number: int, keys: object) -> Column:
    if not isinstance(keys, Mapping) or not isinstance(keys.get("name"), str) or not keys["name"]:
        raise SchemaError(f"column number {number} of the schema needs a `name`")
    own = ColumnKeys(keys["name"], {key: value for key, value in keys.items() if key != "name"})
    kind = own.text("type")
    if kind not in COLUMN_TYPES:
        raise own.refuse(f"unknown type {kind!r}; the types are {', '.join(COLUMN_TYPES)}")
    column = COLUMN_TYPES[kind].from_keys(own, own.flag("missing"))
    own.finish(kind)
    return column


def _distinct_keys(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    keys = dict(pairs)
    if len(keys) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise SchemaError(f"the schema names {repeated!r} twice; keep one of the two")
    return keys
