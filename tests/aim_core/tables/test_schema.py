import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aim_core.arrays import CodeTable
from aim_core.errors import SchemaError, TableError
from aim_core.tables.cells import Cells, frame_cells
from aim_core.tables.columns.base import Column
from aim_core.tables.columns.listed import BooleanColumn, CategoricalColumn, CodedColumn
from aim_core.tables.columns.numbers import ContinuousColumn, IntegerColumn
from aim_core.tables.columns.temporal import DateColumn, DatetimeColumn, DurationColumn, TimeColumn
from aim_core.tables.schema import Schema
from aim_core.tables.schema_file import load_schema, save_schema, schema_from_dict
from tests.support.public_tables import public_file

DAY = 738_000


def one(keys: Mapping[str, object]) -> Column:
    return schema_from_dict({"columns": [{"name": "x", **keys}]}).columns[0]


def codes(keys: Mapping[str, object], *values: str | None) -> list[int]:
    found: list[int] = one(keys).encode(Cells.of(values)).codes.tolist()
    return found


def encode(schema: Schema, frame: pd.DataFrame) -> CodeTable:
    return schema.encode(frame_cells(frame))


flags = st.booleans()
edges = st.lists(st.floats(-1e9, 1e9, width=32), min_size=2, max_size=6, unique=True).map(sorted)
whole_edges = st.lists(st.integers(-(10**9), 10**9), min_size=2, max_size=6, unique=True).map(
    sorted
)
labels = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).map(
        lambda t: f"«{t}»"
    ),
    min_size=1,
    max_size=6,
    unique_by=str.casefold,
)
numbers = st.lists(st.integers(-50, 50), max_size=4, unique=True).map(tuple)
plain_columns = st.one_of(
    st.builds(
        lambda missing, low, width, step, values: IntegerColumn(
            "x",
            missing,
            low,
            low + step * width,
            min(width, 7),
            values=values,
            step=step,
            clip=True,
        ),
        flags,
        st.integers(-1000, 1000),
        st.integers(20, 300),
        st.sampled_from([1, 2, 3]),
        numbers,
    ),
    st.builds(
        lambda values: IntegerColumn("x", False, values=(7, *values)),
        numbers.filter(lambda v: 7 not in v),
    ),
    st.builds(
        lambda low, step, values: ContinuousColumn(
            "x", True, low, low + 40 * step, 9, step=step, values=tuple(v / 4 for v in values)
        ),
        st.integers(-1000, 1000),
        st.sampled_from([0.05, 0.25, 2.5, 25.0]),
        numbers,
    ),
    st.builds(
        lambda low, width, unit, form: DateColumn("x", False, low, low + width, unit, format=form),
        st.integers(720_000, DAY),
        st.integers(0, 2000),
        st.sampled_from(["day", "week", "month", "quarter", "year"]),
        st.sampled_from(["%d.%m.%Y", "%Y%m%d", "%m/%d/%Y", "%-d %b %Y"]),
    ),
    st.builds(
        lambda low, width, unit, step, zone, form: DatetimeColumn(
            "x", True, low, low + width * 86400 * 7, unit, step=step, zone=zone, format=form
        ),
        st.integers(720_000 * 96, DAY * 96).map(lambda quarter: quarter * 900),
        st.integers(1, 20),
        st.sampled_from(["hour", "day", "week", "month"]),
        st.sampled_from([1, 60, 900]),
        st.sampled_from([None, "UTC", "+02:00"]),
        st.sampled_from([None, "%Y-%m-%d %H:%M:%S", "%d/%m/%y %H:%M:%S"]),
    ),
    st.builds(
        lambda step, bins, form: TimeColumn("x", False, 3600, 86399, bins, step=step, format=form),
        st.sampled_from([60, 300, 1800]),
        st.integers(1, 20),
        st.sampled_from([None, "%H:%M", "%H%M", "hhmm"]),
    ),
    st.builds(
        lambda low, bins, form: DurationColumn("x", True, low, low + 10**6, bins, format=form),
        st.integers(-(10**6), 10**6),
        st.integers(1, 20),
        st.sampled_from([None, "days", "clock", "iso"]),
    ),
    st.builds(CategoricalColumn, st.just("x"), flags, labels.map(tuple)),
    st.builds(BooleanColumn, st.just("x"), flags),
    st.builds(CodedColumn, st.just("x"), flags, st.integers(1, 50)),
    st.builds(IntegerColumn, st.just("x"), flags, edges=whole_edges.map(tuple)),
    st.builds(
        lambda missing, low, width, bins: IntegerColumn("x", missing, low, low + width, bins),
        flags,
        st.integers(-1000, 1000),
        st.integers(20, 300),
        st.none() | st.integers(1, 20),
    ),
    st.builds(
        ContinuousColumn,
        st.just("x"),
        flags,
        edges=edges.map(tuple),
        decimals=st.none() | st.integers(0, 6),
    ),
    st.builds(
        lambda missing, low, width, bins: ContinuousColumn("x", missing, low, low + width, bins),
        flags,
        st.floats(-1000, 1000),
        st.floats(0.01, 1e6),
        st.integers(1, 40),
    ),
    st.builds(
        lambda missing, low, width, unit: DateColumn("x", missing, low, low + width, unit),
        flags,
        st.integers(1, DAY),
        st.integers(0, 2000),
        st.sampled_from(["day", "week", "month", "quarter", "year"]),
    ),
)


