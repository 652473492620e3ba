"""A fitted model as a file, so that it can be sampled from and scored later."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from aim_core.domain import Domain, StructuralZeros
from aim_core.errors import MechanismError
from aim_core.models.measurement import Model
from aim_core.models.tree_model import TreeModel, calibrate

_HEADER = "header"


def save_model(path: Path, model: Model) -> None:
    """Write a model's potentials, float64 flat per clique, and its domain, as .npz.

    Raises MechanismError for a model that has no potentials.
    """
    if not isinstance(model, TreeModel):
        raise MechanismError(f"a {type(model).__name__} has no potentials that could be saved")
    header = {
        "attributes": model.domain.attributes,
        "sizes": model.domain.sizes,
        "total": model.total,
        "cliques": list(model.potentials),
        "zeros": [zeros.clique for zeros in model.domain.zeros],
    }
    arrays: dict[str, Any] = {_HEADER: np.array(json.dumps(header))}
    arrays |= {f"potential-{n}": table for n, table in enumerate(model.potentials.values())}
    arrays |= {
        f"allowed-{n}": np.frombuffer(zeros.allowed, dtype=np.bool_)
        for n, zeros in enumerate(model.domain.zeros)
    }
    np.savez_compressed(path, **arrays)


def load_model(path: Path) -> TreeModel:
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
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MechanismError(f"{path} is not a saved model ({error}); fit it anew") from error
    for clique, table in zip(cliques, tables, strict=True):
        if table.shape != (domain.n_cells(clique),) or table.dtype != np.float64:
            raise MechanismError(f"{path} has a table of a wrong size for {clique}; fit it anew")
    return calibrate(domain, dict(zip(cliques, tables, strict=True)), total)
