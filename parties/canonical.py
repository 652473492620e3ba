"""The one canonical JSON (RFC 8785), and the hashes, each bound to what it is a hash of.

What is hashed or signed is written by `canonical` and by nothing else, so that another program,
in another language, gets the same bytes. docs/protocol.md, section 23, lists every preimage.
"""

import hashlib
import json
from enum import StrEnum
from typing import Any

import rfc8785

MAX_INTEGER = 2**53 - 1
"""The largest whole number that every program reads as it is written."""


class HashOf(StrEnum):
    """What is hashed: wire constants that keep one hash from ever passing for another."""

    REQUEST = "request"
    MANIFEST = "manifest"
    MANIFEST_FIELD = "manifest-field"
    LEDGER_START = "ledger-start"
    LEDGER_ENTRY = "ledger-entry"
    TRANSCRIPT_START = "transcript-start"
    TRANSCRIPT_LINE = "transcript-line"
    MODEL_COUNTS = "model-counts"


def tagged_sha256(tag: HashOf, *parts: bytes) -> str:
    """Return the SHA-256 over `distaim/TAG/v1`, a zero byte and the joined parts, as hex."""
    preimage = hashlib.sha256(f"distaim/{tag.value}/v1\0".encode())
    for part in parts:
        preimage.update(part)
    return preimage.hexdigest()


def canonical(value: Any) -> bytes:
    """Return a JSON value in its one form; ValueError, which says why, if it has none.

    Whole numbers beyond `MAX_INTEGER` have none, since other programs read them as rounded.
    """
    try:
        return rfc8785.dumps(value)
    except rfc8785.IntegerDomainError as error:
        text = f"{error}: whole numbers go up to 2^53 - 1; take a smaller one"
        raise ValueError(text) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it has no canonical form as JSON: {error}") from error


def read_json(text: str | bytes) -> Any:
    """Read what `canonical` wrote; ValueError if it is no JSON.

    Digits beyond `MAX_INTEGER` are a floating-point number, as RFC 8785 writes 1e20.
    """
    try:
        return json.loads(text, parse_int=_number)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _number(digits: str) -> int | float:
    number = float(digits)
    return int(digits) if abs(number) <= MAX_INTEGER else number
