"""Text tables as people have them: separators, encodings, names, rows, spellings of numbers."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from aim_core.errors import TableError
from aim_core.tables.files.formats import TableFormat, TableSource
from aim_core.tables.files.reading import encoded_chunks, read_chunks
from aim_core.tables.schema_file import schema_from_dict
from tests.support.cells_of import read_all, written

ROWS: list[tuple[str, ...]] = [("b", "m", "1.5"), ("c", "f", "2.5"), ("b", "m", "1.5")]


def table(separator: str, rows: list[tuple[str, ...]] = ROWS, names: str = "xyz") -> str:
    return "".join(separator.join(row) + "\n" for row in [tuple(names), *rows])


def column(path: Path, name: str = "x", **known: str | bool) -> list[str | None]:
    return read_all(TableSource(path, TableFormat(**known)))[name]  # type: ignore[arg-type]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_separator_is_found(tmp_path: Path, separator: str) -> None:
    found = read_all(written(tmp_path, table(separator)))
    assert found == {"x": ["b", "c", "b"], "y": ["m", "f", "m"], "z": ["1.5", "2.5", "1.5"]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'x;"a, b";z\n1;2,5;3\n4;5,5;6\n',
            {"x": ["1", "4"], "a, b": ["2.5", "5.5"], "z": ["3", "6"]},
        ),
        ('x,y\n"1;2;3","4;5"\n', {"x": ["1;2;3"], "y": ["4;5"]}),
        ("x, first\tz\nu\tv\nw, w\tv\n", {"x, first": ["u", "w, w"], "z": ["v", "v"]}),
        ("sep=;\nx;y\nu;v\n", {"x": ["u"], "y": ["v"]}),
        ('x\n"one, two"\nthree\n', {"x": ["one, two", "three"]}),
        ('x;y\n"two\nlines";v\n', {"x": ["two\nlines"], "y": ["v"]}),
    ],
)
def test_quotes_and_odd_rows_do_not_mislead(
    tmp_path: Path, text: str, expected: dict[str, list[str]]
) -> None:
    assert read_all(written(tmp_path, text)) == expected


@pytest.mark.parametrize("text", ["a,b;c\n1,2;3\n4,5;6\n", "a b\n1;2\n3;4\n", "a|b,c\n1\n2\n"])
def test_an_unclear_separator_is_asked_for(tmp_path: Path, text: str) -> None:
    with pytest.raises(TableError, match="--separator"):
        read_all(written(tmp_path, text))


def test_a_known_separator_is_taken(tmp_path: Path) -> None:
    path = written(tmp_path, "x y\nu,u v\n")
    assert column(path, separator=" ") == ["u,u"]
    assert column(written(tmp_path, "x;y\nu;v\n"), "x;y", separator="comma") == ["u;v"]
    assert column(written(tmp_path, "x\ty\nu\tv\n"), "y", separator="tab") == ["v"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_unicode_is_read_by_its_mark(tmp_path: Path, encoding: str, pack: type[bytes]) -> None:
    path = written(tmp_path, pack("größe,y\nż,1\n".encode(encoding)))
    assert read_all(path) == {"größe": ["ż"], "y": ["1"]}


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16-le", "utf-16-be"])
def test_another_encoding_is_asked_for_and_taken(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path, "name,y\nJosé,1\n".encode(encoding))
    with pytest.raises(TableError, match="--encoding"):
        read_all(path)
    assert column(path, "name", encoding=encoding) == ["José"]


def test_a_wrong_encoding_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "x,y\nJosé,1\n".encode("latin-1"))
    with pytest.raises(TableError, match="is not utf-8 text"):
        column(path, encoding="utf-8")


def test_a_column_without_a_name_gets_one_and_can_be_dropped(tmp_path: Path) -> None:
    path = written(tmp_path, ",x,y,\n0,b,m,\n1,c,m,\n2,b,f,\n")
    assert list(read_all(path)) == ["Unnamed: 0", "x", "y", "Unnamed: 3"]
    columns = [{"name": name, "type": "categorical", "values": list("bcmf")} for name in "xy"]
    schema = schema_from_dict({"drop": ["Unnamed: 0", "Unnamed: 3"], "columns": columns})
    (codes,) = encoded_chunks(path, schema)
    assert codes.tolist() == [[0, 2], [1, 2], [0, 3]]


def test_blank_lines_of_one_column_are_missing_values(tmp_path: Path) -> None:
    assert column(written(tmp_path, "x\n39\n\n26\n\n")) == ["39", "", "26", ""]
    assert column(written(tmp_path, "\r\nx\r\n39\r\n\r\n26")) == ["39", "", "26"]
    assert column(written(tmp_path, "\n39\n\n"), "column_1", header=False) == ["", "39", ""]
    assert column(written(tmp_path, "x,y\n\n39,1\n\n26,2\n\n")) == ["39", "26"]


@pytest.mark.parametrize(
    "text",
    [
        "39,b\n40,c\n26,b\n",
        "5.1,3.5\n4.9,3.0\n",
        "p,x,s\ne,x,s\np,f,y\ne,x,s\n",
        "2020-01-01,b,5\n2020-01-02,b,7\n2020-01-03,c,8\n",
        "Anna,34,f\nBert,22,m\nCara,50,f\nDora,61,f\n",
        "red\nblue\nred\n",
        "7\n8\n9\n",
    ],
)
def test_a_first_row_of_data_is_refused(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(TableError, match="--no-header"):
        read_all(path)
    n_rows = text.count("\n")
    with_names = read_all(TableSource(path, TableFormat(header=True)))
    assert {len(cells) for cells in with_names.values()} == {n_rows - 1}
    found = read_all(TableSource(path, TableFormat(header=False)))
    assert list(found) == [f"column_{i + 1}" for i in range(len(found))]
    assert [len(cells) for cells in found.values()] == [n_rows] * len(found)


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,x\n2,y\n",
        "g,x\ng,1\nh,2\ng,3\n",
        "name,1990,2000\nAustria,1,2\nBelgium,3,4\nChad,5,6\n",
        ",0,1,2\n0,5,6,7\n1,8,9,1\n",
        "sex,age\nf,3\nm,4\nf,5\n",
        "2019,2020\nyes,no\nno,no\n",
        "x,y\n,\n,\n",
    ],
)
def test_a_header_is_taken_as_one(tmp_path: Path, text: str) -> None:
    names = [name or "Unnamed: 0" for name in text.split("\n", maxsplit=1)[0].split(",")]
    assert list(read_all(written(tmp_path, text))) == names


def numbers(tmp_path: Path, separator: str, *columns: list[str]) -> list[list[str | None]]:
    """Read columns beside one of texts, all cells in quotes."""
    names = ["text", *(f"c{index}" for index in range(len(columns)))]
    quoted = [["a", *(f'"{cell}"' for cell in row)] for row in zip(*columns, strict=True)]
    text = "".join(separator.join(row) + "\n" for row in [names, *quoted])
    return list(read_all(written(tmp_path, text)).values())[1:]


@pytest.mark.parametrize(
    ("separator", "cells", "expected"),
    [
        (";", ["3,14", "2,5", "-1,25"], ["3.14", "2.5", "-1.25"]),
        (",", ["21,14", "1,123", "unknown"], ["21.14", "1.123", "unknown"]),
        (";", ["1.234,56", "12,1", "999"], ["1234.56", "12.1", "999"]),
        (",", ["1,234.56", "12.1", "999"], ["1234.56", "12.1", "999"]),
        (",", ["5,829", "41,374", "7"], ["5829", "41374", "7"]),
        ("\t", ["1,234,567", "1,234", ""], ["1234567", "1234", ""]),
        (";", ["1.234.567", "1.234", "."], ["1234567", "1234", "."]),
        (";", ["1 234 567,5", "12", "1"], ["1234567.5", "12", "1"]),
        (";", ["1\u00a0234", "12", "1"], ["1234", "12", "1"]),
        (";", ["1'234.50", "12.00", "1"], ["1234.50", "12.00", "1"]),
        (";", ["0,123", "0,456", "NA"], ["0.123", "0.456", "NA"]),
        (";", ["1,5E+03", "2,5", "1"], ["1.5E+03", "2.5", "1"]),
    ],
)
def test_numbers_become_plain(
    tmp_path: Path, separator: str, cells: list[str], expected: list[str]
) -> None:
    if "\u00a0" in cells[0]:
        # without a decimal anywhere a table may be of either kind; another column says
        assert numbers(tmp_path, separator, cells, ["0,5", "1,5", "2,5"])[0] == expected
    else:
        assert numbers(tmp_path, separator, cells)[0] == expected


@pytest.mark.parametrize(
    ("separator", "cells"),
    [
        (";", ["1,234", "5,678", "9,012"]),
        (",", ["01.02.2020", "03.04.2021", "1.1.1999"]),
        (";", ["1,2", "1,2,3", "2,3"]),
        (",", ["E11,9", "F32,1", "A00,0"]),
        (",", ["$1,234", "$2,345", "$3,456"]),
        (";", ["12,5%", "13,5%", "1,5%"]),
        (",", ["192.168.100.200", "10.0.0.1", "1.2.3.4"]),
        (";", ["007,5", "012,5", "1,5"]),
        (",", ["10E2", "1000", "7B3"]),
        (";", ["114 55", "123 456", "111 22"]),
        (",", ["1,234", "2345", "5,678"]),
    ],
)
def test_codes_dates_and_unclear_numbers_stay_as_written(
    tmp_path: Path, separator: str, cells: list[str]
) -> None:
    assert numbers(tmp_path, separator, cells)[0] == cells


def test_the_decimal_mark_of_one_column_is_that_of_all(tmp_path: Path) -> None:
    assert numbers(tmp_path, ";", ["1,234", "5,678"], ["0,5", "12,25"])[0] == ["1.234", "5.678"]
    assert numbers(tmp_path, ";", ["1,234", "5,678"], ["0.5", "12.25"])[0] == ["1234", "5678"]
    dates = numbers(tmp_path, ";", ["01.02.2020", "03.04.2021"], ["0,5", "12,25"])[0]
    assert dates == ["01.02.2020", "03.04.2021"]


def test_a_point_that_may_be_either_mark_is_asked_about(tmp_path: Path) -> None:
    path = written(tmp_path, "x;y\n1.234;0,5\n5.678;1,5\n")
    with pytest.raises(TableError, match=r"'x' .*--thousands point"):
        read_all(path)
    assert column(path, thousands="point") == ["1234", "5678"]
    assert column(path, thousands="none") == ["1.234", "5.678"]
    assert [list(chunk) for chunk in read_chunks(path, skip=["x"])] == [["y"]]


def test_columns_that_contradict_each_other_are_read_one_by_one(tmp_path: Path) -> None:
    prices, latitudes, pairs = ["3,14", "2,50"], ["47.1", "46.25"], ["1,234", "5,678"]
    found = numbers(tmp_path, ";", prices, latitudes, pairs)
    assert found == [["3.14", "2.50"], latitudes, pairs]
    assert numbers(tmp_path, ",", prices, latitudes, pairs) == [prices, latitudes, pairs]


def test_known_marks_decide(tmp_path: Path) -> None:
    path = written(tmp_path, "x;y\n1,234;u\n5678;v\n")
    assert column(path) == ["1,234", "5678"]
    assert column(path, decimal="comma") == ["1.234", "5678"]
    assert column(path, thousands=",") == ["1234", "5678"]
    assert column(written(tmp_path, 'x,y\n"1,5",u\n'), decimal=".") == ["1,5"]


def test_a_spelling_found_in_the_first_rows_holds_for_later_ones(tmp_path: Path) -> None:
    rows = "".join(f"{number % 900};0,5;1.234,5\n" for number in range(70_000))
    path = written(tmp_path, "x;y;z\n" + rows + "1.234,5;0,25;2\n")
    assert [found[-1] for found in read_all(path, 65_536).values()] == ["1234.5", "0.25", "2"]


@pytest.mark.parametrize("n_rows", [1, 2, 7])
def test_what_is_found_does_not_depend_on_the_size_of_chunks(tmp_path: Path, n_rows: int) -> None:
    path = written(tmp_path, "x;y\n1,234;u\n5,678;v\n9,5;w\n")
    assert read_all(path, n_rows)["x"] == ["1.234", "5.678", "9.5"]


def test_equal_texts_in_two_unicode_forms_are_one_value(tmp_path: Path) -> None:
    composed, decomposed = "Zürich", "Zu\u0308rich"
    path = written(tmp_path, f"Gro\u0308ße,y\n{composed},1\n{decomposed},2\n,3\n{composed},4\n")
    (chunk,) = read_chunks(path)
    assert list(chunk) == ["Größe", "y"]
    assert list(chunk["Größe"].texts) == [composed, ""]
    assert chunk["Größe"].indices.tolist() == [0, 0, 1, 0]
    with pytest.raises(TableError, match="two columns"):
        read_all(written(tmp_path, f"{composed},{decomposed}\nu,v\n"))


def zipped(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def test_a_zip_with_one_table_is_read(tmp_path: Path) -> None:
    text = table(";").encode("utf-16")
    path = written(tmp_path, zipped(("d/", b""), ("d/t.txt", text), ("__MACOSX/t", b"?")), "t.zip")
    assert read_all(path)["x"] == ["b", "c", "b"]
    for members, found in (((("a", text), ("b", text)), "2 files"), ((), "0 files")):
        with pytest.raises(TableError, match=found):
            read_all(written(tmp_path, zipped(*members), "t.zip"))
    with pytest.raises(TableError, match="unpack"):
        read_all(written(tmp_path, zipped(("t.zip", zipped(("a", text)))), "t.zip"))
    broken = bytearray(zipped(("a", b"x,y\n" + b"1,2\n" * 1000)))
    broken[40] ^= 255
    with pytest.raises(TableError, match="cannot read"):
        read_all(written(tmp_path, bytes(broken), "t.zip"))


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(b"x,y\n" + b"1," * 2**24))
    with pytest.raises(TableError, match=r"line 2 .* characters"):
        read_all(path)


def test_a_huge_cell_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="field larger than field limit"):
        read_all(written(tmp_path, "x,y\n" + "1" * 200_000 + ",2\n"))


@pytest.mark.parametrize(
    ("known", "named"),
    [
        ({"separator": ";;"}, "separator"),
        ({"separator": '"'}, "separator"),
        ({"separator": 5}, "separator"),
        ({"encoding": "klingon"}, "encoding"),
        ({"encoding": "hex"}, "encoding"),
        ({"decimal": ";"}, "decimal"),
        ({"thousands": "x"}, "thousands"),
        ({"decimal": ",", "thousands": "comma"}, "both"),
        ({"header": "yes"}, "header"),
    ],
)
def test_a_format_that_cannot_be_is_refused(known: dict[str, str], named: str) -> None:
    with pytest.raises(TableError, match=named):
        TableFormat(**known)  # type: ignore[arg-type]


def test_a_misfit_with_a_comma_names_the_options(tmp_path: Path) -> None:
    path = written(tmp_path, "x;y\n1,234;u\n")
    column = {"name": "x", "type": "integer", "min": 0, "max": 2000, "bins": 4}
    schema = schema_from_dict({"drop": ["y"], "columns": [column]})
    with pytest.raises(TableError, match=r"--decimal comma or --thousands comma"):
        list(encoded_chunks(path, schema))
