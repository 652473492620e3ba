"""A fitted model, from Python: sampled from as often as wanted, at no cost in privacy."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pandas as pd

from aim_core.models.model_file import load_model, save_model
from aim_core.models.table_model import TableModel
from distaim.schema import Schema


@dataclass(frozen=True, eq=False)
class Model:
    """A model of a table; `core` is the model as the other packages know it."""

    core: TableModel

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read the `model.npz` of a run, of a job or of `save`; MechanismError if it is none."""
        return cls(load_model(Path(path)))

    def save(self, path: Path | str) -> None:
        """Write the model with its schema; whoever has the file can sample from it."""
        save_model(Path(path), self.core.model, self.core.schema, self.core.dtypes)

    @property
    def schema(self) -> Schema:
        """The schema of the table."""
        return Schema(self.core.schema)

    @property
    def n_records(self) -> float:
        """How many records the real table has by the model's estimate, which is public."""
        return self.core.model.total

    def sample(
        self,
        n: int | None = None,
        where: Mapping[str, object] | None = None,
        *,
        seed: int | None = None,
    ) -> pd.DataFrame:
        """Sample a synthetic table of `n` rows, None for as many as the model expects.

        `where` asks for such records only, by column: a value, a list of values, or a range, a
        tuple (low, high) with both ends in it and None for no end; None is a missing value. The
        rows then follow the model's distribution of such records. The same public seed gives the
        same rows; without one they differ each time.

        Raises TableError for what no column can be asked for, and MechanismError where the model
        has no such record.
        """
        chosen = secrets.randbits(32) if seed is None else seed
        return self.core.sample(n, chosen, where)
