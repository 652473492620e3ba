"""The manifest: everything that decides privacy, hashed, and agreed on by all parties.

Addresses to bind, paths and timeouts stand in each site's own config (`parties.setup.config`).
"""

import datetime as dt
import json
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    model_serializer,
    model_validator,
)

from aim_core.counts.workload_text import MAX_WEIGHT
from aim_core.errors import SchemaError
from aim_core.privacy.participation import check_rate
from aim_core.privacy.zcdp import check_alpha, check_budget, parse_rational
from mpc.noise.kinds import NoiseKind
from mpc.session.access import AccessStructure
from parties.agreement.settings_file import read_settings
from parties.agreement.values import (
    AsText,
    EngineKind,
    FractionText,
    Frozen,
    Name,
    Port,
    describe,
    parse_fraction,
    refused_as_value_error,
)
from parties.canonical import HashOf, canonical, tagged_sha256
from parties.errors import ConfigError
from parties.files import write_whole
from parties.identity.certificates import fingerprint

PROTOCOL = "distaim/1"
"""Name and version of the protocol that this program speaks."""

_HTTPS_PORT = 443
_TIME = "%Y-%m-%dT%H:%M:%SZ"


def _is_address(url: str) -> str:
    parts = urlsplit(url)
    if not parts.hostname or parts.port == 0:  # .port raises ValueError above 65535
        raise ValueError("not an address such as https://a.example.org:8443")
    return url


def _is_pem(text: str) -> str:
    with refused_as_value_error():
        fingerprint(text)
    return text


def _is_rate(text: str) -> str:
    with refused_as_value_error():
        check_rate(parse_fraction(text))
    return text


def _is_time(text: str) -> str:
    moment = dt.datetime.strptime(text, _TIME).replace(tzinfo=dt.UTC)
    if moment.strftime(_TIME) != text:
        raise ValueError("not a time in UTC such as 2030-12-31T00:00:00Z")
    return text


def time_text(moment: dt.datetime) -> str:
    """Write a time, which has a zone, as a manifest does: in UTC, to the second."""
    return moment.astimezone(dt.UTC).strftime(_TIME)


RateText = Annotated[str, AfterValidator(_is_rate)]
TimeText = Annotated[str, AfterValidator(_is_time)]
Certificate = Annotated[str, AfterValidator(_is_pem)]


class Mechanism(Frozen):
    """The parameters of AIM; budgets are exact (texts), never floats.

    `participation` is the rate at which the holders that uploaded join in each round.
    """

    epsilon: str
    delta: str
    rho: FractionText
    alpha: FractionText
    rounds: Annotated[int, Field(ge=1)] | None = None
    max_model_mb: FractionText
    participation: RateText = "1"
    seed: int

    @model_validator(mode="after")
    def _check_budget(self) -> "Mechanism":
        with refused_as_value_error():
            check_budget(
                parse_rational(self.epsilon, "epsilon"), parse_rational(self.delta, "delta")
            )
            check_alpha(parse_fraction(self.alpha))
        return self


class Member(Frozen):
    """A data holder or the estimator, known by its pinned certificate."""

    name: Name
    certificate: Certificate


class PartyEntry(Member):
    """One compute party: its API's URL, its link to the peers, its pinned certificate."""

    url: Annotated[
        str, StringConstraints(pattern=r"^https://[^/\s]+$"), AfterValidator(_is_address)
    ]
    host: str
    port: Port

    @property
    def https_host(self) -> str:
        """Return the host of the API's URL, an IPv6 address without its brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def https_port(self) -> int:
        """Return the port of the API's URL."""
        return urlsplit(self.url).port or _HTTPS_PORT


