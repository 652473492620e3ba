"""Files that somebody relies on: there as a whole or not at all, also after a loss of power."""

import os
import secrets
import stat
from pathlib import Path

from parties.errors import ConfigError

_FILE_ENDINGS = frozenset(
    {".csv", ".feather", ".gz", ".html", ".json", ".npz", ".parquet", ".pq", ".toml", ".txt"}
    | {".tsv", ".xlsx", ".zip"}
)
"""Endings of names that say that a file is meant, and of which form."""


def check_folder_name(path: Path, option: str) -> None:
    """Refuse a name that says a form of file where a folder will be made; ConfigError says so."""
    if path.suffix.lower() in _FILE_ENDINGS:
        raise ConfigError(
            f"{path} names a {path.suffix} file, but {option} is a folder that results go into; "
            f"name a folder, such as {path.with_suffix('')}"
        )


def write_whole(path: Path, data: str | bytes, mode: int = 0o666) -> None:
    """Write a file, or replace it, at once: a reader finds all of the old or all of the new.

    It is on disk when this returns. Its permissions are `mode` less the umask, and never more than
    those of a file that is replaced. Raises OSError; then the old file, if any, is as it was,
    unless only the folder could not be synced.
    """
    raw = data.encode() if isinstance(data, str) else data
    kept = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            if kept is not None:
                part.chmod(kept & mode)
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Wait until what has been written to a file is on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names of a folder's files are on disk, where the system has a way to."""
    if not hasattr(os, "O_DIRECTORY"):
        return  # Windows opens no folders
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
