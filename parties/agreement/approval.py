"""Approvals: every compute party signs the manifest, and nothing runs without all signatures.

An approval is a small JSON file in the folder `approvals` beside the manifest. It names the party
and the manifest's hash, and the hash of every field, so that a signature made for an earlier
version tells in which fields that one differed. All of it is signed with the party's own key.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from parties.agreement.derived import manifest_budget, upload_format
from parties.agreement.fields import differing_fields, field_hashes, name_fields
from parties.agreement.manifest import Manifest, Member, load_manifest
from parties.agreement.public_inputs import PublicInputs, public_inputs
from parties.agreement.roles import Role, own_role
from parties.agreement.values import Frozen, Hash, Name
from parties.canonical import canonical
from parties.errors import ConfigError, IdentityError, NotApproved
from parties.files import write_whole
from parties.identity.certificates import WARNING_DAYS, Identity, validity
from parties.identity.signatures import Signer, Verifier

PURPOSE = "manifest approval"
"""What an approval's signature is bound to, see `parties.identity.signatures`."""

FOLDER = "approvals"


class Approval(Frozen):
    """One party's signed approval of one manifest."""

    party: Name
    manifest: Hash
    fields: dict[str, str]
    signature: str

    def signed_bytes(self) -> bytes:
        """Return what is signed: all but the signature as canonical JSON."""
        return canonical(self.model_dump(exclude={"signature"}))


@dataclass(frozen=True)
class ApprovalState:
    """How one party stands to a manifest; `text` says what is wrong unless it is signed."""

    party: str
    state: Literal["signed", "missing", "another manifest", "invalid"]
    text: str = ""


def approvals_folder(manifest_path: Path) -> Path:
    """Return where the approvals of a manifest stand."""
    return manifest_path.parent / FOLDER


def review(manifest: Manifest) -> PublicInputs:
    """Check all that a party can check before it signs, and return the public inputs.

    Raises ConfigError for a schema and workload that do not fit, a rho above what epsilon and
    delta pay for, or an expiry in the past, and MpcError for sizes that no ring holds.
    """
    check_in_force(manifest)
    inputs = public_inputs(manifest)
    manifest_budget(manifest, inputs)
    upload_format(manifest, inputs)
    return inputs


def approve(manifest: Manifest, manifest_path: Path, identity: Identity) -> Path:
    """Sign a manifest as one of its parties and return the approval's file.

    An approval of an earlier version is replaced. Raises IdentityError if the certificate is not
    a party's in this manifest, ConfigError if the key does not belong to it.
    """
    role = signing_role(manifest, identity)
    unsigned = Approval(
        party=role.name, manifest=manifest.digest, fields=field_hashes(manifest), signature=""
    )
    signature = sign_as(identity, PURPOSE, unsigned.signed_bytes())
    path = approvals_folder(manifest_path) / f"{role.name}.json"
    _write(path, unsigned.model_copy(update={"signature": signature}))
    return path


def signing_role(manifest: Manifest, identity: Identity) -> Role:
    """Return the role of a site that may approve a manifest; IdentityError if it may not."""
    role = own_role(manifest, identity.certificate)
    if role.kind != "party":
        raise IdentityError(
            f"{role.name} is a {role.kind} in manifest {manifest.run}; only compute parties "
            "approve it, the others need not",
            run=manifest.run,
        )
    return role


def sign_as(identity: Identity, purpose: str, message: bytes) -> str:
    """Sign with a site's key; ConfigError if the key is not that of the site's certificate."""
    signature = Signer(identity.key_path).sign(purpose, message)
    if not _is_by(identity.certificate, purpose, message, signature):
        raise ConfigError(
            f"{identity.key_path} is not the key of {identity.certificate_path}; give the two "
            "files that were made together"
        )
    return signature


