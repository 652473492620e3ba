import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aim_core.errors import SchemaError
from aim_core.tables.drafting import DraftedSchema, draft_schema
from aim_core.tables.files.reading import encoded_chunks
from aim_core.tables.schema_file import load_schema, schema_from_dict
from tests.support.public_tables import public_file


def drafted(tmp_path: Path, columns: dict[str, list[Any]], **options: int) -> DraftedSchema:
    path = tmp_path / "t.csv"
    pd.DataFrame({name: pd.Series(values) for name, values in columns.items()}).to_csv(
        path, index=False
    )
    draft = draft_schema(path, **options)
    # whatever is drafted must read back and take its own table
    assert schema_from_dict(tomllib.loads(draft.to_toml())) == draft.schema
    list(encoded_chunks(path, draft.schema))
    return draft


def keys_of(draft: DraftedSchema, name: str) -> dict[str, Any]:
    found = next(column for column in draft.schema.columns if column.name == name).to_dict()
    return {key: value for key, value in found.items() if key != "name"}


def test_types_are_inferred(tmp_path: Path) -> None:
    n = 120
    draft = drafted(
        tmp_path,
        {
            "flag": ["Yes", "No", ""] * 40,
            "few": [3, 7, 5] * 40,
            "many": list(range(17, 17 + 2 * n, 2)),
            "real": [f"{x / 7:.3f}" for x in range(n)],
            "zip": ["01234", "56789"] * 60,
            "day": [f"2024-{1 + x % 12:02d}-15" for x in range(n)],
            "work": ["?", "private, own", "państwo"] * 40,
        },
    )
    assert keys_of(draft, "flag") == {
        "type": "boolean",
        "true": ["Yes"],
        "false": ["No"],
        "missing": True,
    }
    assert keys_of(draft, "few") == {"type": "integer", "values": [3, 5, 7]}
    many = {"type": "integer", "edges": list(range(10, 261, 10))}
    assert keys_of(draft, "many") == many
    real = {"type": "continuous", "edges": [float(x) for x in range(18)], "step": 0.001}
    assert keys_of(draft, "real") == real
    assert keys_of(draft, "zip")["values"] == ["01234", "56789"]
    day = {"type": "date", "min": "2024-01-01", "max": "2024-12-31", "unit": "month"}
    assert keys_of(draft, "day") == day
    assert keys_of(draft, "work")["values"] == ["państwo", "private, own"]
    assert keys_of(draft, "work")["missing_values"] == ["?"]


def test_what_came_from_the_data_is_marked(tmp_path: Path) -> None:
    draft = drafted(tmp_path, {"a": ["x", "y"], "b": [1.5, None]})
    text = draft.to_toml()
    assert text.startswith("# DRAFT SCHEMA - NOT PRIVATE UNTIL REVIEWED")
    for name in ("a", "b"):
        before = text[: text.index(f'name = "{name}"')]
        assert "taken from the data" in before.splitlines()[-1]


def test_useless_columns_are_dropped_with_the_reason(tmp_path: Path) -> None:
    draft = drafted(
        tmp_path,
        {
            "id": list(range(5, 205)),
            "name": [f"person {x}" for x in range(200)],
            "empty": [None] * 200,
            "b": [0, 1] * 100,
        },
    )
    assert draft.schema.domain.attributes == ("b",)
    assert draft.schema.drop == ("id", "name", "empty")
    assert "running number" in draft.dropped["id"]
    assert "100 different texts" in draft.dropped["name"]
    assert "no values" in draft.dropped["empty"]
    assert "# name: more than" in draft.to_toml()


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"no column of .* can be drafted"):
        drafted(tmp_path, {"name": list("abc")}, max_categories=2)
    with pytest.raises(SchemaError, match="at least 1 bin"):
        drafted(tmp_path, {"name": list("abc")}, bins=0)


def test_later_chunks_count_too(tmp_path: Path) -> None:
    n = 70_000
    kinds = ["x"] * (n - 1) + ["y"]
    draft = drafted(
        tmp_path,
        {
            "id": list(range(n)),
            "broken": [*range(n - 1), 0],
            "kind": kinds,
            "real": [0] * (n - 1) + [0.5],
        },
    )
    assert draft.schema.drop == ("id",)
    assert keys_of(draft, "broken") == {"type": "integer", "edges": list(range(0, n + 1, 5000))}
    assert keys_of(draft, "kind")["values"] == ["x", "y"]
    assert keys_of(draft, "real")["type"] == "continuous"


values = st.one_of(
    st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=40),
    st.lists(st.integers(-(2**60), 2**60), min_size=1, max_size=40),
    st.lists(st.dates().map(str), min_size=1, max_size=40),
    st.lists(
        st.none() | st.integers(-3, 3) | st.sampled_from(["1.0", "x", "TRUE", "inf"]), max_size=40
    ).filter(lambda v: any(x is not None for x in v)),
)


@given(values, st.integers(1, 40))
@example([148778936006.39062, 1.875], 1)
def test_a_draft_takes_its_own_table(
    tmp_path_factory: pytest.TempPathFactory, column: list[object], bins: int
) -> None:
    drafted(tmp_path_factory.mktemp("draft"), {"v": column, "w": ["k"] * len(column)}, bins=bins)


def test_magic_drafts_and_encodes_whole(tmp_path: Path) -> None:
    path = public_file("magic.csv")
    file = tmp_path / "schema.toml"
    file.write_text(draft_schema(path).to_toml())
    schema = load_schema(file)
    assert max(schema.domain.sizes) <= 34
    assert schema.domain.sizes[-1] == 2
    codes = np.vstack(list(encoded_chunks(path, schema)))
    assert codes.shape == (19_020, 11)
