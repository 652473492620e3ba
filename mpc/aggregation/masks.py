"""Keys and masks of secure aggregation: X25519, HKDF, AES-GCM and AES-CTR.

Every key is derived with a context, a hash of all that is public so far (session, members, their
keys, slots), and a label that names slot and members, so no two masks come from one stream and
members who were told different things share no key.
"""

import struct

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mpc.aggregation.seed_sharing import SHARE_BYTES
from mpc.arrays import Array
from mpc.errors import ProtocolViolation
from mpc.session.keystream import Keystream, expand_key, extract_key

KEY_BYTES = 32
TAG_BYTES = 16
_CHUNK_CELLS = 1 << 16
_NAMES = struct.Struct("<III")


def mask_key(seed: int, context: bytes, number: int) -> X25519PrivateKey:
    """Return the key pair of a member's pairwise masks; the seed stands for it in the sharing.

    Context and number salt the derivation, so that a search for one member's seed is none for
    another's.
    """
    key = extract_key(seed.to_bytes(SHARE_BYTES, "little"), context)
    return X25519PrivateKey.from_private_bytes(
        expand_key(key, b"mask key" + _NAMES.pack(number, 0, 0))
    )


def public_bytes(key: X25519PrivateKey) -> bytes:
    """Return the 32 bytes of the public key."""
    return key.public_key().public_bytes_raw()


def agree_key(own: X25519PrivateKey, public: bytes, context: bytes, peer: int) -> bytes:
    """Return the key that this member and `peer` share: HKDF-Extract of their X25519 secret.

    Raises ProtocolViolation: the peer's public key is a point of low order.
    """
    try:
        secret = own.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise ProtocolViolation(f"member {peer} sent an unusable key", peer) from error
    return extract_key(secret, context)


def _channel(key: bytes, sender: int, receiver: int) -> AESGCM:
    return AESGCM(expand_key(key, b"channel" + _NAMES.pack(sender, receiver, 0)))


def seal(key: bytes, sender: int, receiver: int, plaintext: bytes) -> bytes:
    """Encrypt the one message of this key and direction (so the nonce may be constant)."""
    return _channel(key, sender, receiver).encrypt(bytes(12), plaintext, None)


def unseal(key: bytes, sender: int, receiver: int, sealed: bytes) -> bytes:
    """Inverse of `seal`.

    Raises ProtocolViolation: altered on the way, or made for other public facts.
    """
    try:
        return _channel(key, sender, receiver).decrypt(bytes(12), sealed, None)
    except InvalidTag as error:
        text = (
            f"the shares of member {sender} do not decrypt: they were altered, or it was told "
            f"another roster or other slots"
        )
        raise ProtocolViolation(text, sender) from error


def _add_stream(words: Array, key: bytes, label: bytes, sign: int) -> None:
    stream = Keystream(key, label)
    add = np.add if sign > 0 else np.subtract
    for start in range(0, words.size, _CHUNK_CELLS):
        chunk = words[start : start + _CHUNK_CELLS]
        add(chunk, stream.words(chunk.shape, words.dtype), out=chunk)


def add_self_mask(
    words: Array, seed: int, context: bytes, slot: int, member: int, sign: int
) -> None:
    """Add (sign 1) or take away (sign -1) a member's own mask of one slot, in place.

    `words`: `(n_cells,)` uint32 or uint64, taken modulo the word.
    """
    key = extract_key(seed.to_bytes(SHARE_BYTES, "little"), context)
    _add_stream(words, key, b"self" + _NAMES.pack(slot, member, member), sign)


def add_pair_mask(words: Array, key: bytes, slot: int, own: int, peer: int, sign: int) -> None:
    """Add (sign 1) or take away (sign -1) what `own` adds against `peer` in one slot.

    The lower number adds the stream and the higher one subtracts it, so the two cancel.

    `words`: `(n_cells,)` uint32 or uint64, taken modulo the word. `key`: `agree_key` of the two.
    """
    low, high = sorted((own, peer))
    label = b"pair" + _NAMES.pack(slot, low, high)
    _add_stream(words, key, label, sign if own < peer else -sign)
