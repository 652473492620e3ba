"""Files with settings, TOML or JSON: manifests, and the configs of sites."""

import json
import tomllib
from pathlib import Path
from typing import Any

from parties.errors import ConfigError


def read_settings(path: Path) -> dict[str, Any]:
    """Read a TOML or JSON file with one table at its top; ConfigError says what is wrong."""
    try:
        text = path.read_text("utf-8")
        raw = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} does not hold a table of settings at its top")
    return raw
