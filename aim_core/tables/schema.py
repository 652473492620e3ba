"""The public schema: a table's columns, their codes, and what becomes of other columns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from aim_core.arrays import CodeTable
from aim_core.domain import Domain
from aim_core.errors import SchemaError, TableError
from aim_core.tables.cells import Chunk
from aim_core.tables.columns.base import Column
from aim_core.tables.columns.ids import IdColumn
from aim_core.tables.constraints import Constraint, Order, structural_zeros
from aim_core.tables.misfits import Misfits, column_mismatch
from aim_core.tables.ordered_draws import keep_orders


@dataclass(frozen=True)
class Schema:
    """Columns in the order of the table, and names of the table's columns to ignore.

    Identifiers among the columns are not read and not counted: `columns` has all others, and only
    those are in `domain`. A `draft` has entries that were taken from data and nobody has reviewed:
    it is not public. What `constraints` rule out are structural zeros of the domain.

    Raises SchemaError for no column, for a name that is empty or occurs twice, and for constraints
    that do not fit the columns.
    """

    layout: tuple[Column | IdColumn, ...]
    drop: tuple[str, ...] = ()
    draft: bool = False
    constraints: tuple[Constraint, ...] = ()
    columns: tuple[Column, ...] = field(init=False, repr=False, compare=False)
    domain: Domain = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [column.name for column in self.layout]
        both = sorted(set(names) & set(self.drop))
        if both:
            raise SchemaError(
                f"the schema both describes and drops {', '.join(both)}; remove one of the two"
            )
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise SchemaError(f"the schema describes {twice!r} twice; remove one of the two")
        columns = tuple(column for column in self.layout if isinstance(column, Column))
        object.__setattr__(self, "columns", columns)
        domain = Domain(
            tuple(column.name for column in columns),
            tuple(column.size for column in columns),
            structural_zeros(self.constraints, columns),
        )
        object.__setattr__(self, "domain", domain)

    @property
    def unread(self) -> tuple[str, ...]:
        """Names of the table's columns that are not read: those to ignore, and identifiers."""
        ids = (column.name for column in self.layout if isinstance(column, IdColumn))
        return (*self.drop, *ids)

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
        mismatch = column_mismatch(self.domain.attributes, self.unread, list(chunk))
        if mismatch:
            raise TableError(mismatch)
        n_rows = len(next(iter(chunk.values())))
        codes = np.empty((n_rows, len(self.columns)), dtype=np.int32)
        for index, column in enumerate(self.columns):
            cells = chunk[column.name]
            encoded = column.encode(cells)
            codes[:, index] = encoded.codes
            misfits.add(column, encoded, cells, first_row)
        names = self.domain.attributes
        known = dict(zip(names, self.columns, strict=True))
        coded = dict(zip(names, codes.T, strict=True))
        for constraint in self.constraints:
            misfits.add_broken(constraint, constraint.n_broken(known, coded, chunk))
        return codes

    def decode(self, codes: CodeTable, generator: np.random.Generator) -> pd.DataFrame:
        """Turn (n, d) codes into a table of the original types.

        Numbers, dates and times are drawn uniformly within their bins; identifiers are numbered
        anew; missing values are null. Values are in the order that constraints ask for, where
        their codes can be. Raises TableError for codes outside the domain.
        """
        sizes = np.array(self.domain.sizes)
        if codes.ndim != 2 or codes.shape[1] != len(self.columns):
            raise TableError(f"codes must be (n, {len(self.columns)}), got {codes.shape}")
        if np.any(codes < 0) or np.any(codes >= sizes):
            raise TableError("codes lie outside the schema's domain; use the schema they came from")
        return self.decode_with(self.columns, codes.astype(np.int32), generator)

    def decode_with(
        self, columns: Sequence[Column], codes: CodeTable, generator: np.random.Generator
    ) -> pd.DataFrame:
        """Decode as `decode` does, (n, d) codes of other columns with the same names and values."""
        names = self.domain.attributes
        known = dict(zip(names, columns, strict=True))
        coded = dict(zip(names, codes.T, strict=True))
        series: dict[str, pd.Series[Any]] = {
            name: known[name].decode(coded[name], generator) for name in names
        }
        orders = [order for order in self.constraints if isinstance(order, Order)]
        keep_orders(orders, known, coded, series, generator)
        for column in self.layout:
            if isinstance(column, IdColumn):
                series[column.name] = column.number(len(codes))
        return pd.DataFrame({column.name: series[column.name] for column in self.layout})

    def to_dict(self) -> dict[str, object]:
        """Return what a schema file holds, with plain values only (fit for JSON)."""
        draft = {"draft": True} if self.draft else {}
        drop = {"drop": list(self.drop)} if self.drop else {}
        columns = {"columns": [column.to_dict() for column in self.layout]}
        constraints = [constraint.to_dict() for constraint in self.constraints]
        return {**draft, **drop, **columns, **({"constraints": constraints} if constraints else {})}
