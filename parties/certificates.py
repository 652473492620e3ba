"""Self-signed throw-away certificates, and the fingerprint by which a certificate is known.

There is no certificate authority: the manifest lists every role's certificate, and a TLS peer is
whoever the manifest lists with exactly the certificate that the peer proved to own.
"""

import datetime as dt
import hashlib
import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from parties.errors import ConfigError

_LIFETIME = dt.timedelta(days=30)
_CLOCK_SKEW = dt.timedelta(hours=1)


@dataclass(frozen=True)
class Identity:
    """Where a role keeps its certificate and its private key (PEM files)."""

    name: str
    certificate_path: Path
    key_path: Path

    @property
    def certificate(self) -> str:
        """Return the certificate as PEM text; ConfigError if it cannot be read."""
        return read_certificate(self.certificate_path)


def read_certificate(path: Path) -> str:
    """Read a PEM certificate; ConfigError names the file that cannot be read."""
    try:
        text = path.read_text("ascii")
        ssl.PEM_cert_to_DER_cert(text)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no PEM certificate could be read from {path} ({error}); give the file that belongs "
            "to this site's key"
        ) from error
    return text


def fingerprint(certificate_pem: str) -> str:
    """Return the SHA-256 of a certificate's DER form as hex; ConfigError if it is not PEM."""
    try:
        return fingerprint_of_der(ssl.PEM_cert_to_DER_cert(certificate_pem))
    except ValueError as error:
        raise ConfigError(f"a certificate is not PEM text ({error})") from error


def fingerprint_of_der(certificate_der: bytes) -> str:
    """Return the SHA-256 of a DER certificate as hex."""
    return hashlib.sha256(certificate_der).hexdigest()


def make_identity(name: str, directory: Path) -> Identity:
    """Make a key and a self-signed certificate for `name` in `directory`.

    The key file is created with mode 0600 and never leaves the directory. ConfigError if the
    files exist already: a key is never overwritten.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    key_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    certificate_pem = _self_signed(name, key).public_bytes(serialization.Encoding.PEM)
    directory.mkdir(parents=True, exist_ok=True)
    identity = Identity(name, directory / f"{name}.crt", directory / f"{name}.key")
    try:
        descriptor = os.open(identity.key_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(
            f"the key {identity.key_path} exists; keep it, or move it away to make a new one"
        ) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(key_pem)
    identity.certificate_path.write_bytes(certificate_pem)
    return identity


def _self_signed(name: str, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .sign(key, hashes.SHA256())
    )