some_columns = st.builds(
    lambda column, exceptions: dataclasses.replace(column, **exceptions),
    plain_columns,
    st.sampled_from(
        [
            {},
            {"special": ("-99999", "not asked")},
            {"missing": True, "missing_values": (".", "-77777"), "other": "any other"},
        ]
    ),
)


@given(some_columns, st.integers(0, 10**6))
@example(CategoricalColumn("x", False, ("«\U0002f800»",)), 0)
@settings(max_examples=300)
def test_decoding_stays_in_the_code(column: Column, seed: int) -> None:
    schema = Schema((column,))
    generator = np.random.default_rng(seed)
    every = np.tile(np.arange(column.size, dtype=np.int32), 3)[:, None]
    frame = schema.decode(every, generator)
    np.testing.assert_array_equal(encode(schema, frame), every)
    through_csv = pd.DataFrame({"x": [None if pd.isna(v) else str(v) for v in frame["x"]]})
    np.testing.assert_array_equal(encode(schema, through_csv), every)


@given(st.lists(some_columns, min_size=1, max_size=4), st.sampled_from(["toml", "json"]))
def test_files_round_trip(
    tmp_path_factory: pytest.TempPathFactory, columns: list[Column], suffix: str
) -> None:
    named = [{**column.to_dict(), "name": f'c"{i}\n'} for i, column in enumerate(columns)]
    schema = schema_from_dict({"columns": named, "drop": ["id", "näme"]})
    path = tmp_path_factory.mktemp("schema") / f"schema.{suffix}"
    save_schema(schema, path)
    assert load_schema(path) == schema


def test_numeric_categories_match_in_any_spelling() -> None:
    keys = {"type": "categorical", "values": [1, "2.50", "01", "a b"]}
    assert codes(keys, "1", "1.0", " 1.0e+0 ", "2.5", "01", " a b", "A b") == [0, 0, 0, 1, 2, 3, -1]
    frame = pd.DataFrame({"x": [1.0, 2.5]})
    schema = schema_from_dict({"columns": [{"name": "x", **keys}]})
    assert encode(schema, frame).ravel().tolist() == [0, 1]


@pytest.mark.parametrize("values", [["1", "1.0"], ["True", "TRUE"], [" a", "a"], ["a", ""], []])
def test_categories_that_cannot_be_told_apart(values: list[str]) -> None:
    with pytest.raises(SchemaError, match="'x'"):
        one({"type": "categorical", "values": values})


def test_listed_missing_texts_are_categories() -> None:
    keys = {"type": "categorical", "values": ["NA", "b"], "missing": True}
    assert codes(keys, "NA", "", None, "nan", "c") == [0, 2, 2, 2, -1]


