"""Writing a schema as TOML text (the standard library only reads TOML)."""

import json
from collections.abc import Mapping, Sequence

MAX_WIDTH = 96


def toml_value(value: object) -> str:
    """Write a text, number, boolean or list of them; long lists take one line per few items."""
    if isinstance(value, str):
        # JSON escapes are TOML escapes, but for DEL, which JSON leaves as it is
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return _toml_list([toml_value(item) for item in value])
    return json.dumps(value)


def _toml_list(items: Sequence[str]) -> str:
    flat = f"[{', '.join(items)}]"
    if len(flat) <= MAX_WIDTH:
        return flat
    lines = [""]
    for item in items:
        if lines[-1] and len(lines[-1]) + len(item) > MAX_WIDTH:
            lines.append("")
        lines[-1] += f" {item},"
    return "[\n" + "\n".join(f"   {line}" for line in lines) + "\n]"


def toml_comment(text: str) -> str:
    """Write a text as comment lines; control characters are shown as escapes."""
    lines = [f"# {line}".rstrip() for line in text.split("\n")]
    return "\n".join("".join(c if c.isprintable() else repr(c)[1:-1] for c in x) for x in lines)


def toml_table(header: str, keys: Mapping[str, object], comment: str = "") -> str:
    """Write a table with its header, as `[[columns]]`, and an optional comment above it."""
    lines = [toml_comment(comment)] if comment else []
    lines += [header] if header else []
    lines += [f"{key} = {toml_value(value)}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"
