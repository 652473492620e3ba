"""Each site's own settings: addresses, paths, timeouts. Nothing here decides privacy."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from aim_core.models.fitters import FitterKind
from aim_core.studies.splits import parse_kind
from aim_core.tables.files.formats import TableFormat, TableSource
from mpc.session.access import MAX_PARTIES
from parties.agreement.settings_file import read_settings
from parties.agreement.values import AsText, Frozen, Name, Port, describe, refused_as_value_error
from parties.canonical import MAX_INTEGER
from parties.errors import ConfigError
from parties.identity.certificates import Identity


def _as_path(value: object) -> object:
    return Path(value) if isinstance(value, str) else value


def _as_format(value: object) -> object:
    if not isinstance(value, dict):
        return value
    unknown = set(value) - {each.name for each in fields(TableFormat)}
    if unknown:
        raise ValueError(f"unknown {', '.join(sorted(unknown))}")
    with refused_as_value_error():
        return TableFormat(**value)


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("a time must be above 0 seconds")
    return value


def _not_negative(value: float) -> float:
    if value < 0:
        raise ValueError("a time must be 0 seconds or more")
    return value


PathText = Annotated[Path, BeforeValidator(_as_path)]
ConfigType = TypeVar("ConfigType", bound=Frozen)

Seconds = Annotated[float, AfterValidator(_positive)]
Patience = Annotated[float, AfterValidator(_not_negative)]


class SiteConfig(Frozen):
    """What every role's config has: the manifest and the site's own certificate and key."""

    name: Name
    manifest: PathText
    certificate: PathText
    key: PathText

    @property
    def identity(self) -> Identity:
        """Return the files that prove who this site is."""
        return Identity(self.name, self.certificate, self.key)


class PartyConfig(SiteConfig):
    """A compute party: where it listens, where its state stands, how long it waits.

    `reconnect_seconds` is how long it waits for peers that were lost; with 0 a lost peer ends the
    job. `linger_seconds` is how long a finished party goes on to answer repeated requests.
    """

    pid: Annotated[int, Field(ge=0, lt=MAX_PARTIES)]
    host: str = "127.0.0.1"
    https_port: Port
    mpc_port: Port
    state: PathText
    transcript: PathText
    connect_timeout: Seconds = 120.0
    finish_timeout: Seconds = 3.0
    reconnect_seconds: Patience = 3600.0
    linger_seconds: Patience = 600.0
    status_port: Port | None = None


class HolderMember(Frozen):
    """One data holder of a site, with its own certificate."""

    name: Name
    certificate: PathText
    key: PathText


def _is_split(text: str) -> str:
    with refused_as_value_error():
        parse_kind(text)
    return text


class HoldersConfig(Frozen):
    """The site of one data holder, or of several simulated ones that share a table.

    `format` is how the table is written in its file, where that is not clear. `outbox` has
    the shares until all parties have them; `receipts` is where receipts are kept.
    """

    manifest: PathText
    table: PathText
    format: Annotated[TableFormat, BeforeValidator(_as_format)] = TableFormat()
    outbox: PathText
    receipts: PathText | None = None
    members: Annotated[list[HolderMember], Field(min_length=1)]
    split: Annotated[str, AfterValidator(_is_split)] = "iid"
    target: str | None = None
    seed: int = 0
    connect_timeout: Seconds = 120.0
    request_timeout: Seconds = 600.0

    @property
    def source(self) -> TableSource:
        """Return the table as it is read."""
        return TableSource(self.table, self.format)


class EstimatorConfig(SiteConfig):
    """The estimator: what it fits with, how many rows it draws, where the results go.

    `outage_seconds` is how long it waits for parties that were lost, 0 for not at all. `table` is
    where the synthetic table goes as CSV, if it is wanted here.
    """

    estimator: Annotated[FitterKind, AsText] = FitterKind.NUMPY
    rows: Annotated[int, Field(ge=1)] | None = None
    sample_seed: Annotated[int, Field(ge=0, le=MAX_INTEGER)] = 0
    out: PathText
    transcript: PathText
    connect_timeout: Seconds = 120.0
    collect_timeout: Seconds = 3600.0
    request_timeout: Seconds = 600.0
    outage_seconds: Patience = 3600.0
    table: PathText | None = None


def load_party_config(path: Path) -> PartyConfig:
    """Read a compute party's config; ConfigError names what is wrong in it."""
    return _load(PartyConfig, path)


def load_holders_config(path: Path) -> HoldersConfig:
    """Read a data holder's config; ConfigError names what is wrong in it."""
    return _load(HoldersConfig, path)


def load_estimator_config(path: Path) -> EstimatorConfig:
    """Read the estimator's config; ConfigError names what is wrong in it."""
    return _load(EstimatorConfig, path)


def _load(kind: type[ConfigType], path: Path) -> ConfigType:
    try:
        return kind.model_validate(read_settings(path))
    except ValidationError as error:
        raise ConfigError(describe(str(path), error)) from error