def test_missing_without_a_code_is_told_from_a_misfit() -> None:
    texts = ("2", "3", "-1", "", None, "1.5")
    assert codes({"type": "coded", "size": 3}, *texts) == [2, -1, -1, -2, -2, -1]


def test_integers() -> None:
    keys = {"type": "integer", "min": -1, "max": 3}
    assert codes(keys, "-1", "3", "3.0", "+2", "4", "2.5", "1_0", "9" * 400) == [
        0,
        4,
        4,
        3,
        *[-1] * 4,
    ]
    binned = {"type": "integer", "min": 0, "max": 9, "bins": 3}
    assert codes(binned, *map(str, range(10))) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert codes({"type": "integer", "edges": [0, 5, 6]}, "4", "5", "6", "7") == [0, 1, 1, -1]


def test_continuous_outer_edges_and_infinity() -> None:
    keys = {"type": "continuous", "min": 0, "max": 1, "bins": 10}
    texts = ("0", "0.3", "0.29999", "1", "1.0000001", "-0.001", "inf", "1e999", "x")
    assert codes(keys, *texts) == [0, 3, 2, 9, *[-1] * 5]
    frame = pd.DataFrame({"x": [np.inf, 0.5, np.nan]})
    with pytest.raises(TableError, match=r"(?s)1 value is not a number.*1 value is missing"):
        encode(schema_from_dict({"columns": [{"name": "x", **keys}]}), frame)


def test_equal_width_edges_are_exact_decimals() -> None:
    column = one({"type": "continuous", "min": 0, "max": 1, "bins": 10})
    assert isinstance(column, ContinuousColumn)
    assert column.bins.edges.tolist() == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]


def test_dates() -> None:
    keys = {"type": "date", "min": "2024-01-15", "max": "2024-03-02", "unit": "month"}
    texts = ("2024-01-15", "2024/01/31", "2024-02-29 23:59:59", "2024-03-02", "2024-03-03")
    assert codes(keys, *texts, "2024-02-30", "24-02-01") == [0, 0, 1, 2, -1, -1, -1]
    weeks = {"type": "date", "min": "2024-01-03", "max": "2024-01-15", "unit": "week"}
    assert codes(weeks, "2024-01-03", "2024-01-07", "2024-01-08", "2024-01-15") == [0, 0, 1, 2]
    far = one({"type": "date", "min": "0001-01-01", "max": "9999-12-31", "unit": "year"})
    assert far.size == 9999
    frame = pd.DataFrame({"x": pd.to_datetime(["2024-02-01 00:00", "2024-01-20 10:00"])})
    assert encode(schema_from_dict({"columns": [{"name": "x", **keys}]}), frame).tolist() == [
        [1],
        [0],
    ]


