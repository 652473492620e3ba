import subprocess
import sys
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aim_core.tables.schema_file import schema_from_dict
from aim_core.tables.toml import MAX_WIDTH, Path, toml_text

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = texts | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.booleans()
values = scalars | st.lists(scalars, max_size=20)
tables = st.recursive(
    st.dictionaries(texts, values, max_size=4),
    lambda inner: st.dictionaries(
        texts, values | inner | st.lists(inner, min_size=1, max_size=3), max_size=4
    ),
    max_leaves=8,
)


@given(tables, texts)
def test_what_is_written_reads_back_with_or_without_comments(
    data: dict[str, object], comment: str
) -> None:
    comments: dict[Path, str] = {(): comment} | {(key,): comment for key in data}
    assert tomllib.loads(toml_text(data)) == tomllib.loads(toml_text(data, comments)) == data


@pytest.mark.parametrize("key", ["a b", "ü", "a.b", 'say "no"', "it's", "", "two\nlines", "\x7f"])
def test_a_key_that_is_no_plain_word_is_quoted(key: str) -> None:
    data = {key: 1, "table": {key: {key: [1.5, True]}}, "list": [{key: "x"}]}
    assert tomllib.loads(toml_text(data)) == data


def test_a_schema_keeps_names_that_need_quotes() -> None:
    schema = schema_from_dict({"a b": 2, 'ü."x"\n': 3})
    assert schema_from_dict(tomllib.loads(toml_text({"schema": schema.to_dict()}))["schema"]) == (
        schema
    )


def test_comments_stand_with_what_they_speak_of() -> None:
    data = {"columns": [{"name": "a"}, {"name": "b"}], "drop": ["c"], "job": {"n": 1}}
    comments = {
        (): "all\nof it\x07",
        ("drop",): "left out",
        ("columns", 1): "second",
        ("job",): "j",
    }
    assert toml_text(data, comments) == (
        "# all\n# of it\\x07\n\n# left out\n"
        'drop = ["c"]\n\n[[columns]]\nname = "a"\n\n[[columns]]\n# second\nname = "b"\n\n'
        "[job]\n# j\nn = 1\n"
    )


def test_long_lists_are_broken_and_long_texts_stand_as_they_are() -> None:
    numbers = list(range(100, 200))
    text = toml_text({"n": numbers, "pem": "-----BEGIN\nabc\n"})
    assert tomllib.loads(text)["n"] == numbers
    assert 4 < len(text.splitlines()) < 20
    assert max(map(len, text.splitlines())) <= MAX_WIDTH + 4
    assert 'pem = """-----BEGIN\nabc\n"""' in text


def test_reading_a_schema_does_not_load_what_writes_it() -> None:
    check = "import aim_core.tables.schema, sys; sys.exit('tomlkit' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)
