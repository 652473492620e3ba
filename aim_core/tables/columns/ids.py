"""Columns of identifiers: never read, never counted, numbered anew in the synthetic table."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from aim_core.errors import SchemaError
from aim_core.tables.columns.keys import ColumnKeys


@dataclass(frozen=True)
class IdColumn:
    """Running numbers from 1 on, as whole numbers, or as texts with a prefix and leading zeros."""

    kind: ClassVar[str] = "id"

    name: str
    prefix: str = ""
    digits: int | None = None

    def __post_init__(self) -> None:
        if self.digits is not None and not 1 <= self.digits <= 18:
            raise SchemaError(
                f"column {self.name!r}: `digits` must be from 1 to 18, not {self.digits}"
            )

    def number(self, n_rows: int) -> "pd.Series[Any]":
        """Return (n_rows,) new identifiers."""
        numbers = range(1, n_rows + 1)
        if not self.prefix and self.digits is None:
            return pd.Series(np.array(numbers, dtype=np.int64), name=self.name)
        texts = [f"{self.prefix}{number:0{self.digits or 1}}" for number in numbers]
        return pd.Series(texts, name=self.name, dtype="object")

    def to_dict(self) -> dict[str, object]:
        """Return the keys that a schema file has for this column, its name first."""
        prefix = {"prefix": self.prefix} if self.prefix else {}
        digits = {} if self.digits is None else {"digits": self.digits}
        return {"name": self.name, "type": self.kind, **prefix, **digits}

    @classmethod
    def from_keys(cls, keys: ColumnKeys) -> Self:
        """Make a column of `prefix` and `digits`, both optional."""
        return cls(keys.column, keys.optional_text("prefix") or "", keys.integer("digits"))
