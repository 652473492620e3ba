"""Canonical JSON and tagged hashes; the examples are those of RFC 8785."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parties.canonical import MAX_INTEGER, HashOf, canonical, read_json, tagged_sha256

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from("abcé€😀"), inner),
)


@given(JSON)
def test_what_is_read_back_is_written_the_same_way_and_means_the_same(value: object) -> None:
    text = canonical(value)
    assert canonical(read_json(text)) == text
    assert read_json(text) == value


def test_the_examples_of_the_standard() -> None:
    numbers = [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001]
    assert canonical(numbers) == b"[333333333.3333333,1e+30,4.5,0.002,1e-27]"
    assert canonical('€$\x0f\nA\'B"\\\\"/') == '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'.encode()
    keys = ["€", "\r", "\ufb33", "1", "😀", "\x80", "ö"]
    in_order = ["\r", "1", "\x80", "ö", "€", "😀", "\ufb33"]
    assert list(json.loads(canonical(dict.fromkeys(keys, 0)))) == in_order


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (MAX_INTEGER + 1, "2\\^53"),
        (-MAX_INTEGER - 1, "2\\^53"),
        ([{"a": 2**60}], "1152921504606846976"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        ("\ud800", "UTF-8"),
        ({"\ud800": 1}, "no canonical form"),
        ({1: 2}, "strings"),
    ],
)
def test_what_has_no_canonical_form_is_refused(value: object, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        canonical(value)


def test_what_is_nested_too_deeply_is_refused() -> None:
    value: list[object] = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(ValueError, match="no canonical form"):
        canonical(value)


def test_large_digits_are_read_as_the_number_that_other_programs_read() -> None:
    assert canonical(1e20) == b"100000000000000000000"
    assert canonical(read_json(b"100000000000000000000")) == b"100000000000000000000"
    assert canonical(read_json(b"9007199254740993")) != b"9007199254740993"
    for text in ("[" * 10_000, "{", "x"):
        with pytest.raises(ValueError, match=r"."):
            read_json(text)


def test_tags_keep_hashes_apart() -> None:
    hashes = {tagged_sha256(tag, b"text") for tag in HashOf}
    assert len(hashes | {hashlib.sha256(b"text").hexdigest()}) == len(HashOf) + 1
    preimage = b"distaim/ledger-start/v1\0text"
    assert tagged_sha256(HashOf.LEDGER_START, b"te", b"xt") == hashlib.sha256(preimage).hexdigest()
