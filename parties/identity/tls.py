"""TLS 1.3 contexts for the HTTPS API: both sides show a certificate, both sides pin it."""

import ssl
from collections.abc import Iterable

from mpc.session.tls import pinned_context
from parties.errors import ConfigError
from parties.identity.certificates import Identity


def server_context(identity: Identity, trusted: Iterable[str]) -> ssl.SSLContext:
    """Return the context of a compute party's API.

    `trusted` are the PEM certificates that the manifest lists. Only a client that owns the key of
    one of them completes the handshake; which one decides what it may ask for. ConfigError if a
    certificate or key cannot be loaded.
    """
    return _context(identity, trusted, server=True)


def client_context(identity: Identity, server_certificate: str) -> ssl.SSLContext:
    """Return a context that talks to the owner of `server_certificate` (PEM) and nobody else.

    ConfigError as in `server_context`.
    """
    return _context(identity, [server_certificate], server=False)


def _context(identity: Identity, trusted: Iterable[str], *, server: bool) -> ssl.SSLContext:
    try:
        return pinned_context(identity.credentials, trusted, server=server)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the certificate or key of {identity.name} cannot be used ({error}); check "
            f"{identity.certificate_path}, {identity.key_path} and the manifest's certificates"
        ) from error
