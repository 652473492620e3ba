"""What compute parties compare when they meet, for the first time or again after one was lost.

Charges go up only. A charge is made after all parties have agreed on the request and on the ledgers
before it, so honest ledgers differ by one charge at most, where a party was killed between the
agreement and its disk. That charge is booked by all. Any other difference is a ledger that was
edited or rolled back; the party that stands against the majority is named.
"""

from collections import Counter
from collections.abc import Hashable, Mapping

from mpc.errors import EncodingOverflow, MpcError, ProtocolViolation
from parties.agreement.values import Hash, Name
from parties.wire.messages import LedgerEntry, Wire

MEETING = "meeting"
"""The label under which the claims are exchanged in a new session."""


class Claim(Wire):
    """A party's public state: the frozen inputs if any, and all charges.

    `freeze` and `finish` are the hashes of the requests that froze the inputs and ended the job.
    """

    inputs: dict[Name, Hash] | None
    freeze: Hash | None
    charges: list[LedgerEntry]
    finish: Hash | None


def merged(claims: Mapping[int, Claim]) -> Claim:
    """Return the state that all parties go on from: the furthest of them.

    Raises ProtocolViolation, naming the party that stands against the others, for ledgers or
    inputs that cannot come from one job.
    """
    claims = dict(sorted(claims.items()))  # so that all parties name the same one
    frozen = {pid: claim for pid, claim in claims.items() if claim.inputs is not None}
    inputs = {pid: (c.freeze, *sorted((c.inputs or {}).items())) for pid, c in frozen.items()}
    odd = minority(inputs)
    if odd is not None:
        raise ProtocolViolation(f"party {odd} has frozen other inputs than its peers", odd)
    longest = max((claim.charges for claim in claims.values()), key=len)
    for index in range(len(longest)):
        entries = {p: c.charges[index] for p, c in claims.items() if len(c.charges) > index}
        odd = minority(entries)
        if odd is not None:
            text = f"entry {index + 1} of the ledger of party {odd} differs from its peers': edited"
            raise ProtocolViolation(text, odd)
    _check_lengths(claims, len(longest))
    first = next(iter(frozen.values()), None)
    return Claim(
        inputs=None if first is None else first.inputs,
        freeze=None if first is None else first.freeze,
        charges=longest,
        finish=next((c.finish for c in claims.values() if c.finish is not None), None),
    )


def _check_lengths(claims: Mapping[int, Claim], n_charges: int) -> None:
    """Refuse ledgers that are behind by more than the one charge that a crash explains."""
    behind = [
        pid
        for pid, claim in claims.items()
        if len(claim.charges) < n_charges - 1 or (n_charges > 0 and claim.inputs is None)
    ]
    if not behind:
        return
    if 2 * len(behind) > len(claims):
        ahead = next(pid for pid in claims if pid not in behind)
        text = f"the ledger of party {ahead} has charges that most of its peers do not have"
        raise ProtocolViolation(text, ahead)
    raise ProtocolViolation(
        f"the ledger of party {behind[0]} has {len(claims[behind[0]].charges)} of {n_charges} "
        "charges: its state was rolled back or lost; restore it, or start a new job",
        behind[0],
    )


def minority(values: Mapping[int, Hashable]) -> int | None:
    """Return a party whose value is not that of the most, None if all are equal."""
    counts = Counter(values.values())
    if len(counts) <= 1:
        return None
    common = counts.most_common(1)[0][0]
    return next(pid for pid, value in values.items() if value != common)


def may_come_back(error: BaseException) -> bool:
    """Say whether peers that are lost with this error may be met again, and the job go on."""
    return isinstance(error, MpcError) and not isinstance(
        error, ProtocolViolation | EncodingOverflow
    )
