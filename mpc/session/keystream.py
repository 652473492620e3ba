"""Shared randomness: keys per component, AES-CTR streams derived from them.

Every set of m - t parties shares one key: these are exactly the holders of one component, so the
pseudo-random secret sharing of [CDI05] gives shared secrets and sharings of zero without
communication. Keys are fresh per session; each stream is derived by HKDF-Expand (RFC 5869) from
the component's key and a label that names session, step, message and contributor, so no stream
is ever used twice.
"""

import hashlib
import hmac
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

RandomBytes = Callable[[int], bytes]
"""Returns so many fresh random bytes; in production the operating system's CSPRNG."""

_ZERO_BLOCK = bytes(1 << 16)


def extract_key(secret: bytes, salt: bytes) -> bytes:
    """HKDF-Extract with SHA-256."""
    return hmac.digest(salt, secret, "sha256")


def expand_key(key: bytes, label: bytes) -> bytes:
    """HKDF-Expand with SHA-256 to 32 bytes."""
    return HKDFExpand(SHA256(), 32, label).derive(key)


class Keystream:
    """AES-128-CTR output as arrays; 2^64 blocks per stream, far beyond any step's need."""

    def __init__(self, key: bytes, label: bytes) -> None:
        stream_key = expand_key(key, label)[:16]
        self._encryptor = Cipher(algorithms.AES(stream_key), modes.CTR(bytes(16))).encryptor()

    def __repr__(self) -> str:
        return "Keystream(<redacted>)"

    def __reduce__(self) -> str:
        raise TypeError("a keystream is never serialised")

    def read(self, n_bytes: int) -> bytes:
        """Return the next `n_bytes` of the stream."""
        zeros = _ZERO_BLOCK[:n_bytes] if n_bytes <= len(_ZERO_BLOCK) else bytes(n_bytes)
        return self._encryptor.update(zeros)

    def words(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
        """Return uniform unsigned integers of `dtype` in `shape`."""
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        return np.frombuffer(self.read(size), dtype=dtype).reshape(shape)


def digest(*parts: bytes) -> bytes:
    """SHA-256 over length-prefixed parts."""
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.digest()
