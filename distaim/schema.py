"""The public schema of a table, from Python."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import pandas as pd

import aim_core.tables.schema as core_schema
from aim_core.tables.drafting import (
    MAX_CATEGORIES,
    N_BINS,
    DraftedSchema,
    draft_of_chunks,
)
from aim_core.tables.schema_file import load_schema, save_schema, schema_from_dict, schema_toml
from distaim.frames import frame_chunks


@dataclass(frozen=True)
class Schema:
    """Which columns and values a table may have. It is public, so it must not tell of a person.

    `notes` say of a draft's columns what was taken from the data, `dropped` why others were left
    out, both by column. `core` is the schema as the other packages know it.
    """

    core: core_schema.Schema
    notes: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    dropped: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def draft(
        cls, table: pd.DataFrame, *, bins: int = N_BINS, max_categories: int = MAX_CATEGORIES
    ) -> Self:
        """Draft a schema from a table, for review: what it takes from the data is not private.

        Raises SchemaError if no column can be drafted, TableError for a table without rows.
        """
        drafted = draft_of_chunks(frame_chunks(table), bins, max_categories)
        return cls(drafted.schema, drafted.notes, drafted.dropped)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a schema file, TOML or JSON; SchemaError if it is none."""
        return cls(load_schema(path))

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """Make a schema of what `to_dict` returns, or of `{column: size}`; SchemaError if wrong."""
        return cls(schema_from_dict(data))

    def save(self, path: Path | str) -> None:
        """Write a schema file: JSON where the name ends in .json, else TOML with the notes."""
        if self._drafted is None:
            save_schema(self.core, path)
        else:
            self._drafted.save(path)

    def to_toml(self) -> str:
        """Write the schema as TOML, with the notes of a draft as comments."""
        return schema_toml(self.core) if self._drafted is None else self._drafted.to_toml()

    @property
    def _drafted(self) -> DraftedSchema | None:
        """The draft with its notes, None for a schema that is none or has none."""
        if not (self.is_draft and self.notes):
            return None
        return DraftedSchema(self.core, dict(self.notes), dict(self.dropped))

    def to_dict(self) -> dict[str, object]:
        """Return what a schema file holds: plain lists, texts and numbers, to change and read."""
        return self.core.to_dict()

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in the order of the table."""
        return [column.name for column in self.core.layout]

    @property
    def is_draft(self) -> bool:
        """Tell whether entries were taken from data that nobody has reviewed."""
        return self.core.draft

    def reviewed(self) -> Self:
        """Return this schema without the mark of a draft: its owner answers for every entry."""
        return replace(self, core=replace(self.core, draft=False))