class Manifest(Frozen):
    """What all parties of one job agree on. Build it with `Manifest.parse` or `load_manifest`.

    `weights` are those of the cliques, one each; None where all are 1, and then no file has them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)

    protocol: Literal["distaim/1"]
    expires: TimeText
    table_schema: Annotated[dict[str, Any], Field(alias="schema")]
    workload: str
    cliques: list[list[str]]
    weights: list[Annotated[int, Field(ge=1, le=MAX_WEIGHT)]] | None = None
    max_cells: Annotated[int, Field(ge=1)] | None = None
    mechanism: Mechanism
    n_max: Annotated[int, Field(ge=1, lt=2**31)]
    y_max: Annotated[int, Field(ge=1, lt=2**31)]
    sigma2_max: FractionText
    noise: Annotated[NoiseKind, AsText]
    engine: Annotated[EngineKind, AsText]
    threshold: Annotated[int, Field(ge=1)]
    min_holders: Annotated[int, Field(ge=1)]
    parties: list[PartyEntry]
    holders: list[Member]
    estimator: Member

    @model_validator(mode="after")
    def _check_members(self) -> "Manifest":
        with refused_as_value_error():
            AccessStructure(len(self.parties), self.threshold)
        if not 1 <= self.min_holders <= len(self.holders):
            raise ValueError(f"min_holders is {self.min_holders} of {len(self.holders)} holders")
        members: list[Member] = [*self.parties, *self.holders, self.estimator]
        pins = [fingerprint(member.certificate) for member in members]
        if len(set(pins)) != len(pins) or len({member.name for member in members}) != len(pins):
            raise ValueError("two members share a name or a certificate; each needs its own")
        return self

    @model_validator(mode="after")
    def _check_weights(self) -> "Manifest":
        if self.weights is not None and len(self.weights) != len(self.cliques):
            raise ValueError(f"{len(self.weights)} weights of {len(self.cliques)} cliques")
        return self

    @model_serializer(mode="wrap")
    def _without_equal_weights(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out weights that are all 1: the hash is that of before there were any."""
        raw: dict[str, Any] = dump(self)
        if self.weights is None:
            raw.pop("weights", None)  # gone already where nothing without a value is wanted
        return raw

    @classmethod
    def parse(cls, raw: dict[str, Any]) -> "Manifest":
        """Check a manifest's keys and values; ConfigError names each field that is wrong."""
        try:
            manifest = cls.model_validate(raw)
        except ValidationError as error:
            raise ConfigError(describe("the manifest", error)) from error
        weights = manifest.weights if set(manifest.weights or ()) - {1} else None
        schema = _normal_schema(manifest)
        normal = manifest.model_copy(update={"table_schema": schema, "weights": weights})
        normal.canonical_bytes()  # what cannot be hashed cannot be agreed on
        return normal

    def canonical_bytes(self) -> bytes:
        """Return the manifest as canonical JSON; ConfigError if a number is too large for it."""
        try:
            return canonical(self.model_dump(mode="json", by_alias=True))
        except ValueError as error:
            raise ConfigError(f"the manifest cannot be used: {error}") from error

    @property
    def digest(self) -> str:
        """Return the manifest's hash as hex, see docs/protocol.md, section 23."""
        return tagged_sha256(HashOf.MANIFEST, self.canonical_bytes())

    @property
    def end(self) -> dt.datetime:
        """Return when the manifest expires; nothing is started or frozen from then on."""
        return dt.datetime.strptime(self.expires, _TIME).replace(tzinfo=dt.UTC)

    @property
    def run(self) -> str:
        """Return the short name of this job for messages."""
        return self.digest[:12]

    @property
    def n_parties(self) -> int:
        """Count the compute parties."""
        return len(self.parties)

    def clients(self) -> list[str]:
        """Return the certificates that the API of a party lets in (PEM)."""
        members: list[Member] = [*self.holders, self.estimator, *self.parties]
        return [member.certificate for member in members]


def load_manifest(path: Path) -> Manifest:
    """Read a manifest from TOML or JSON (by the file's suffix); ConfigError if it is wrong."""
    return Manifest.parse(read_settings(path))


def save_manifest(manifest: Manifest, path: Path) -> None:
    """Write the manifest as JSON."""
    raw = manifest.model_dump(mode="json", by_alias=True)
    write_whole(path, json.dumps(raw, indent=1, sort_keys=True))


def _normal_schema(manifest: Manifest) -> dict[str, Any]:
    """Return the schema in the one form of its meaning.

    Canonical JSON sorts keys and writes 1.0 as 1, so two schemas that order columns or label values
    otherwise could have one hash.
    """
    from aim_core.tables.schema_file import schema_from_dict  # slow to load

    try:
        return schema_from_dict(manifest.table_schema).to_dict()
    except SchemaError as error:
        raise ConfigError(f"the manifest's schema and workload do not fit: {error}") from error
