"""Who is who in a job: the role that each pinned certificate has."""

from dataclasses import dataclass
from typing import Literal

from parties.agreement.manifest import Manifest
from parties.errors import IdentityError
from parties.identity.certificates import fingerprint

RoleKind = Literal["party", "holder", "estimator"]


@dataclass(frozen=True)
class Role:
    """What a certificate entitles to."""

    kind: RoleKind
    name: str


def roles(manifest: Manifest) -> dict[str, Role]:
    """Return which role each pinned certificate has, by its fingerprint."""
    found = {
        fingerprint(party.certificate): Role("party", party.name) for party in manifest.parties
    }
    for holder in manifest.holders:
        found[fingerprint(holder.certificate)] = Role("holder", holder.name)
    estimator = manifest.estimator
    return found | {fingerprint(estimator.certificate): Role("estimator", estimator.name)}


def own_role(manifest: Manifest, certificate_pem: str) -> Role:
    """Return the role of the owner of a certificate; IdentityError if it has none."""
    role = roles(manifest).get(fingerprint(certificate_pem))
    if role is None:
        raise IdentityError(
            f"the certificate {fingerprint(certificate_pem)[:16]}... is not in manifest "
            f"{manifest.run}; use the one that was sent in for it, or have the manifest changed",
            run=manifest.run,
        )
    return role
