"""The file of a transcript: append-only lines, each with the hash of the one before."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parties.canonical import HashOf, canonical, read_json, tagged_sha256
from parties.errors import ConfigError

SIGNATURE = "signature"
"""The key of a signed line's signature."""


class HashChain:
    """A file of canonical JSON lines; `head` is the hash of the last one, `first_head` before it.

    Each line is on disk (fsync) when `append` returns. With `sign`, a line also has a signature,
    over all the rest of it. An existing file is read and checked; ConfigError if a line does not
    follow from the one before. A last line without an end, which a crash has cut off before
    anybody could rely on it, is removed.
    """

    def __init__(
        self, path: Path, first_head: str, sign: Callable[[bytes], str] | None = None
    ) -> None:
        self.head = first_head
        self._sign = sign
        self.entries: list[dict[str, Any]] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            self._replay(path)
        self._file = path.open("ab")

    def append(self, entry: dict[str, Any]) -> None:
        """Write one entry and wait until it is on disk."""
        raw = {"previous": self.head, **entry}
        if self._sign is not None:
            raw[SIGNATURE] = self._sign(canonical(raw))
        line = canonical(raw)
        self._file.write(line + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._follow(line, entry)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _follow(self, line: bytes, entry: dict[str, Any]) -> None:
        self.head = head_after(line)
        self.entries.append(entry)

    def _replay(self, path: Path) -> None:
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(path, len(whole))
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                entry = read_json(line)
                is_canonical = line == canonical(entry)
                previous = entry.pop("previous")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ConfigError(f"{path}, line {number}, is not an entry of the chain") from error
            if previous != self.head or not is_canonical:
                raise ConfigError(
                    f"{path}, line {number}, does not follow from the line before: the file was "
                    "changed or belongs to another job; restore it, or start a new job"
                )
            self._follow(line, entry)


def head_after(line: bytes) -> str:
    """Return the head of a chain that ends with a line (without its end-of-line byte)."""
    return tagged_sha256(HashOf.TRANSCRIPT_LINE, line)
