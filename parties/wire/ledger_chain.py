"""The heads of a ledger: each charge's hash holds the one before."""

from parties.canonical import HashOf, canonical, tagged_sha256
from parties.wire.messages import LedgerEntry


def first_head(manifest_digest: str) -> str:
    """Return the head of a ledger without charges."""
    return tagged_sha256(HashOf.LEDGER_START, manifest_digest.encode())


def head_of(previous: str, charge: LedgerEntry) -> str:
    """Return a ledger's head after one more charge; from the charges, anyone can compute it."""
    entry = {
        "previous": previous,
        "request": charge.request,
        "sha256": charge.sha256,
        "rho": charge.rho,
        "delta": charge.delta,
    }
    return tagged_sha256(HashOf.LEDGER_ENTRY, canonical(entry))
