"""Opening of shared values to all compute parties, with a cross-check between holders."""

from mpc.arrays import Array
from mpc.errors import ProtocolViolation
from mpc.session.channel import Channel
from mpc.session.keystream import digest
from mpc.shares.replicated import Share, reduce_ring

DIGEST_BYTES = 32


def _sources(channel: Channel, party: int, component: int) -> tuple[int, int]:
    """Return who sends a missing component to `party` and who sends its hash."""
    holders = channel.access.holders[component]
    start = next((i for i, holder in enumerate(holders) if holder > party), 0)
    return holders[start], holders[(start + 1) % len(holders)]


def _outgoing(channel: Channel, share: Share) -> dict[int, bytes]:
    """Return the component values, then the hashes, that each peer gets from this party."""
    access, pid = channel.access, channel.pid
    encoded = {i: share.algebra.encode(x) for i, x in share.components.items()}
    outgoing = {}
    for party in range(access.n_parties):
        missing = [i for i in sorted(share.support) if i not in access.held[party]]
        parts = [encoded[i] for i in missing if _sources(channel, party, i)[0] == pid]
        parts += [digest(encoded[i]) for i in missing if _sources(channel, party, i)[1] == pid]
        if parts and party != pid:
            outgoing[party] = b"".join(parts)
    return outgoing


async def open_share(channel: Channel, share: Share) -> Array:
    """Open a shared array to every compute party.

    Each party takes a component that it lacks from one holder and its SHA-256 from another.
    The share must come from `reshare` (or be a linear function of such shares), never from
    `local_product`: unmasked products leak their factors.

    Returns the values, ring elements reduced modulo 2^k, in the share's dtype and shape.

    Reveals: the values, to all parties.
    Cost: 1 round; per party C(m-1, t-1) times one element per entry, and as many hashes.

    Raises ProtocolViolation: component and hash differ.
    """
    pid, algebra, present = channel.pid, share.algebra, sorted(share.support)
    missing = [i for i in present if i not in channel.access.held[pid]]
    senders = sorted({p for i in missing for p in _sources(channel, pid, i)})
    received = await channel.exchange(_outgoing(channel, share), senders)
    values, hashes = _split(channel, received, missing, algebra.encoded_size(share.shape))
    total = None
    for i in present:
        if i in missing:
            if digest(values[i]) != hashes[i]:
                sender, other = _sources(channel, pid, i)
                text = f"parties {sender} and {other} open different values"
                channel.abort(ProtocolViolation(text, sender))
            part = algebra.decode(values[i], share.shape, _sources(channel, pid, i)[0])
        else:
            part = share.components[i]
        total = part if total is None else algebra.add(total, part)
    if total is None:
        return share.zeros()
    return reduce_ring(total, algebra.bits) if algebra.bits else total


def _split(
    channel: Channel, received: dict[int, bytes], missing: list[int], size: int
) -> tuple[dict[int, bytes], dict[int, bytes]]:
    """Cut the received payloads into component values and hashes; strict about their length."""
    values: dict[int, bytes] = {}
    hashes: dict[int, bytes] = {}
    for sender, payload in received.items():
        position = 0
        for role, target, length in ((0, values, size), (1, hashes, DIGEST_BYTES)):
            for i in missing:
                if _sources(channel, channel.pid, i)[role] == sender:
                    target[i] = payload[position : position + length]
                    position += length
        if position != len(payload):
            raise ProtocolViolation(f"party {sender} opens a value of a wrong length", sender)
    return values, hashes