def load_approved_manifest(path: Path) -> Manifest:
    """Read a manifest that all its parties have signed.

    Raises ConfigError if it cannot be used, NotApproved if it has expired or lacks a signature.
    """
    manifest = load_manifest(path)
    check_in_force(manifest)
    check_approvals(manifest, path)
    return manifest


def check_approvals(manifest: Manifest, path: Path) -> None:
    """Check that all parties have signed a manifest; NotApproved names those who have not.

    `path` is the manifest's file; the approvals stand in the folder beside it.
    """
    states = approval_states(manifest, path)
    missing = [state.party for state in states if state.state == "missing"]
    texts = [f"{', '.join(missing)} have not signed it"] if missing else []
    texts += [state.text for state in states if state.text and state.state != "missing"]
    if texts:
        raise NotApproved(
            f"manifest {manifest.run} is not approved by all parties: {'; '.join(texts)}. Each "
            f"party runs `distaim approve {path.name}` and sends its file for the folder "
            f"{approvals_folder(path)}",
            run=manifest.run,
        )


def approval_states(manifest: Manifest, manifest_path: Path) -> list[ApprovalState]:
    """Return how every party stands to a manifest, in the parties' order."""
    folder = approvals_folder(manifest_path)
    return [_state(manifest, party, folder / f"{party.name}.json") for party in manifest.parties]


def check_in_force(manifest: Manifest) -> None:
    """Refuse a manifest that has expired; NotApproved says since when."""
    if dt.datetime.now(dt.UTC) >= manifest.end:
        raise NotApproved(
            f"manifest {manifest.run} expired at {manifest.expires}; agree on a new one with "
            "`distaim init`, or check this machine's clock",
            run=manifest.run,
        )


def expiry_warnings(manifest: Manifest, now: dt.datetime) -> list[str]:
    """Return a text for every certificate in a manifest that is not good now, or ends soon."""
    members: Sequence[Member] = [*manifest.parties, *manifest.holders, manifest.estimator]
    texts = [expiry_warning(member.name, member.certificate, now) for member in members]
    return [text for text in texts if text]


def expiry_warning(name: str, certificate: str, now: dt.datetime) -> str:
    """Say that a certificate is not good yet or any more, or ends soon; else the empty text."""
    begin, end = validity(certificate)
    if now < begin:
        return (
            f"the certificate of {name} is good from {begin:%Y-%m-%d %H:%M} UTC on, which is in "
            "the future: nobody connects before; set this machine's clock"
        )
    if end - now > dt.timedelta(days=WARNING_DAYS):
        return ""
    when = f"{end:%Y-%m-%d}"
    if end <= now:
        return f"the certificate of {name} expired on {when}: nobody can connect with it"
    return f"the certificate of {name} expires on {when}, in {(end - now).days} days"


def _state(manifest: Manifest, party: Member, path: Path) -> ApprovalState:
    name = party.name
    if not path.exists():
        return ApprovalState(name, "missing", f"{name} has not signed it")
    try:
        approval = Approval.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return ApprovalState(name, "invalid", f"{path} is not an approval that can be read")
    signed = approval.signed_bytes()
    good = _is_by(party.certificate, PURPOSE, signed, approval.signature)
    if approval.party != name or not good:
        text = f"the signature in {path.name} was not made with the key of {name}"
        return ApprovalState(name, "invalid", text)
    if approval.manifest != manifest.digest:
        differing = differing_fields(approval.fields, field_hashes(manifest))
        text = (
            f"{name} signed another manifest, {approval.manifest[:12]}, which differs in "
            f"{name_fields(differing)}"
        )
        return ApprovalState(name, "another manifest", text)
    return ApprovalState(name, "signed")


def _is_by(certificate: str, purpose: str, message: bytes, signature: str) -> bool:
    try:
        Verifier(certificate).check(purpose, message, signature)
    except IdentityError:
        return False
    return True


def _write(path: Path, approval: Approval) -> None:
    path.parent.mkdir(exist_ok=True)
    write_whole(path, approval.model_dump_json(indent=1) + "\n")
