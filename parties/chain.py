"""Append-only JSON lines in which every line holds the hash of the one before."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from parties.errors import ConfigError


class HashChain:
    """A file of JSON lines; `head` is the SHA-256 over the last line (the start text at first).

    Each line is on disk (fsync) when `append` returns. An existing file is read and checked;
    ConfigError if a line does not follow from the one before.
    """

    def __init__(self, path: Path, start: str) -> None:
        self.head = hashlib.sha256(start.encode()).hexdigest()
        self.entries: list[dict[str, Any]] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            self._replay(path)
        self._file = path.open("ab")

    def append(self, entry: dict[str, Any]) -> None:
        """Write one entry and wait until it is on disk."""
        line = _line(self.head, entry)
        self._file.write(line + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._follow(line, entry)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _follow(self, line: bytes, entry: dict[str, Any]) -> None:
        self.head = hashlib.sha256(line).hexdigest()
        self.entries.append(entry)

    def _replay(self, path: Path) -> None:
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            try:
                entry = json.loads(line)
                previous = entry.pop("previous")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ConfigError(f"{path}, line {number}, is not an entry of the chain") from error
            if previous != self.head or line != _line(previous, entry):
                raise ConfigError(
                    f"{path}, line {number}, does not follow from the line before: the file was "
                    "changed or belongs to another job; restore it, or start a new job"
                )
            self._follow(line, entry)


def _line(previous: str, entry: dict[str, Any]) -> bytes:
    raw = {"previous": previous, **entry}
    return json.dumps(raw, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
