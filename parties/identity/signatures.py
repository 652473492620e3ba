"""Signatures with a site's key: ECDSA over P-256 with SHA-256, each bound to one purpose.

The key is that of the site's pinned certificate, so that the manifest says whose signature it is.
The purpose is part of what is signed: a line of a transcript is never an approval.
"""

import re
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from parties.errors import ConfigError, IdentityError

_SIGNATURE = re.compile(r"[0-9a-f]{128}")
_ALGORITHM = ec.ECDSA(hashes.SHA256())


class Signer:
    """Signs with the private key in a PEM file; ConfigError if it is no P-256 key."""

    def __init__(self, key_path: Path) -> None:
        try:
            key = load_pem_private_key(key_path.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(
                f"no private key could be read from {key_path} ({error}); give this site's key"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
            raise ConfigError(f"{key_path} is not a key on P-256; make one with `distaim keys`")
        self._key = key

    def __repr__(self) -> str:
        return "Signer(key withheld)"

    def sign(self, purpose: str, message: bytes) -> str:
        """Return the signature as 128 hex digits, r then s."""
        r, s = decode_dss_signature(self._key.sign(_bound(purpose, message), _ALGORITHM))
        return f"{r:064x}{s:064x}"


class Verifier:
    """Checks signatures against a certificate (PEM); ConfigError if its key is not on P-256."""

    def __init__(self, certificate: str) -> None:
        try:
            key = x509.load_pem_x509_certificate(certificate.encode()).public_key()
        except ValueError as error:
            raise ConfigError(f"a certificate cannot be read ({error})") from error
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
            raise ConfigError("a certificate's key is not on P-256; make one with `distaim keys`")
        self._key = key

    def check(self, purpose: str, message: bytes, signature: str) -> None:
        """Raise IdentityError unless `signature` is the certificate owner's, for this purpose."""
        if not _SIGNATURE.fullmatch(signature):
            raise IdentityError("a signature is not written as 128 hex digits")
        der = encode_dss_signature(int(signature[:64], 16), int(signature[64:], 16))
        try:
            self._key.verify(der, _bound(purpose, message), _ALGORITHM)
        except InvalidSignature:
            raise IdentityError(
                "a signature is not by the key of the certificate that the manifest lists, or not "
                "over this text"
            ) from None


def _bound(purpose: str, message: bytes) -> bytes:
    return b"distaim signature\0" + purpose.encode() + b"\0" + message
