"""The one canonical JSON (RFC 8785), and the hashes, each bound to what it is a hash of.

What is hashed or signed is written by `canonical` and by nothing else, so that another program,
in another language, gets the same bytes. docs/protocol.md, section 23, lists every preimage.
"""

import hashlib
from enum import StrEnum
from typing import Any

import rfc8785


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

    Whole numbers beyond 2^53 - 1 have none, since other programs read them as rounded.
    """
    try:
        return rfc8785.dumps(value)
    except rfc8785.IntegerDomainError as error:
        raise ValueError(f"{error}: whole numbers go up to 2^53 - 1; take a smaller one") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it has no canonical form as JSON: {error}") from error
