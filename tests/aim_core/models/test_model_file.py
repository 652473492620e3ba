"""Saved models."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from aim_core.arrays import FloatArray
from aim_core.domain import Clique, Domain, StructuralZeros
from aim_core.errors import MechanismError
from aim_core.models.measurement import Model
from aim_core.models.model_file import load_model, save_model
from aim_core.models.tree_model import TreeModel, calibrate
from aim_core.tables.schema_file import schema_from_dict

DOMAIN = Domain(("a", "b", "c"), (2, 3, 4))
SCHEMA = schema_from_dict({"a": 2, "b": 3, "c": 4})


def model() -> TreeModel:
    potentials: dict[Clique, FloatArray] = {
        ("a", "b"): np.arange(6.0),
        ("b", "c"): np.linspace(-2, 1, 12),
    }
    return calibrate(DOMAIN, potentials, 123.5)


def test_a_model_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    save_model(path, model(), SCHEMA)
    again = load_model(path).model
    assert again.total == 123.5
    assert again.domain == DOMAIN
    cliques: list[Clique] = [("a",), ("a", "c"), ("a", "b", "c")]
    for one, other in zip(model().marginals(cliques), again.marginals(cliques), strict=True):
        assert np.array_equal(one, other)


def test_a_model_without_attributes_measured(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    save_model(path, calibrate(DOMAIN, {}, 7.0), SCHEMA)
    assert load_model(path).model.marginals([("a",)])[0].tolist() == [3.5, 3.5]


def test_structural_zeros_come_back_with_the_model(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    allowed = np.array([1, 0, 1, 0, 0, 1], dtype=np.uint8)
    zeros = (
        StructuralZeros(("a", "b"), allowed.tobytes()),
        StructuralZeros(("c",), bytes([1, 1, 0, 1])),
    )
    fitted = calibrate(Domain(DOMAIN.attributes, DOMAIN.sizes, zeros), model().potentials, 50.0)
    save_model(path, fitted, SCHEMA)
    again = load_model(path).model
    assert again.domain == fitted.domain
    assert again.domain != DOMAIN
    every = ("a", "b", "c")
    one, other = fitted.marginals([every])[0], again.marginals([every])[0]
    assert np.array_equal(one, other)
    by_a_b = one.reshape(6, 4)
    assert (by_a_b.sum(axis=1) > 0).tolist() == allowed.astype(bool).tolist()
    assert by_a_b[:, 2].sum() == 0.0


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    path.write_bytes(b"not a model")
    with pytest.raises(MechanismError, match="not a saved model"):
        load_model(path)
    np.savez(path, header=np.array("{}"))
    with pytest.raises(MechanismError, match="not a saved model"):
        load_model(path)
    with pytest.raises(MechanismError, match="no potentials"):
        save_model(path, cast("Model", object()), SCHEMA)
    save_model(path, model(), SCHEMA)
    with np.load(path) as file:
        parts = {name: file[name] for name in file.files}
    parts["potential-0"] = parts["potential-0"][:-1]
    np.savez(path, **parts)
    with pytest.raises(MechanismError, match="wrong size"):
        load_model(path)
