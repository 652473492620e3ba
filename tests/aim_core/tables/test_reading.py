import gzip
import unicodedata
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aim_core.arrays import CodeTable
from aim_core.errors import TableError
from aim_core.tables.cells import frame_cells
from aim_core.tables.files.formats import TableFormat, TableSource
from aim_core.tables.files.reading import encoded_chunks, read_chunks
from aim_core.tables.schema_file import load_schema, schema_from_dict
from tests.support.cells_of import read_all, written
from tests.support.public_tables import public_file

WEIRD = 'name,note\n"Smith, J.","said ""no"""\nŻółć,"two\nlines"\n\n NA ,\n'


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lambda b: b"\xef\xbb\xbf" + b])
def test_csv_cells_are_texts_as_written(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    assert read_all(written(tmp_path, pack(WEIRD.encode()))) == {
        "name": ["Smith, J.", "Żółć", "NA "],
        "note": ['said "no"', "two\nlines", ""],
    }


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=12), st.integers(1, 5))
def test_csv_round_trip_in_chunks(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], n_rows: int
) -> None:
    rows = [(a, b.strip()) for a, b in rows]
    path = tmp_path_factory.mktemp("table") / "t.csv"
    pd.DataFrame([(a.lstrip(), b) for a, b in rows], columns=["a", "b"]).to_csv(
        path, index=False, quoting=1, lineterminator="\n"
    )
    as_it_is = TableFormat(separator=",", decimal=".", thousands="", header=True)
    source = TableSource(path, as_it_is)
    assert all(len(chunk["a"]) <= n_rows for chunk in read_chunks(source, n_rows))
    assert read_all(source, n_rows) == {
        "a": [unicodedata.normalize("NFC", a.lstrip()) for a, _ in rows],
        "b": [unicodedata.normalize("NFC", b) for _, b in rows],
    }


@pytest.mark.parametrize("n_rows", [255, 256, 257, 600])
def test_rows_keep_their_order_and_their_number(tmp_path: Path, n_rows: int) -> None:
    numbers = [str(number) for number in range(600)]
    path = written(tmp_path, "a,b\n" + "".join(f"{number},{number}\n" for number in numbers))
    assert read_all(path, n_rows) == {"a": numbers, "b": numbers}


def test_parquet_types_become_texts(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = pa.table(
        {
            "i": pa.array([2**60 + 1, None], pa.int64()),
            "f": pa.array([0.1, float("nan")]),
            "b": pa.array([True, None]),
            "d": pa.array([date(2024, 2, 29), None]),
            "t": pa.array([pd.Timestamp("2024-02-29 13:05"), None], pa.timestamp("us")),
            "c": pa.array(["ä", None]).dictionary_encode(),
            "m": pa.array([Decimal("1.50"), None]),
            "z": pa.nulls(2),
        }
    )
    pq.write_table(table, path)
    first, second = zip(*read_all(path, 1).values(), strict=True)
    assert first[:4] == (str(2**60 + 1), "0.1", "true", "2024-02-29")
    assert first[4].startswith("2024-02-29 13:05")
    assert first[5:] == ("ä", "1.50", None)
    assert [text for text in second if text is not None] == ["nan"]


def test_a_parquet_dictionary_brings_no_value_that_no_row_has(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"a": pd.Categorical(["x", None, "x"], categories=["rare", "x"])})
    frame.to_parquet(path)
    assert [list(chunk["a"].texts) for chunk in read_chunks(path)] == [["x"]]
    assert list(frame_cells(frame)["a"].texts) == ["x"]


def test_csv_and_parquet_encode_alike(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "n": [1.0, 2.0, None],
            "k": [1, 2, 3],
            "d": pd.to_datetime(pd.Series(["2024-01-01", None, "2024-12-31"])),
            "b": pd.Series([True, False, None], dtype="boolean"),
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    schema = schema_from_dict(
        {
            "columns": [
                {"name": "n", "type": "integer", "min": 0, "max": 2, "missing": True},
                {"name": "k", "type": "categorical", "values": ["3", "2.0", 1]},
                {"name": "d", "type": "date", "min": "2024-01-01", "max": "2024-12-31"}
                | {"unit": "quarter", "missing": True},
                {"name": "b", "type": "boolean", "missing": True},
            ]
        }
    )
    expected = [[1, 2, 0, 1], [2, 1, 4, 0], [3, 0, 3, 2]]
    for name in ("t.csv", "t.parquet"):
        assert np.vstack(list(encoded_chunks(tmp_path / name, schema, 2))).tolist() == expected


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,b\n", "no rows"),
        ("a,b\n1,2\n3\n", "row 2 .* 1 cells.*has 2"),
        ("a,b\n1,2,3\n", "row 1 .* 3 cells"),
        ("a,a\n1,2\n", "two columns 'a'"),
        ("a, a\n1,2\n", "two columns 'a'"),
        ('a,b\n"1,2\n', "cannot read"),
        ("a,b\nä,1\n".encode("latin-1"), "not UTF-8"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-6], "cannot read"),
        (b"PAR1 is not all", "as Parquet"),
    ],
)
def test_bad_tables(tmp_path: Path, content: str | bytes, text: str) -> None:
    with pytest.raises(TableError, match=text):
        read_all(written(tmp_path, content))


def test_missing_and_misnamed_files(tmp_path: Path) -> None:
    for name in ("none.csv", "none.parquet"):
        with pytest.raises(TableError, match="No such file"):
            read_all(tmp_path / name)
    with pytest.raises(TableError, match="Is a directory"):
        read_all(tmp_path)
    with pytest.raises(TableError, match="as Parquet"):
        read_all(written(tmp_path, "a,b\n1,2\n", "t.parquet"))


def test_bad_parquet_tables(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), path)
    with pytest.raises(TableError, match="two columns 'a'"):
        read_all(path)
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), path)
    with pytest.raises(TableError, match="no rows"):
        read_all(path)
    pq.write_table(pa.table({"a": [[1, 2]]}), path)
    with pytest.raises(TableError, match="'a' has type list"):
        read_all(path)


def test_a_dropped_column_may_hold_anything(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [2, 1], "list": [[1], []]}), path)
    schema = schema_from_dict(
        {"columns": [{"name": "a", "type": "coded", "size": 3}], "drop": ["list"]}
    )
    assert np.vstack(list(encoded_chunks(path, schema))).tolist() == [[2], [1]]


def test_misfits_are_totalled_over_all_chunks(tmp_path: Path) -> None:
    path = written(tmp_path, "a\n" + "\n".join("1" if n % 5 else "9" for n in range(20)) + "\n")
    schema = schema_from_dict({"a": 3})
    seen: list[CodeTable] = []
    with pytest.raises(
        TableError, match=r"4 values in 1 column\n.*\(row 1: '9', row 6: '9', row 11"
    ):
        seen.extend(encoded_chunks(path, schema, 4))
    assert seen == []
    good = schema_from_dict({"a": 10})
    assert [len(chunk) for chunk in encoded_chunks(path, good, 8)] == [8, 8, 4]


def test_adult_encodes_to_itself() -> None:
    path = public_file("adult.csv")
    schema = load_schema(public_file("adult-domain.json"))
    codes = np.vstack(list(encoded_chunks(path, schema)))
    np.testing.assert_array_equal(codes, pd.read_csv(path).to_numpy())
    assert len(codes) == 48_842
