"""TLS 1.3 contexts for the HTTPS API: both sides show a certificate, both sides pin it."""

import ssl
from collections.abc import Iterable

from parties.certificates import Identity
from parties.errors import ConfigError


def server_context(identity: Identity, trusted: Iterable[str]) -> ssl.SSLContext:
    """Return the context of a compute party's API.

    `trusted` are the PEM certificates that the manifest lists. Only a client that owns the key of
    one of them completes the handshake; which one decides what it may ask for. ConfigError if a
    certificate or key cannot be loaded.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0  # no resumption: every connection proves its key
    _pin(context, identity, trusted)
    return context


def client_context(identity: Identity, server_certificate: str) -> ssl.SSLContext:
    """Return a context that talks to the owner of `server_certificate` (PEM) and nobody else.

    Host names are not compared: the pinned certificate is the server's identity. ConfigError as
    in `server_context`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    _pin(context, identity, [server_certificate])
    return context


def _pin(context: ssl.SSLContext, identity: Identity, trusted: Iterable[str]) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    # The listed certificate itself is the anchor; none of them may vouch for another one.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_cert_chain(identity.certificate_path, identity.key_path)
        context.load_verify_locations(cadata="\n".join(trusted))
    except (OSError, ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"the certificate or key of {identity.name} cannot be used ({error}); check "
            f"{identity.certificate_path}, {identity.key_path} and the manifest's certificates"
        ) from error
