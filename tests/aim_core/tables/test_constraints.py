"""Constraints of schemas: what they rule out, what values they are drawn in, what they count."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from aim_core.arrays import BoolArray
from aim_core.counts.marginals import count_marginals
from aim_core.domain import Domain
from aim_core.errors import SchemaError
from aim_core.models.descent import MirrorDescent
from aim_core.models.measurement import Measurement
from aim_core.tables.cells import frame_cells
from aim_core.tables.misfits import Misfits
from aim_core.tables.schema import Schema
from aim_core.tables.schema_file import load_schema, save_schema, schema_from_dict

Keys = dict[str, object]


def integer(name: str, edges: Sequence[int], **keys: object) -> Keys:
    return {"name": name, "type": "integer", "edges": list(edges), **keys}


def order(left: str, right: str, *, strict: bool = False) -> Keys:
    return {"type": "order", "columns": [left, right], **({"strict": True} if strict else {})}


def schema_of(columns: list[Keys], *constraints: Keys) -> Schema:
    return schema_from_dict({"columns": columns, "constraints": list(constraints)})


def allowed_in(domain: Domain, number: int = 0) -> BoolArray:
    zeros = domain.zeros[number]
    return np.frombuffer(zeros.allowed, dtype=bool).reshape(domain.shape(zeros.clique))


def every_row(domain: Domain) -> np.ndarray:
    return np.array(list(itertools.product(*(range(size) for size in domain.sizes))))


def possible_rows(schema: Schema) -> np.ndarray:
    """Return all rows of codes that no constraint rules out."""
    rows, domain = every_row(schema.domain), schema.domain
    for zeros in domain.zeros:
        cells = np.ravel_multi_index(
            rows[:, domain.positions(zeros.clique)].T, domain.shape(zeros.clique)
        )
        rows = rows[np.frombuffer(zeros.allowed, dtype=bool)[cells]]
    return rows


DATES: Keys = {"type": "date", "min": "2021-01-01", "max": "2021-12-31", "unit": "month"}
SEX: list[Keys] = [
    {"name": "male", "type": "boolean", "missing": True},
    {"name": "pregnant", "type": "boolean"},
]
NO_PREGNANT_MEN: Keys = {"type": "forbidden", "values": {"pregnant": [True], "male": ["yes"]}}


def test_bins_are_allowed_together_if_some_of_their_values_are_in_order() -> None:
    schema = schema_of(
        [integer("a", [0, 5, 10], missing=True), integer("b", [0, 4, 5, 10])], order("a", "b")
    )
    assert schema.domain.zeros[0].clique == ("a", "b")
    # a: 0-4, 5-10, missing; b: 0-3, 4, 5-10
    np.testing.assert_array_equal(allowed_in(schema.domain), [[1, 1, 1], [0, 0, 1], [1, 1, 1]])


def test_strict_order_rules_out_what_can_only_be_equal() -> None:
    columns = [integer("a", [0, 1, 3]), integer("b", [0, 1, 3])]  # 0; 1 to 3
    strict = schema_of(columns, order("a", "b", strict=True))
    np.testing.assert_array_equal(allowed_in(strict.domain), [[0, 1], [0, 1]])
    np.testing.assert_array_equal(
        allowed_in(schema_of(columns, order("a", "b")).domain), [[1, 1], [0, 1]]
    )


def test_zeros_are_in_column_order_whichever_column_comes_first() -> None:
    columns = [integer("a", [0, 1, 2, 3]), integer("b", [0, 1, 2, 3])]
    forwards = allowed_in(schema_of(columns, order("a", "b")).domain)
    backwards = schema_of(columns, order("b", "a")).domain
    assert backwards.zeros[0].clique == ("a", "b")
    np.testing.assert_array_equal(allowed_in(backwards), forwards.T)


def test_what_a_bin_cannot_hold_does_not_count() -> None:
    # Of [10, 20) only 10 to 19.9 are drawn, of [0, 10) nothing reaches 10.
    real: Keys = {"type": "continuous", "edges": [0.0, 10.0, 20.0], "decimals": 1}
    schema = schema_of([{"name": "a", **real}, {"name": "b", **real}], order("a", "b"))
    np.testing.assert_array_equal(allowed_in(schema.domain), [[1, 1], [0, 1]])
    # Multiples of 25 in 90 to 110 and in 95 to 120: 100 in both, so none is above the other.
    stepped = schema_of(
        [integer("a", [90, 110], step=25), integer("b", [95, 120], step=25)], order("b", "a")
    )
    assert stepped.domain.zeros == ()
    with pytest.raises(SchemaError, match="no value of the one"):
        schema_of(
            [integer("a", [90, 110], step=25), integer("b", [95, 120], step=25)],
            order("b", "a", strict=True),
        )


def test_listed_numbers_special_and_other_codes() -> None:
    columns: list[Keys] = [
        integer("a", [1, 10], values=[0, 50], special=["999"], other="odd", missing=True),
        {"name": "b", "type": "continuous", "min": 0.0, "max": 20.0, "bins": 2},
    ]
    allowed = allowed_in(schema_of(columns, order("a", "b")).domain)
    # codes of a: 0, 50, 1 to 10, 999, odd, missing
    np.testing.assert_array_equal(allowed, [[1, 1], [0, 0], [1, 1], [1, 1], [1, 1], [1, 1]])


def test_ordered_categories_can_be_compared() -> None:
    grades: Keys = {"type": "categorical", "values": ["low", "mid", "high"], "ordered": True}
    schema = schema_of([{"name": "a", **grades}, {"name": "b", **grades}], order("a", "b"))
    np.testing.assert_array_equal(allowed_in(schema.domain), np.tri(3).T)


def test_forbidden_combinations() -> None:
    schema = schema_of(SEX, NO_PREGNANT_MEN)
    assert schema.domain.zeros[0].clique == ("male", "pregnant")
    np.testing.assert_array_equal(allowed_in(schema.domain), [[1, 1], [1, 0], [1, 1]])


def test_values_are_named_as_written_or_by_their_code() -> None:
    columns: list[Keys] = [
        integer("age", [0, 18, 65, 90], special=["-9"], missing=True),
        {"name": "job", "type": "categorical", "values": ["none", "some"], "other": "odd"},
        integer("n", [0, 5], values=[7]),
    ]
    for named, codes in [
        (["0 to 17", "missing"], [0, 4]),
        (["-9", "65 to 90"], [2, 3]),
        (["NA"], [4]),
    ]:
        keys: Keys = {"type": "forbidden", "values": {"age": named, "job": ["some", "odd"]}}
        allowed = allowed_in(schema_of(columns, keys).domain)
        expected = np.ones((5, 3))
        expected[np.ix_(codes, [1, 2])] = 0
        np.testing.assert_array_equal(allowed, expected)
    one = schema_of(columns, {"type": "forbidden", "values": {"n": [7.0]}})
    np.testing.assert_array_equal(allowed_in(one.domain), [0, 1])


AB = [integer("a", [0, 5, 10]), integer("b", [0, 5, 10])]
CITY: Keys = {"name": "city", "type": "categorical", "values": ["x", "y"]}
MOMENT: Keys = {"type": "datetime", "min": "2021-01-01T00:00", "max": "2021-02-01T00:00",
                "unit": "day"}  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "constraint", "text"),
    [
        (AB, {"type": "equal"}, "number 1 .*the types are order, forbidden"),
        (AB, {"type": "order", "columns": ["a"]}, "must name two columns"),
        (AB, {"type": "order", "columns": ["a", "a"]}, "must name two columns"),
        (AB, {"type": "order", "columns": ["a", "b"], "strict": "yes"}, "perhaps `strict`"),
        (AB, {"type": "order", "columns": ["a", "b"], "gap": 2}, "perhaps `strict`"),
        (AB, order("a", "zz"), r"a <= zz: .*no column 'zz'"),
        ([*AB, CITY], order("a", "city"), "cannot be compared"),
        ([CITY, {**CITY, "name": "town"}], order("city", "town"), "ordered = true"),
        ([{"name": "d", **DATES}, *AB], order("d", "a"), "cannot be compared"),
        (
            [{"name": "s", **MOMENT, "zone": "UTC"}, {"name": "t", **MOMENT}],
            order("s", "t"),
            "one type and zone",
        ),
        (
            [integer("a", [10, 20]), integer("b", [0, 5], missing=True)],
            order("a", "b"),
            "no value of the one is in order",
        ),
        (AB, {"type": "forbidden", "values": {}}, "a list for each"),
        (AB, {"type": "forbidden", "values": {"a": []}}, "must list texts or numbers for 'a'"),
        (AB, {"type": "forbidden", "values": {"a": "0 to 4"}}, "must list texts"),
        (AB, {"type": "forbidden", "values": {"zz": ["1"]}}, "no column 'zz'"),
        (AB, {"type": "forbidden", "values": {"a": ["3"]}}, "one of several values of the code"),
        (AB, {"type": "forbidden", "values": {"a": ["77"]}}, "is not a whole number"),
        (AB, {"type": "forbidden", "values": {"a": ["missing"]}}, "is not a whole number"),
        (AB, {"type": "forbidden", "values": {"a": ["0 to 4", "5 to 10"]}}, "allows nothing"),
        (
            [integer("a", range(9000)), integer("b", range(9000))],
            order("a", "b"),
            "combinations, and 16,777,216 are allowed",
        ),
    ],
)
def test_constraints_that_make_no_sense_are_refused(
    columns: list[Keys], constraint: Keys, text: str
) -> None:
    with pytest.raises(SchemaError, match=text):
        schema_of(columns, constraint)


def test_orders_in_a_circle_and_other_shapes_of_the_key_are_refused() -> None:
    with pytest.raises(SchemaError, match="into a circle"):
        schema_of(AB, order("a", "b"), order("b", "a"))
    for wrong in ({"type": "order"}, "order"):
        with pytest.raises(SchemaError, match="must be a list"):
            schema_from_dict({"columns": AB, "constraints": wrong})
    with pytest.raises(SchemaError, match="number 1"):
        schema_from_dict({"columns": AB, "constraints": ["order"]})


def test_constraints_survive_a_schema_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("schemas")
    schema = schema_of([*AB, *SEX], order("a", "b", strict=True), NO_PREGNANT_MEN)
    for name in ("schema.toml", "schema.json"):
        save_schema(schema, folder / name)
        assert load_schema(folder / name) == schema
        assert load_schema(folder / name).domain == schema.domain
    assert schema_of(AB).to_dict() == {"columns": schema_of(AB).to_dict()["columns"]}


def in_order(table: pd.DataFrame, *names: str) -> bool:
    pairs = itertools.pairwise(table[name] for name in names)
    return all(((left <= right) | left.isna() | right.isna()).all() for left, right in pairs)


def test_values_within_bins_are_drawn_in_order() -> None:
    columns = [{"name": "start", **DATES}, {"name": "end", **DATES, "missing": True}]
    schema = schema_of(columns, order("start", "end"))
    rows = np.repeat(possible_rows(schema), 40, axis=0)
    assert len(rows) == 40 * (78 + 12)
    table = schema.decode(rows, np.random.default_rng(0))
    assert in_order(table, "start", "end")
    np.testing.assert_array_equal(schema.encode(frame_cells(table)), rows)


def test_draws_in_one_bin_are_uniform_over_what_is_in_order() -> None:
    schema = schema_of([integer("a", [0, 3]), integer("b", [0, 3])], order("a", "b", strict=True))
    rows = np.zeros((60_000, 2), dtype=int)
    table = schema.decode(rows, np.random.default_rng(1))
    pairs = [(a, b) for a in range(4) for b in range(4) if a < b]
    counts = table.value_counts().reindex(pairs)
    assert counts.sum() == len(rows)
    chi_square = ((counts - 10_000) ** 2 / 10_000).sum()
    assert chi_square < 40.0  # five degrees of freedom: p = 1.5e-7


def test_bins_that_touch_in_one_value_get_it() -> None:
    schema = schema_of([integer("a", [1000, 2000]), integer("b", [0, 1000])], order("a", "b"))
    table = schema.decode(np.zeros((50, 2), dtype=int), np.random.default_rng(2))
    assert table.to_numpy().tolist() == [[1000, 1000]] * 50


@pytest.mark.parametrize("strict", [False, True])
def test_chains_of_orders(strict: bool) -> None:
    names = ["a", "b", "c", "d"]
    columns = [integer(name, [0, 10, 20]) for name in names]
    orders = [order(left, right, strict=strict) for left, right in itertools.pairwise(names)]
    schema = schema_of(columns, *orders)
    rows = np.repeat(possible_rows(schema), 300, axis=0)
    table = schema.decode(rows, np.random.default_rng(3))
    values = table[names].to_numpy()
    assert (np.diff(values, axis=1) >= strict).all()
    np.testing.assert_array_equal(schema.encode(frame_cells(table)), rows)


def test_a_row_that_no_draw_brings_in_order_copies_another() -> None:
    # a <= b <= c hold for each pair of these bins, but not for all three: 6 <= b <= 5.
    columns = [integer("a", [0, 6, 8]), integer("b", [0, 10]), integer("c", [0, 6, 20])]
    schema = schema_of(columns, order("a", "b"), order("b", "c"))
    rows = np.array([[1, 0, 0], [0, 0, 1], [1, 0, 1]] * 20)
    table = schema.decode(rows, np.random.default_rng(4))
    assert in_order(table, "a", "b", "c")
    assert (table.c[::3] >= 6).all()


def test_other_types_of_columns_are_drawn_in_order() -> None:
    time: Keys = {"type": "time", "min": "00:00:00", "max": "23:59:00", "bins": 6, "step": "1min"}
    price: Keys = {"type": "continuous", "min": 0.0, "max": 5.0, "bins": 3, "step": 0.05}
    columns: list[Keys] = [
        {"name": "from", **time, "format": "hhmm", "special": ["9999"]},
        {"name": "to", **time, "format": "hhmm", "missing": True},
        {"name": "low", **price, "special": ["unknown"], "values": [0.0]},
        {"name": "high", **price, "missing": True},
    ]
    schema = schema_of(columns, order("from", "to"), order("low", "high", strict=True))
    rows = np.repeat(possible_rows(schema), 5, axis=0)
    table = schema.decode(rows, np.random.default_rng(5))
    times = table[(table["from"] != 9999) & table["to"].notna()]
    assert (times["from"] <= times["to"]).all()
    prices = table[(table.low != "unknown") & table.high.notna()]
    assert (prices.low.astype(float) < prices.high).all()
    multiples = table.high.dropna() / 0.05
    np.testing.assert_allclose(multiples, multiples.round(), atol=1e-9)
    assert (table["from"] == 9999).sum() == (rows[:, 0] == 6).sum()


def test_dates_in_a_format_are_compared_as_dates() -> None:
    columns = [{"name": name, **DATES, "format": "%d.%m.%Y"} for name in ("s", "e")]
    schema = schema_of(columns, order("s", "e"))
    rows = np.repeat(possible_rows(schema), 20, axis=0)
    table = schema.decode(rows, np.random.default_rng(6))
    start, end = (pd.to_datetime(table[name], format="%d.%m.%Y") for name in ("s", "e"))
    assert (start <= end).all()


def test_rows_whose_codes_break_an_order_are_decoded_as_they_are() -> None:
    schema = schema_of(AB, order("a", "b"))
    table = schema.decode(np.array([[1, 0]] * 3), np.random.default_rng(0))
    assert (table.a >= 5).all()
    assert (table.b <= 4).all()


def test_without_orders_nothing_is_drawn_anew() -> None:
    rows = every_row(schema_of(AB).domain)
    plain = schema_of(AB).decode(rows, np.random.default_rng(7))
    other: Keys = {"type": "forbidden", "values": {"a": ["5 to 10"], "b": ["0 to 4"]}}
    constrained = schema_of(AB, other).decode(rows, np.random.default_rng(7))
    pd.testing.assert_frame_equal(plain, constrained)


def test_a_holder_is_told_how_many_rows_break_a_constraint_and_keeps_them() -> None:
    schema = schema_of(
        [integer("a", [0, 10], special=["99"], missing=True), integer("b", [0, 10]), *SEX],
        order("a", "b"),
        NO_PREGNANT_MEN,
    )
    table = pd.DataFrame(
        {
            "a": ["3", "4", "99", "", "9"],
            "b": ["2", "4", "1", "1", "1"],
            "male": ["yes", "yes", "no", "", "no"],
            "pregnant": ["no", "yes", "yes", "yes", "no"],
        }
    )
    misfits = Misfits()
    codes = schema.encode_collecting(frame_cells(table), misfits, 1)
    schema.encode_collecting(frame_cells(table), misfits, 6)
    assert len(codes) == 5
    assert not misfits
    order_line, forbidden_line = misfits.notices()
    assert order_line == "4 rows break the constraint a <= b; counted all the same"
    assert forbidden_line.startswith("2 rows break the constraint never pregnant = True with male")


def test_a_fitted_model_and_its_table_respect_all_constraints() -> None:
    columns: list[Keys] = [
        {"name": "start", **DATES},
        {"name": "end", **DATES},
        *SEX,
        integer("n", [0, 5, 10, 20]),
    ]
    schema = schema_of(columns, order("start", "end"), NO_PREGNANT_MEN)
    generator = np.random.default_rng(8)
    real = generator.integers(0, schema.domain.sizes, (500, 5))  # breaks them often
    cliques = [("start", "n"), ("male", "pregnant", "n"), ("end",)]
    counts = count_marginals([real], schema.domain, cliques)
    measured = [
        Measurement(c, v + np.rint(generator.normal(0, 3, v.size)), 9.0) for c, v in counts.items()
    ]
    model = MirrorDescent(200).fit(schema.domain, measured, None)
    for seed in range(20):
        rows = model.sample(500, np.random.default_rng(seed))
        table = schema.decode(rows, np.random.default_rng(seed))
        assert in_order(table, "start", "end")
        assert not ((table.male == "true") & (table.pregnant == "true")).any()
