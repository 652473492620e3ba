"""The client of a compute party's API, as holders and the estimator use it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx
from pydantic import ValidationError

from mpc.session.retrying import Backoff, Deadline, attempts, retry
from parties.agreement.fields import differing_fields, field_hashes, name_fields
from parties.agreement.manifest import Manifest
from parties.canonical import read_json
from parties.errors import ManifestDiffers, PartyUnreachable
from parties.identity.certificates import Identity
from parties.identity.tls import client_context
from parties.wire.failures import from_body
from parties.wire.messages import (
    DIGEST_HEADER,
    MANIFEST_HEADER,
    OFFSET_HEADER,
    UPLOAD_HEADER,
    ErrorBody,
    JobState,
    Status,
    UploadState,
    digest_field,
    parse,
)

_POLL = Backoff(0.1, 0.5)
_CONNECT_SECONDS = 10.0
_BROKEN = (httpx.NetworkError, httpx.ProtocolError)
_BROKEN_SECONDS = 0.3
"""How long a request is tried again after the first time that its connection broke."""


class PartyClient:
    """One compute party over HTTPS, pinned by its certificate.

    Requests are idempotent by design (each has an id or is the same for a given holder), so a
    broken connection is tried again before it is PartyUnreachable. An upload is tried once, and the
    caller asks where to go on. An answer that is an error is raised as the error that it names.
    """

    def __init__(self, manifest: Manifest, pid: int, identity: Identity, timeout: float) -> None:
        self.pid = pid
        self._manifest = manifest
        self._entry = manifest.parties[pid]
        self._client = httpx.Client(
            base_url=self._entry.url,
            verify=client_context(identity, self._entry.certificate),
            headers={MANIFEST_HEADER: manifest.digest},
            timeout=httpx.Timeout(timeout, connect=_CONNECT_SECONDS),
            trust_env=False,  # a proxy of the environment would not know the pinned certificates
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def status(self) -> Status:
        """Ask for the party's state; ManifestDiffers names the fields if it works on another."""
        status = parse(Status, self._request("GET", "/v1/status"))
        if status.manifest != self._manifest.digest:
            raise self._difference()
        return status

    def post(self, path: str, body: bytes) -> bytes:
        """Send a request of the estimator and return the answer's body."""
        return self._request("POST", path, content=body)

    def received(self, holder: str, upload: str) -> int:
        """Ask how many bytes of a holder's upload the party has."""
        headers = {UPLOAD_HEADER: upload}
        answer = self._request("GET", f"/v1/uploads/{holder}", headers=headers)
        return parse(UploadState, answer).n_bytes

    def put(self, holder: str, upload: str, body: "BodyFile", offset: int) -> bytes:
        """Send a holder's share from an offset on, once: after a break the offset is another."""
        headers = {
            UPLOAD_HEADER: upload,
            DIGEST_HEADER: digest_field(body.sha256),
            OFFSET_HEADER: str(offset),
            "Content-Length": str(body.size - offset),
        }
        rest = body.chunks(offset)
        return self._request("PUT", f"/v1/uploads/{holder}", 0, content=rest, headers=headers)

    def wait_ready(self, timeout: float) -> Status:
        """Wait until the party has met its peers; PartyUnreachable after `timeout` seconds."""
        problem = ""
        for _ in attempts(Deadline(timeout), _POLL):
            try:
                status = self.status()
            except PartyUnreachable as error:
                problem = str(error)
                continue
            if status.state is not JobState.CONNECTING:
                return status
            problem = "it has not met its peers"
        raise PartyUnreachable(
            f"compute party {self.pid} is not ready after {timeout:.0f} s: {problem}; "
            "check that its process runs and that its address is right",
            party=self.pid,
        )

    def _request(
        self, method: str, path: str, patience: float = _BROKEN_SECONDS, **options: Any
    ) -> bytes:
        def send() -> httpx.Response:
            return self._client.request(method, path, **options)

        try:
            response = retry(send, _BROKEN, Deadline(patience), _POLL)
        except httpx.TransportError as error:
            raise PartyUnreachable(
                f"compute party {self.pid} does not answer at {self._entry.url} "
                f"({type(error).__name__}: {error}); it ended, or its certificate or ours is "
                "not the one that the manifest lists",
                party=self.pid,
            ) from error
        if response.status_code == httpx.codes.OK:
            return response.content
        answer = self._error(response)
        raise self._difference() if isinstance(answer, ManifestDiffers) else answer

    def _error(self, response: httpx.Response) -> Exception:
        try:
            return from_body(ErrorBody.model_validate_json(response.content))
        except ValidationError:
            return PartyUnreachable(
                f"compute party {self.pid} answers with HTTP {response.status_code} and no "
                "reason; is another program listening at its address?",
                party=self.pid,
            )

    def _difference(self) -> ManifestDiffers:
        """Say in which fields the party's manifest differs from this site's."""
        raw = read_json(self._request("GET", "/v1/manifest"))
        theirs = Manifest.parse(raw if isinstance(raw, dict) else {})
        paths = differing_fields(field_hashes(theirs), field_hashes(self._manifest))
        return ManifestDiffers(
            f"compute party {self.pid} works on manifest {theirs.run}, this site on "
            f"{self._manifest.run}; they differ in {name_fields(paths)}; take the file that all "
            "parties approved",
            party=self.pid,
        )


class BodyFile:
    """An upload's body in a file, with its size in bytes and its SHA-256 (hex)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = path.stat().st_size
        with path.open("rb") as file:
            self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()

    def chunks(self, offset: int) -> Iterator[bytes]:
        """Yield the bytes from an offset on."""
        with self._path.open("rb") as file:
            file.seek(offset)
            while chunk := file.read(1 << 18):
                yield chunk
