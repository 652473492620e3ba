"""What `distaim doctor` tries on the network: names, ports, TLS, and a party's own word."""

import datetime as dt
import email.utils
import errno
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from parties.agreement.fields import raw_field_hashes
from parties.agreement.manifest import Manifest, PartyEntry
from parties.canonical import read_json
from parties.identity.certificates import Identity, fingerprint, fingerprint_of_der
from parties.identity.tls import client_context
from parties.setup.findings import Finding
from parties.wire.messages import MANIFEST_HEADER

TIMEOUT_SECONDS = 4.0


@dataclass(frozen=True)
class PartyReport:
    """What a compute party says of itself. `clock_ahead` is its clock minus this machine's.

    `manifest` is the hash of its manifest, `fields` that of each field.
    """

    version: str
    state: str
    manifest: str
    fields: dict[str, str]
    clock_ahead: dt.timedelta


def host_problem(check: str, host: str) -> Finding | None:
    """Return why a host name leads nowhere, None if it resolves."""
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        return Finding(
            "error",
            check,
            f"the name {host} has no address ({error})",
            "the name is misspelt in the manifest, or DNS does not know it here",
            "ask the party for its name; if it is right, add it to DNS or the hosts file",
        )
    return None


def port_problem(check: str, host: str, port: int) -> Finding | None:
    """Return why nothing can be sent to a port, None if it accepts connections."""
    where = f"{host}:{port}"
    try:
        with socket.create_connection((host, port), TIMEOUT_SECONDS):
            return None
    except ConnectionRefusedError:
        return Finding(
            "warning",
            check,
            f"nothing listens at {where}",
            "the party is not running yet",
            "start it with `distaim party`; if it runs, compare its ports with the manifest's",
        )
    except TimeoutError:
        return Finding(
            "error",
            check,
            f"{where} does not answer within {TIMEOUT_SECONDS:.0f} s",
            "a firewall drops the packets, or the machine is down",
            "have the port opened for this site's address, on both sides",
        )
    except OSError as error:
        return Finding(
            "error",
            check,
            f"{where} cannot be reached ({error})",
            "there is no route to the machine",
            "check the address in the manifest and this machine's network",
        )


def bind_problem(
    check: str, host: str, port: int, own: PartyEntry, identity: Identity
) -> Finding | None:
    """Return why this site cannot listen on an address, None if it can or already does."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            if _shown_certificate(host, port, identity) == fingerprint(own.certificate):
                return None
            cause = "another program listens there"
            fix = "stop it, or change the port in the config"
        elif isinstance(error, PermissionError):
            cause, fix = "ports below 1024 are for the system", "choose a port from 1024 on"
        else:
            cause = "the address is not one of this machine"
            fix = "set host to an address of this machine, or to 0.0.0.0 for all"
        return Finding("error", check, f"{host}:{port} cannot be listened on ({error})", cause, fix)
    return None


def ask(
    check: str, manifest: Manifest, pid: int, identity: Identity, now: Callable[[], dt.datetime]
) -> PartyReport | Finding:
    """Ask a party that listens who and how it is; a Finding if it does not say so to this site."""
    entry = manifest.parties[pid]
    try:
        context = client_context(identity, entry.certificate)
        with httpx.Client(
            base_url=entry.url,
            verify=context,
            headers={MANIFEST_HEADER: manifest.digest},
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
        ) as client:
            before = now()
            answer = client.get("/v1/status")
            after = now()
            # read loosely: another version may tell more or less than this one
            status = answer.raise_for_status().json()
            fields = raw_field_hashes(
                read_json(client.get("/v1/manifest").raise_for_status().content)
            )
        clock = email.utils.parsedate_to_datetime(answer.headers["Date"])
        middle = before + (after - before) / 2
        version, state, digest = (str(status[key]) for key in ("version", "state", "manifest"))
        return PartyReport(version, state, digest, fields, clock - middle)
    except httpx.TransportError as error:
        return _tls_problem(check, entry, identity, error)
    except (httpx.HTTPStatusError, ValueError, KeyError, TypeError) as error:
        return Finding(
            "error",
            check,
            f"what listens at {entry.url} does not answer as a compute party ({error})",
            "another program has the port, the party's manifest lacks this site, or the party "
            "runs another version",
            "have the party run `distaim doctor`, and compare manifests and versions",
        )


def _tls_problem(
    check: str, entry: PartyEntry, identity: Identity, error: httpx.TransportError
) -> Finding:
    """Tell the two sides of a failed TLS handshake apart."""
    shown = _shown_certificate(entry.https_host, entry.https_port, identity)
    expected = fingerprint(entry.certificate)
    if shown is None:
        return Finding(
            "error",
            check,
            f"no TLS connection to {entry.url} is possible ({error})",
            "another program listens there, or something between cuts the connection",
            "have the party check what listens on its port, and take proxies out of the way",
        )
    if shown != expected:
        return Finding(
            "error",
            check,
            f"{entry.url} shows the certificate {shown[:16]}..., the manifest lists "
            f"{expected[:16]}...",
            "the party uses another certificate, or somebody else answers in its place",
            "compare the fingerprints with the party by telephone before anything else",
        )
    return Finding(
        "error",
        check,
        f"{entry.url} shows the right certificate and ends the connection ({error})",
        "its manifest lists another certificate for this site, one of the two certificates has "
        "expired, or a clock is wrong",
        "have the party compare its manifest with this one, and check both clocks",
    )


def _shown_certificate(host: str, port: int, identity: Identity) -> str | None:
    """Return the fingerprint of whoever answers, without trusting it; None without TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only looked at: nothing is said over this connection
    try:
        context.load_cert_chain(identity.certificate_path, identity.key_path)
        with (
            socket.create_connection((host, port), TIMEOUT_SECONDS) as raw,
            context.wrap_socket(raw) as tls,
        ):
            der = tls.getpeercert(binary_form=True)
    except OSError:
        return None
    return fingerprint_of_der(der) if der else None
