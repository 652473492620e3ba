"""Values that manifests and messages are made of: exact fractions, names, hashes."""

import importlib.metadata
import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from fractions import Fraction
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from aim_core.errors import AimError
from mpc.errors import MpcError
from parties.errors import ConfigError

_FRACTION = re.compile(r"[0-9]{1,400}(/[1-9][0-9]{0,399})?")


def _is_fraction(text: str) -> str:
    if not _FRACTION.fullmatch(text):
        raise ValueError("not a fraction such as 3 or 3/4 in decimal digits")
    return text


FractionText = Annotated[str, AfterValidator(_is_fraction)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
AsText = Field(strict=False)
"""Of an enumeration in a file: there it is a text."""


class EngineKind(StrEnum):
    """Which secure engine the compute parties run."""

    REPLICATED = "replicated"
    SHAMIR = "shamir"


class Frozen(BaseModel):
    """A model without unknown keys, without conversions, that nobody changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def parse_fraction(text: str) -> Fraction:
    """Read "3", or "3/4", with at most 400 digits each; ConfigError otherwise.

    Exponents are not read: a short text must not become a number of a billion digits.
    """
    if not _FRACTION.fullmatch(text):
        raise ConfigError(f"{text[:40]!r} is not a fraction such as 3 or 3/4 in decimal digits")
    return Fraction(text)


def program_version() -> str:
    """Return this program's version; compute parties run together only with the same one."""
    return importlib.metadata.version("distaim")


@contextmanager
def refused_as_config_error() -> Iterator[None]:
    """Let what other packages refuse in what a user gave be a ConfigError with the same text."""
    try:
        yield
    except (AimError, MpcError) as error:
        raise ConfigError(str(error)) from error


@contextmanager
def refused_as_value_error() -> Iterator[None]:
    """Let what others refuse be a ValueError, which a model reports with the field's name."""
    try:
        yield
    except (AimError, MpcError, ConfigError) as error:
        raise ValueError(str(error)) from error


def describe(what: str, error: ValidationError) -> str:
    """Say in one text which fields a model refuses and why, without their values."""
    findings = [
        f"{'.'.join(str(step) for step in finding['loc']) or 'as a whole'}: {finding['msg']}"
        for finding in error.errors(include_url=False, include_input=False)[:10]
    ]
    return f"{what} cannot be used: " + "; ".join(findings)
