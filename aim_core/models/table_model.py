"""A fitted model with the schema of its table: it samples tables, of all or of some records."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from aim_core.arrays import CodeTable
from aim_core.domain import Domain, StructuralZeros
from aim_core.errors import MechanismError, SchemaError
from aim_core.models.tree_model import TreeModel, calibrate
from aim_core.tables.columns.comparing import code_ends
from aim_core.tables.constraints import Order
from aim_core.tables.sampled.conditions import Condition, conditions, every_value
from aim_core.tables.sampled.frames import with_dtypes
from aim_core.tables.schema import Schema


@dataclass(frozen=True, eq=False)
class TableModel:
    """A model, its schema, and the types that a sampled table gets in pandas.

    `dtypes` are those of `dtypes_of`, by column; a column without one has the schema's own type.
    Raises MechanismError for a model on other attributes or codes than the schema's.
    """

    model: TreeModel = field(repr=False)
    schema: Schema
    dtypes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one, other = self.model.domain, self.schema.domain
        if (one.attributes, one.sizes) != (other.attributes, other.sizes):
            raise MechanismError(
                "the model is not of this schema; take the schema it was fitted to"
            )

    def sample(
        self, n_rows: int | None, seed: int, where: Mapping[str, object] | None = None
    ) -> pd.DataFrame:
        """Sample a table of so many rows, None for as many as the model expects.

        With `where` (see `conditions`) all rows are as it asks, distributed as the model has such
        records. The seed is public. Raises TableError for what cannot be asked for and
        MechanismError for what the model rules out.
        """
        asked = conditions(where or {}, self.schema)
        model = self._given(asked) if asked else self.model
        rows = max(1, round(model.total)) if n_rows is None else n_rows
        codes = model.sample(rows, np.random.default_rng(seed))
        return self.decode(codes, seed, asked)

    def decode(
        self, codes: CodeTable, seed: int, asked: Mapping[str, Condition] | None = None
    ) -> pd.DataFrame:
        """Turn (n, d) codes into a table, within what is asked for; the seed is public."""
        generator = np.random.default_rng([seed, 1])
        if not asked:
            table = self.schema.decode(codes, generator)
        else:
            columns = list(self.schema.columns)
            narrow = codes.astype(np.int32)
            for name, condition in asked.items():
                index = self.schema.domain.position(name)
                columns[index] = condition.column
                narrow[:, index] = condition.narrowed(narrow[:, index], generator)
            table = self.schema.decode_with(columns, narrow, generator)
        return with_dtypes(table, self.dtypes, self.schema)

    def _given(self, asked: Mapping[str, Condition]) -> TreeModel:
        """Return the model of the records asked for; a bin of which a part is asked counts less."""
        codes = {name: np.flatnonzero(asked[name].weights).tolist() for name in asked}
        given = self.model.given(codes)
        potentials = dict(given.potentials)
        for name, condition in asked.items():
            weights = condition.weights
            if np.any(weights[weights > 0] < 1):
                logs = np.log(np.where(weights > 0, weights, 1.0))
                potentials[(name,)] = logs + potentials.get((name,), 0.0)
        known = given.domain
        try:
            zeros = (*known.zeros, *self._order_zeros(asked))
            domain = Domain(known.attributes, known.sizes, zeros)
            return calibrate(domain, potentials, given.total)
        except (MechanismError, SchemaError) as error:
            raise MechanismError(
                f"the model has no record as asked for in {', '.join(map(repr, asked))}: "
                "constraints rule it out; ask for other values"
            ) from error

    def _order_zeros(self, asked: Mapping[str, Condition]) -> list[StructuralZeros]:
        """Rule out the codes whose parts cannot be in the order that a constraint asks for."""
        zeros = []
        for order in self.schema.constraints:
            if not isinstance(order, Order) or asked.keys().isdisjoint(order.columns):
                continue
            left, right = (self._asked(name, asked) for name in order.columns)
            lows, highs = code_ends(left.column)[0], code_ends(right.column)[1]
            held = ~order.broken(lows[left.codes][:, None], highs[right.codes][None, :])
            allowed = np.zeros((left.n_codes, right.n_codes), dtype=np.bool_)
            np.logical_or.at(allowed, (left.wholes[:, None], right.wholes[None, :]), held)
            clique = self.schema.domain.canonical(order.columns)
            table = allowed if clique == order.columns else allowed.T
            zeros.append(StructuralZeros(clique, np.ascontiguousarray(table).tobytes()))
        return zeros

    def _asked(self, name: str, asked: Mapping[str, Condition]) -> Condition:
        if name in asked:
            return asked[name]
        return every_value(self.schema.columns[self.schema.domain.position(name)])
