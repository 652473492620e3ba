"""`distaim init`: a manifest draft from what a consortium's members have told each other."""

import datetime as dt
import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from aim_core.tables.schema_file import load_schema
from parties.agreement.approval import review
from parties.agreement.choices import Choices
from parties.agreement.draft import Members, build_manifest, derive, draft_inputs
from parties.agreement.manifest import Manifest, Member, PartyEntry
from parties.agreement.terms import read_terms
from parties.agreement.toml import save_manifest_toml
from parties.agreement.values import Name, describe
from parties.errors import ConfigError
from parties.identity.certificates import read_certificate

PARTY_FORM = "NAME=HOST:HTTPS_PORT:MPC_PORT=CERTIFICATE"
MEMBER_FORM = "NAME=CERTIFICATE"


@dataclass(frozen=True, kw_only=True)
class Answers(Choices):
    """What the options or the wizard gave. `min_holders` None is all of them.

    `expires` is the first day, in UTC, on which nothing is started any more.
    """

    schema: Path
    n_max: int
    parties: Sequence[PartyEntry]
    holders: Sequence[Member]
    estimator: Member
    expires: dt.date
    min_holders: int | None


def draft(answers: Answers) -> Manifest:
    """Return the manifest that follows from the answers, checked as a party checks it.

    Raises ConfigError and AimError for answers that cannot be used; the text says which.
    """
    terms = read_terms(answers, len(answers.parties), seed=secrets.randbits(32))
    schema = load_schema(answers.schema)
    if schema.draft:
        raise ConfigError(
            f"{answers.schema} is marked as a draft: a manifest would publish what it took from "
            "data. Replace what its comments mark by what is publicly known, then remove "
            "`draft = true`"
        )
    inputs = draft_inputs(schema, terms.workload, terms.max_cells)
    least = len(answers.holders) if answers.min_holders is None else answers.min_holders
    members = Members(answers.parties, answers.holders, answers.estimator, least)
    midnight = dt.datetime.combine(answers.expires, dt.time(), dt.UTC)
    manifest = build_manifest(derive(terms, inputs, answers.n_max), members, midnight)
    review(manifest)
    return manifest


def write_draft(manifest: Manifest, folder: Path) -> Path:
    """Write `manifest.toml` into a folder; ConfigError if there is one already."""
    path = folder / "manifest.toml"
    if path.exists():
        raise ConfigError(f"{path} exists; nothing is overwritten, name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    save_manifest_toml(manifest, path)
    return path


def read_party(text: str) -> PartyEntry:
    """Read a compute party as PARTY_FORM; ConfigError says what is wrong with it."""
    name, address, certificate = _split(text, 3, PARTY_FORM)
    parts = address.rsplit(":", 2)
    if len(parts) != 3 or not (parts[1].isdecimal() and parts[2].isdecimal()):
        raise ConfigError(
            f"{address!r} is not HOST:HTTPS_PORT:MPC_PORT, such as a.example.org:8443:8444"
        )
    try:
        return PartyEntry(
            name=name,
            certificate=_certificate(certificate),
            url=f"https://{parts[0]}:{int(parts[1])}",
            host=parts[0].strip("[]"),
            port=int(parts[2]),
        )
    except ValidationError as error:
        raise ConfigError(describe(f"the compute party {name}", error)) from error


def read_member(text: str) -> Member:
    """Read a holder or the estimator as MEMBER_FORM; ConfigError says what is wrong with it."""
    name, certificate = _split(text, 2, MEMBER_FORM)
    try:
        return Member(name=name, certificate=_certificate(certificate))
    except ValidationError as error:
        raise ConfigError(describe(f"the member {name}", error)) from error


def check_name(name: str) -> None:
    """Refuse a name that no manifest takes; ConfigError says what one looks like."""
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise ConfigError(
            f"{name!r} is no name for a site; take up to 64 letters, digits, dots, dashes and "
            "underscores, beginning with a letter or digit"
        ) from error


def read_date(text: str) -> dt.date:
    """Read a day as YYYY-MM-DD; ConfigError if it is not one."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is not a day such as 2030-12-31") from error


def _split(text: str, n_parts: int, form: str) -> list[str]:
    parts = [part.strip() for part in text.split("=", n_parts - 1)]
    if len(parts) != n_parts or not all(parts):
        raise ConfigError(f"{text!r} is not written as {form}")
    return parts


def _certificate(path: str) -> str:
    """Read a certificate in the one form in which it is hashed, whatever its file looks like."""
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(read_certificate(Path(path))))
