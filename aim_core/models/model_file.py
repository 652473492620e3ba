"""A fitted model as a file with its schema, so that it can be sampled from and scored later."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from aim_core.domain import Domain, StructuralZeros
from aim_core.errors import MechanismError
from aim_core.models.measurement import Model
from aim_core.models.table_model import TableModel
from aim_core.models.tree_model import TreeModel, calibrate
from aim_core.tables.schema import Schema
from aim_core.tables.schema_file import schema_from_dict

_HEADER = "header"
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile)


def save_model(
    path: Path, model: Model, schema: Schema, dtypes: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Write a model's potentials, float64 flat per clique, its domain and its schema, as .npz.

    `dtypes` are those of the table in pandas, where it was one (`dtypes_of`). Raises MechanismError
    for a model that has no potentials.
    """
    if not isinstance(model, TreeModel):
        raise MechanismError(f"a {type(model).__name__} has no potentials that could be saved")
    header = {
        "attributes": model.domain.attributes,
        "sizes": model.domain.sizes,
        "total": model.total,
        "cliques": list(model.potentials),
        "zeros": [zeros.clique for zeros in model.domain.zeros],
        "schema": schema.to_dict(),
        "dtypes": dict(dtypes),
    }
    arrays: dict[str, Any] = {_HEADER: np.array(json.dumps(header))}
    arrays |= {f"potential-{n}": table for n, table in enumerate(model.potentials.values())}
    arrays |= {
        f"allowed-{n}": np.frombuffer(zeros.allowed, dtype=np.bool_)
        for n, zeros in enumerate(model.domain.zeros)
    }
    with path.open("wb") as file:  # to a name without .npz, numpy would add it
        np.savez_compressed(file, **arrays)


def load_model(path: Path) -> TableModel:
    """Read a model; MechanismError for a file that is none, or does not fit together."""
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file[_HEADER]))
            zeros = tuple(
                StructuralZeros(tuple(clique), file[f"allowed-{n}"].astype(np.bool_).tobytes())
                for n, clique in enumerate(header["zeros"])
            )
            domain = Domain(tuple(header["attributes"]), tuple(header["sizes"]), zeros)
            cliques = [tuple(clique) for clique in header["cliques"]]
            tables = [file[f"potential-{n}"] for n in range(len(cliques))]
            total = float(header["total"])
            schema, dtypes = header.get("schema"), dict(header.get("dtypes", {}))
    except _UNREADABLE as error:
        raise MechanismError(f"{path} is not a saved model ({error}); fit it anew") from error
    if schema is None:
        raise MechanismError(
            f"{path} was saved by an earlier version, without its schema; fit the model anew"
        )
    for clique, table in zip(cliques, tables, strict=True):
        if table.shape != (domain.n_cells(clique),) or table.dtype != np.float64:
            raise MechanismError(f"{path} has a table of a wrong size for {clique}; fit it anew")
    model = calibrate(domain, dict(zip(cliques, tables, strict=True)), total)
    return TableModel(model, schema_from_dict(schema), dtypes)
