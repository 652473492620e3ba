"""A manifest's fields by name, so that two manifests that differ can be told apart by field."""

from collections.abc import Iterator, Mapping
from typing import Any

from parties.agreement.manifest import Manifest
from parties.canonical import HashOf, canonical, read_json, tagged_sha256

_HASH_DIGITS = 32
_NAMED = 8


def field_hashes(manifest: Manifest) -> dict[str, str]:
    """Return the hash of every field by its path, such as `mechanism.epsilon`.

    Columns and members stand under their own names; the list that has them stands for their order.
    """
    return raw_field_hashes(read_json(manifest.canonical_bytes()))


def raw_field_hashes(raw: Any) -> dict[str, str]:
    """Return the `field_hashes` of a manifest as parsed JSON, whichever version wrote it."""
    return {path: _hash(value) for path, value in _leaves("", raw)}


def differing_fields(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the paths at which two manifests' `field_hashes` differ, sorted.

    A member or column that only one of them has is named once, by the list's path.
    """
    paths = {path for path in one.keys() | other.keys() if one.get(path) != other.get(path)}
    missing = {path for path in paths if path not in one or path not in other}
    lists = paths - missing
    return sorted(lists | {p for p in missing if not any(p.startswith(f"{x}.") for x in lists)})


def name_fields(paths: list[str]) -> str:
    """Write differing fields for a message; a long list is cut."""
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(paths[:_NAMED]) + more


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    dot = f"{path}." if path else ""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(f"{dot}{key}", inner)
    elif _are_named(value):
        yield path, [inner["name"] for inner in value]
        for inner in value:
            rest = {key: field for key, field in inner.items() if key != "name"}
            yield from _leaves(f"{dot}{inner['name']}", rest)
    else:
        yield path, value


def _are_named(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    names = [item.get("name") if isinstance(item, dict) else None for item in value]
    return all(isinstance(name, str) for name in names) and len(set(names)) == len(names)


def _hash(value: Any) -> str:
    return tagged_sha256(HashOf.MANIFEST_FIELD, canonical(value))[:_HASH_DIGITS]
