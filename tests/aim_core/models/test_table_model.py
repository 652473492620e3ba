"""A model with its schema: sampling of all records, and of those that a condition asks for."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aim_core.errors import MechanismError
from aim_core.models.model_file import load_model, save_model
from aim_core.models.table_model import TableModel
from aim_core.models.tree_model import calibrate
from aim_core.tables.schema import Schema
from aim_core.tables.schema_file import schema_from_dict

COLUMNS: list[dict[str, object]] = [
    {"name": "sex", "type": "categorical", "values": ["f", "m"]},
    {"name": "age", "type": "integer", "min": 0, "max": 99, "bins": 10},
    {"name": "start", "type": "integer", "min": 0, "max": 29, "bins": 3},
    {"name": "end", "type": "integer", "min": 0, "max": 29, "bins": 3},
]
ORDER: dict[str, object] = {"type": "order", "columns": ["start", "end"]}


def table_model(*constraints: dict[str, object]) -> TableModel:
    schema = schema_from_dict({"columns": COLUMNS, "constraints": list(constraints)})
    rates = np.array([[1.0] * 10, [3.0] * 5 + [1.0] * 5])
    return TableModel(
        calibrate(schema.domain, {("sex", "age"): np.log(rates).ravel()}, 300), schema
    )


def test_the_same_seed_gives_the_same_table_and_the_models_distribution() -> None:
    table = table_model().sample(3000, 5)
    assert table.equals(table_model().sample(3000, 5))
    assert not table.equals(table_model().sample(3000, 6))
    assert (table["sex"] == "f").sum() == 1000
    assert len(table_model().sample(None, 5)) == 300


def test_a_condition_is_conditioning_on_what_bins_hold() -> None:
    """Of men, 3 in the bin 40-49 for 1 in 50-59; 45..54 takes half of each: 3 to 1 as well."""
    table = table_model().sample(4000, 1, {"sex": "m", "age": (45, 54)})
    assert set(table["sex"]) == {"m"}
    assert table["age"].between(45, 54).all()
    assert (table["age"] < 50).sum() == 3000
    skewed = table_model().sample(4000, 1, {"sex": "m", "age": (49, 58)})  # 1/10 and 9/10
    assert (skewed["age"] < 50).sum() == 1000


def test_rows_by_default_are_those_that_the_model_expects() -> None:
    """Men are 2/3 of 300 records, and 3/20 of them are in their forties."""
    assert len(table_model().sample(None, 1, {"sex": "m", "age": (40, 49)})) == 30


def test_orders_hold_within_conditions() -> None:
    model = table_model(ORDER)
    table = model.sample(2000, 3, {"start": (15, 25), "end": (None, 18)})
    assert table["start"].between(15, 18).all()
    assert table["end"].between(15, 18).all()
    assert (table["start"] <= table["end"]).all()


def test_what_an_order_rules_out_has_no_rows() -> None:
    with pytest.raises(MechanismError, match="no record as asked for in 'start', 'end'"):
        table_model(ORDER).sample(10, 3, {"start": 15, "end": 12})
    with pytest.raises(MechanismError, match="no record"):
        table_model(ORDER).sample(10, 3, {"start": 25, "end": 5})


def test_identifiers_are_numbered_within_conditions() -> None:
    schema = schema_from_dict({"columns": [{"name": "nr", "type": "id"}, *COLUMNS]})
    model = TableModel(calibrate(schema.domain, {}, 10), schema)
    assert model.sample(4, 1, {"age": 7})["nr"].tolist() == [1, 2, 3, 4]


def test_a_model_comes_back_with_schema_and_types(tmp_path: Path) -> None:
    model, path = table_model(ORDER), tmp_path / "model"
    save_model(path, model.model, model.schema, {"age": "int8", "sex": "category:object"})
    again = load_model(path)
    assert again.schema == model.schema
    table = again.sample(20, 1)
    assert table["age"].dtype == "int8"
    assert isinstance(table["sex"].dtype, pd.CategoricalDtype)
    assert table["age"].tolist() == model.sample(20, 1)["age"].tolist()


def test_a_model_of_another_schema_is_refused() -> None:
    other = Schema(schema_from_dict({"a": 2}).layout)
    with pytest.raises(MechanismError, match="not of this schema"):
        TableModel(table_model().model, other)


def test_a_model_without_its_schema_says_why(tmp_path: Path) -> None:
    path, model = tmp_path / "model.npz", table_model()
    save_model(path, model.model, model.schema)
    with np.load(path) as file:
        parts = {name: file[name] for name in file.files}
    header = str(parts["header"])
    parts["header"] = np.array(header.replace('"schema"', '"former"'))
    np.savez(path, **parts)
    with pytest.raises(MechanismError, match="earlier version, without its schema"):
        load_model(path)
