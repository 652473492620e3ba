"""Types of pandas columns: noted of a table and given back to a decoded one."""

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from aim_core.tables.sampled.frames import dtypes_of, schema_cells, with_dtypes
from aim_core.tables.schema import Schema
from aim_core.tables.schema_file import schema_from_dict

WHOLE = {"type": "integer", "min": 0, "max": 99, "bins": 100}
YES_NO = {"type": "boolean"}
DAYS = {"type": "date", "min": "2024-01-01", "max": "2024-12-31", "unit": "day"}
MOMENTS = {"type": "datetime", "min": "2024-01-01T00:00:00", "max": "2024-12-31T23:59:59",
           "unit": "hour", "step": "1h"}  # fmt: skip
TIMES = {"type": "time", "min": "00:00:00", "max": "23:59:59", "bins": 24, "step": "1h"}
DURATIONS = {"type": "duration", "min": "0 days 00:00:00", "max": "9 days 23:00:00", "bins": 240,
             "step": "1h"}  # fmt: skip
LISTED = {"type": "categorical", "values": ["1", "2", "3"]}
ABC = {"type": "categorical", "values": ["a", "b", "c"]}


def there_and_back(series: "pd.Series[Any]", keys: dict[str, object]) -> "pd.Series[Any]":
    """Code a column, decode it, and give it its type again."""
    missing = {"missing": True} if series.isna().any() else {}
    schema = schema_from_dict({"columns": [{"name": "x", **keys, **missing}]})
    table = pd.DataFrame({"x": series})
    codes = schema.encode(schema_cells(table, schema))
    decoded = schema.decode(codes, np.random.default_rng(0))
    return with_dtypes(decoded, dtypes_of(table, schema), schema)["x"]


DAY = pd.Timestamp("2024-03-31")
STRINGS = "string"


@pytest.mark.parametrize(
    ("series", "keys"),
    [
        (pd.Series([1, 2, 50], dtype="int8"), WHOLE),
        (pd.Series([1, 2, 50], dtype="uint16"), WHOLE),
        (pd.Series([1, None, 50], dtype="Int64"), WHOLE),
        (pd.Series([1, None, 50], dtype="float64"), WHOLE),
        (pd.Series([1, 2, 50], dtype="float32"), WHOLE),
        (pd.Series([1, 0, 1], dtype="int64"), {"type": "boolean"}),
        (pd.Series([True, False, True]), YES_NO),
        (pd.Series([True, None, False], dtype="boolean"), YES_NO),
        (pd.Series([True, None, False], dtype="object"), YES_NO),
        (pd.Series(["a", None, "c"], dtype=STRINGS), ABC),
        (pd.Series(["a", None, "c"], dtype="object"), ABC),
        (pd.Series(["a", "b"], dtype=pd.CategoricalDtype(["a", "b", "c"])), ABC),
        (pd.Series([3, 1], dtype=pd.CategoricalDtype([1, 2, 3])), LISTED),
        (
            pd.Series(["a", "c"], dtype=pd.CategoricalDtype(["a", "b", "c"], ordered=True)),
            {**ABC, "ordered": True},
        ),
        (pd.Series([1, 3], dtype="int64"), LISTED),
        (pd.Series([DAY, None], dtype="datetime64[ns]"), DAYS),
        (pd.Series([DAY, None], dtype="datetime64[ns]"), {**DAYS, "format": "%d.%m.%Y"}),
        (pd.Series([dt.date(2024, 5, 6)], dtype="object"), {**DAYS, "format": "%d.%m.%Y"}),
        (pd.Series([DAY + pd.Timedelta(hours=5)], dtype="datetime64[us]"), MOMENTS),
        (
            pd.Series([DAY + pd.Timedelta(hours=5), None]).dt.tz_localize("Europe/Berlin"),
            {**MOMENTS, "zone": "Europe/Berlin"},
        ),
        (
            pd.Series([DAY + pd.Timedelta(hours=5)]).dt.tz_localize("America/New_York"),
            {**MOMENTS, "zone": "UTC"},
        ),
        (pd.Series([pd.Timedelta(hours=25), None], dtype="timedelta64[ns]"), DURATIONS),
        (pd.Series([dt.date(2024, 5, 6), None], dtype="object"), DAYS),
        (pd.Series([dt.time(7), None], dtype="object"), TIMES),
        (pd.Series([Decimal(7), Decimal(8)], dtype="object"), WHOLE),
    ],
)
def test_a_column_keeps_its_type_and_values(
    series: "pd.Series[Any]", keys: dict[str, object]
) -> None:
    again = there_and_back(series, keys)
    assert again.dtype == series.dtype
    assert again.isna().tolist() == series.isna().tolist()
    pairs = list(zip(again.dropna(), series.dropna(), strict=True))
    assert all(one == other and type(one) is type(other) for one, other in pairs)


@pytest.mark.parametrize(
    ("decoded", "dtype"),
    [
        (pd.Series([1, None], dtype="Int64"), "int64"),
        (pd.Series([1, 300], dtype="int64"), "int8"),
        (pd.Series([1.5, 2.0]), "int64"),
        (pd.Series([1, "refused"], dtype="object"), "int64"),
        (pd.Series(["maybe", "true"], dtype="object"), "bool"),
        (pd.Series(["a", "b"], dtype="object"), "datetime64[ns]"),
        (pd.Series(["a", "b"], dtype="object"), "no type at all"),
    ],
)
def test_a_type_that_would_lose_a_value_is_not_taken(decoded: "pd.Series[Any]", dtype: str) -> None:
    schema = Schema(schema_from_dict({"x": 2}).layout)
    found = with_dtypes(pd.DataFrame({"x": decoded}), {"x": dtype, "gone": "int8"}, schema)
    pd.testing.assert_frame_equal(found, pd.DataFrame({"x": decoded}))


def test_categories_are_those_of_the_schema_and_not_of_the_data() -> None:
    series = pd.Series(["a", "b"], dtype=pd.CategoricalDtype(["a", "b", "a rare one"]))
    again = there_and_back(series, {**ABC, "other": "else"})
    assert again.cat.categories.tolist() == ["a", "b", "c", "else"]
