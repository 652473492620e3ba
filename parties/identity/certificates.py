"""Self-signed certificates, and the fingerprint by which a certificate is known.

There is no certificate authority: the manifest lists every role's certificate, and a TLS peer is
whoever the manifest lists with exactly the certificate that the peer proved to own.
"""

import datetime as dt
import hashlib
import ipaddress
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mpc.session.tls import Credentials
from parties.errors import ConfigError
from parties.files import sync_file, write_whole

DAYS_PER_YEAR = 365
THROW_AWAY_DAYS = DAYS_PER_YEAR
"""Days that a certificate is valid if nothing else is asked for; `distaim keys` asks for years."""

WARNING_DAYS = 90
"""Days before its end from which on a certificate is warned about."""

_CLOCK_SKEW = dt.timedelta(hours=1)


@dataclass(frozen=True)
class Identity:
    """Where a role keeps its certificate and its private key (PEM files)."""

    name: str
    certificate_path: Path
    key_path: Path

    @property
    def credentials(self) -> Credentials:
        """Return the two files, as the secure engine takes them."""
        return Credentials(self.certificate_path, self.key_path)

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


def validity(certificate_pem: str) -> tuple[dt.datetime, dt.datetime]:
    """Return from when to when (UTC) a certificate is valid; ConfigError if it is not PEM."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    except ValueError as error:
        raise ConfigError(f"a certificate is not PEM text ({error})") from error
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


def make_identity(
    name: str, directory: Path, *, days: int = THROW_AWAY_DAYS, hosts: Sequence[str] = ()
) -> Identity:
    """Make a key and a self-signed certificate for `name` in `directory`, valid for `days`.

    `hosts` are the names or addresses it serves; they are told in the certificate, for other
    programs, and never compared here. The key file is created with mode 0600 and never leaves
    the directory. ConfigError if one of the files exists already: a key is never overwritten.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    key_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    certificate = _self_signed(name, key, dt.timedelta(days=days), hosts)
    identity = Identity(name, directory / f"{name}.crt", directory / f"{name}.key")
    if identity.certificate_path.exists() and not identity.key_path.exists():
        raise ConfigError(f"{identity.certificate_path} exists; it belongs to another key, keep it")
    directory.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(identity.key_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(
            f"the key {identity.key_path} exists; keep it, or move it away to make a new one"
        ) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(key_pem)
    sync_file(identity.key_path)
    write_whole(identity.certificate_path, certificate.public_bytes(serialization.Encoding.PEM))
    return identity


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise ConfigError(f"{host!r} is no host name ({error}); write it in ASCII") from error


def _self_signed(
    name: str, key: ec.EllipticCurvePrivateKey, lifetime: dt.timedelta, hosts: Sequence[str]
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    names = [_host_name(host) for host in dict.fromkeys([name, "127.0.0.1", *hosts])]
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .sign(key, hashes.SHA256())
    )
