import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest

from mpc.session.tls import pinned_context
from parties.errors import ConfigError
from parties.identity.certificates import Identity, fingerprint, make_identity, read_certificate
from parties.identity.tls import client_context, server_context

Pair = tuple[Identity, Identity, Identity]
"""A server, its client, and somebody else."""


def handshake(server: Identity, client: Identity, pinned: str, trusted: list[str]) -> str:
    """Shake hands over a socket pair; return the TLS version, raise what the client sees."""
    left, right = socket.socketpair()
    context = server_context(server, trusted)

    def serve() -> None:
        try:
            with context.wrap_socket(left, server_side=True) as tls:
                tls.sendall(b"x")
        except (ssl.SSLError, OSError):
            left.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client_context(client, pinned).wrap_socket(right) as tls:
            if tls.recv(1) != b"x":
                raise ConnectionError("refused")
            return str(tls.version())
    finally:
        right.close()
        thread.join()


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    server, client, other = (
        make_identity(name, tmp_path) for name in ("server", "client", "other")
    )
    return server, client, other


def test_key_is_private_and_never_overwritten(tmp_path: Path) -> None:
    identity = make_identity("ann", tmp_path)
    assert stat.S_IMODE(identity.key_path.stat().st_mode) == 0o600
    before = identity.key_path.read_bytes()
    with pytest.raises(ConfigError, match="exists"):
        make_identity("ann", tmp_path)
    assert identity.key_path.read_bytes() == before
    assert len(fingerprint(identity.certificate)) == 64


def test_pinned_peers_connect_with_tls_1_3(pair: Pair) -> None:
    server, client, _ = pair
    assert handshake(server, client, server.certificate, [client.certificate]) == "TLSv1.3"


@pytest.mark.parametrize("server", [True, False])
def test_peers_and_clients_are_pinned_with_the_same_flags(pair: Pair, server: bool) -> None:
    """Links between parties and the API take their contexts from one place."""
    own, peer, _ = pair
    context = pinned_context(own.credentials, [peer.certificate], server=server)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
    assert context.cert_store_stats()["x509"] == 1  # what is listed, and no store of the system
    if server:
        assert context.num_tickets == 0  # a connection cannot be resumed without its key


def test_client_refuses_another_server(pair: Pair) -> None:
    server, client, other = pair
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client, other.certificate, [client.certificate])


def test_server_refuses_another_client(pair: Pair) -> None:
    server, client, other = pair
    with pytest.raises((ssl.SSLError, OSError)):
        handshake(server, other, server.certificate, [client.certificate])


def test_same_name_is_not_the_same_identity(pair: Pair, tmp_path: Path) -> None:
    server, client, _ = pair
    impostor = make_identity("client", tmp_path / "elsewhere")
    with pytest.raises((ssl.SSLError, OSError)):
        handshake(server, impostor, server.certificate, [client.certificate])


def test_unreadable_certificates_are_config_errors(tmp_path: Path) -> None:
    path = tmp_path / "x.crt"
    with pytest.raises(ConfigError, match=r"x\.crt"):
        read_certificate(path)
    path.write_text("not PEM")
    with pytest.raises(ConfigError, match=r"x\.crt"):
        read_certificate(path)
    with pytest.raises(ConfigError, match="cannot be used"):
        client_context(Identity("ann", path, path), "not PEM")