def test_booleans() -> None:
    assert codes({"type": "boolean"}, "Yes", "F", "1.0", "0", "maybe") == [1, 0, 1, 0, -1]
    own = {"type": "boolean", "true": ["Ja"], "false": ["Nein"]}
    assert codes(own, "ja", "NEIN", "yes") == [1, 0, -1]
    schema = schema_from_dict({"columns": [{"name": "x", "type": "boolean", "missing": True}]})
    frame = pd.DataFrame({"x": pd.Series([True, False, None], dtype="boolean")})
    assert encode(schema, frame).ravel().tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"type": "number"}, "unknown type 'number'"),
        ({}, "`type`"),
        ({"type": "integer", "min": 0}, "`min` and `max`"),
        ({"type": "integer", "min": 3, "max": 1}, "`min` <= `max`"),
        ({"type": "integer", "min": 0, "max": 3, "bins": 9}, "`bins` between 1 and 4"),
        ({"type": "integer", "min": 0, "max": 10**9}, "`bins` between"),
        ({"type": "integer", "min": True, "max": 3}, "whole numbers"),
        ({"type": "integer", "edges": [0, 0]}, "rise"),
        ({"type": "integer", "edges": [0, 5], "bins": 2}, "stand alone"),
        ({"type": "integer", "min": 0, "max": 3, "zone": 1}, "no `zone`"),
        ({"type": "integer", "edges": [0, 7, 9, 20], "step": 5}, "from 7 to 8 has no multiple"),
        ({"type": "integer", "min": 0, "max": 3, "step": 0}, "above 0"),
        ({"type": "integer", "values": [1, 1]}, "distinct"),
        ({"type": "continuous", "min": 0, "max": 1, "bins": 4, "step": 0.6}, "no multiple"),
        ({"type": "continuous", "edges": [0, 1], "step": 0.1, "decimals": 1}, "not both"),
        ({"type": "datetime", "min": "2024", "max": "2025-01-01", "unit": "day"}, "wall times"),
        ({"type": "datetime", "edges": ["2024-01-01", "2024-02-01"], "zone": "Mars"}, "time zone"),
        ({"type": "date", "edges": ["2024-01-01", "2024-02-01"], "format": "%d.%m"}, "read back"),
        ({"type": "time", "min": "08:00", "max": "07:00", "bins": 2}, "`min` <= `max`"),
        ({"type": "time", "min": "08:00", "max": "08:01", "bins": 99, "step": "1min"}, "1 and 2"),
        ({"type": "time", "edges": ["08:00", "25:00"]}, "times like"),
        ({"type": "duration", "edges": ["0:00:00", "1:00:00"], "format": "x"}, "days, clock, iso"),
        ({"type": "categorical", "values": ["a"], "groups": {"a": ["b"]}}, "one of the two"),
        ({"type": "categorical", "groups": {"a": ["x"], "b": ["x"]}}, "two groups"),
        ({"type": "categorical", "groups": {"a": ["B..A"]}}, "the lower first"),
        ({"type": "boolean", "special": ["9", "9.0"]}, "distinct"),
        ({"type": "boolean", "special": [""]}, "empty"),
        ({"type": "boolean", "special": ["9"], "missing_values": ["9"]}, "distinct"),
        ({"type": "categorical", "values": ["a"], "other": "a"}, "something else"),
        ({"type": "categorical", "values": ["a"], "other": "NA", "missing": True}, "else"),
        ({"type": "boolean", "clip": True}, "no `clip`"),
        ({"type": "id", "digits": 99}, "1 to 18"),
        ({"type": "continuous", "min": 0.0, "max": 1.0}, "`bins`"),
        ({"type": "continuous", "min": 0.0, "max": float("inf"), "bins": 2}, "finite"),
        ({"type": "continuous", "min": 1.0, "max": 1.0000000000000002, "bins": 9}, "narrow"),
        ({"type": "continuous", "edges": [0, 1], "decimals": 99}, "decimals"),
        ({"type": "continuous", "edges": 3}, "must be a list"),
        ({"type": "date", "min": "2024-01-01", "max": "2024-02-01", "unit": "fortnight"}, "unit"),
        ({"type": "date", "min": "1.1.2024", "max": "2024-02-01", "unit": "day"}, "dates like"),
        ({"type": "boolean", "true": ["y"]}, "spelling"),
        ({"type": "boolean", "true": ["a"], "false": ["A"]}, "twice"),
        ({"type": "categorical"}, "`values`"),
        ({"type": "categorical", "values": [["a"]]}, "texts or numbers"),
        ({"type": "coded"}, "codes"),
        ({"type": "coded", "size": 3, "missing": "yes"}, "true or false"),
    ],
)
def test_bad_columns_are_refused_by_name(keys: dict[str, object], text: str) -> None:
    with pytest.raises(SchemaError, match=f"'x'.*{text}"):
        one(keys)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("s.json", "{", "not valid JSON"),
        ("s.toml", "a = ", "not valid TOML"),
        ("s.json", "[]", "empty"),
        ("s.json", '{"a": 2, "a": 3}', "'a' twice"),
        ("s.json", '{"a": true}', "unknown keys"),
        ("s.json", '{"a": 0}', "'a'"),
        ("s.json", '{"columns": []}', "at least one"),
        ("s.json", '{"columns": [{"type": "coded"}]}', "number 1.*`name`"),
        ("s.json", '{"columns": [{"name": "a", "type": "coded", "size": 2}], "x": 1}', "`x`"),
        ("s.json", '{"columns": [{"name": "a", "type": "coded", "size": 2}], "drop": "b"}', "drop"),
        ("s.json", '{"columns": [{"name": "a", "type": "boolean"}], "drop": ["a"]}', "drops a"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: str, text: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(SchemaError, match=text):
        load_schema(tmp_path / name)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="cannot read"):
        load_schema(tmp_path / "none.toml")


def test_plain_form() -> None:
    schema = schema_from_dict({"a": 3, "columns": 2})
    assert schema.domain.attributes == ("a", "columns")
    assert encode(schema, pd.DataFrame({"columns": [1], "a": ["2"]})).tolist() == [[2, 1]]
    assert schema_from_dict(json.loads(json.dumps(schema.to_dict()))) == schema


def test_adult_domain_file() -> None:
    path = public_file("adult-domain.json")
    assert load_schema(path).domain.sizes == tuple(json.loads(path.read_text()).values())


SCHEMA = schema_from_dict(
    {
        "drop": ["id"],
        "columns": [
            {"name": "age", "type": "integer", "min": 0, "max": 99},
            {"name": "sex", "type": "categorical", "values": ["f", "m"]},
        ],
    }
)


def test_column_order_is_free_and_dropped_columns_may_lack() -> None:
    frame = pd.DataFrame({"sex": ["m"], "id": [17], "age": [3]})
    assert encode(SCHEMA, frame).tolist() == [[3, 1]]
    assert encode(SCHEMA, frame.drop(columns="id")).tolist() == [[3, 1]]


def test_unknown_and_lacking_columns() -> None:
    with pytest.raises(TableError, match=r"lacks the schema's column 'sex'.*has column 'Sex'"):
        encode(SCHEMA, pd.DataFrame({"age": [1], "Sex": ["m"]}))


def test_misfits_are_counted_per_column_with_rows() -> None:
    frame = pd.DataFrame(
        {"age": ["5", "100", "x" * 99, "-1", "7.5"], "sex": ["f", "", "F", "f", "m"]}
    )
    with pytest.raises(TableError) as caught:
        encode(SCHEMA, frame)
    text = str(caught.value)
    assert "6 values in 2 columns" in text
    assert "age: 4 values are not a whole number from 0 to 99 (row 2: '100', row 3: 'xxx" in text
    assert "x" * 60 not in text
    assert "7.5" not in text
    assert "sex: 1 value is missing" in text


def test_decode_refuses_foreign_codes() -> None:
    generator = np.random.default_rng(1)
    for bad in ([[0, 2]], [[-1, 0]], [[0, 0, 0]]):
        with pytest.raises(TableError):
            SCHEMA.decode(np.array(bad), generator)


def test_decoded_types_and_uniform_draws() -> None:
    schema = schema_from_dict(
        {
            "columns": [
                {"name": "n", "type": "integer", "min": 0, "max": 9, "bins": 2, "missing": True},
                {"name": "r", "type": "continuous", "edges": [0, 1, 5], "decimals": 2},
                {"name": "d", "type": "date", "edges": ["2024-01-01", "2024-12-31"]},
            ]
        }
    )
    rows = np.tile([[1, 1, 0], [2, 0, 0]], (2000, 1))
    frame = schema.decode(rows, np.random.default_rng(5))
    assert str(frame["n"].dtype) == "Int64"
    assert frame["n"].isna().sum() == 2000
    counts = frame["n"].value_counts()
    assert set(counts.index) == {5, 6, 7, 8, 9}
    assert counts.min() > 320
    assert abs(frame["r"][::2].mean() - 3) < 0.1
    assert (frame["r"] * 100).round(6).map(float.is_integer).all()
    assert frame["d"].str.fullmatch(r"2024-\d\d-\d\d").all()
