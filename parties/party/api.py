"""A compute party's HTTPS API: who may call what; the answers come from the job."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from parties.agreement.roles import Role, roles
from parties.agreement.values import program_version
from parties.errors import IdentityError, ManifestDiffers, RequestRefused, StateError
from parties.party.job import PartyJob
from parties.party.state.uploads import UploadPart
from parties.wire.failures import http_status, to_body
from parties.wire.messages import (
    DIGEST_HEADER,
    MANIFEST_HEADER,
    OFFSET_HEADER,
    SMALL_BODY,
    UPLOAD_HEADER,
    JobState,
    RequestKind,
    parse_digest_field,
)
from parties.wire.server import capped_body, client_fingerprint

Handler = Callable[[Request], Awaitable[Response]]
_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_RESERVED_IDS = {RequestKind.FREEZE.value, RequestKind.FINISH.value}
_log = logging.getLogger(__name__)
_JSON = "application/json"
_BINARY = "application/octet-stream"


class PartyApi:
    """The routes. Every request is tied to a role by its certificate and names the manifest."""

    def __init__(self, job: PartyJob) -> None:
        self._job = job
        self._roles = roles(job.manifest)
        # model counts before compression: 4 bytes a cell at most, plus the header
        self._select_cap = 5 * sum(job.inputs.sizes) + SMALL_BODY

    def routes(self) -> list[Route]:
        """Return all routes."""
        post = ["POST"]
        return [
            Route("/healthz", self._guarded(self._health), methods=["GET"]),
            Route("/v1/status", self._guarded(self._status), methods=["GET"]),
            Route("/v1/manifest", self._guarded(self._manifest), methods=["GET"]),
            Route("/v1/uploads/{holder}", self._guarded(self._received), methods=["GET"]),
            Route("/v1/uploads/{holder}", self._guarded(self._upload), methods=["PUT"]),
            Route("/v1/freeze", self._guarded(self._freeze), methods=post),
            Route("/v1/select/{request_id}", self._guarded(self._select), methods=post),
            Route("/v1/measure/{request_id}", self._guarded(self._measure), methods=post),
            Route("/v1/finish", self._guarded(self._finish), methods=post),
        ]

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - the boundary: every error is an answer
                if isinstance(error, StateError):  # this site's to repair, not the caller's
                    _log.error("%s", error)
                body = to_body(error, self._job.round)
                return JSONResponse(body.model_dump(), http_status(error))

        return guarded

    def _role(self, request: Request, kind: Literal["holder", "estimator"] | None = None) -> Role:
        """Return the caller's role; IdentityError unless it is of the kind asked for."""
        role = self._roles.get(client_fingerprint(request))
        if role is None or kind not in (None, role.kind):
            who = "a stranger" if role is None else f"the {role.kind} {role.name}"
            raise IdentityError(
                f"{who} may not ask for {request.url.path}; use the certificate of the "
                f"{kind or 'role'} that the manifest lists",
                party=self._job.pid,
            )
        named = request.headers.get(MANIFEST_HEADER, "none")
        if kind is not None and named != self._job.digest:
            raise ManifestDiffers(
                f"the request names manifest {named[:12]}, this party works on "
                f"{self._job.manifest.run}; take the manifest that all parties approved",
                party=self._job.pid,
            )
        return role

    async def _health(self, request: Request) -> Response:
        self._role(request)
        healthy = self._job.state is not JobState.FAILED
        body = {"healthy": healthy, "version": program_version()}
        return JSONResponse(body, 200 if healthy else 503)

    async def _status(self, request: Request) -> Response:
        self._role(request)
        return JSONResponse(self._job.status().model_dump())

    async def _manifest(self, request: Request) -> Response:
        self._role(request)
        return Response(self._job.manifest.canonical_bytes(), media_type=_JSON)

    async def _received(self, request: Request) -> Response:
        state = await self._job.received(self._holder(request), _upload_id(request))
        return JSONResponse(state.model_dump())

    async def _upload(self, request: Request) -> Response:
        holder = self._holder(request)
        part = UploadPart(
            _upload_id(request),
            parse_digest_field(request.headers.get(DIGEST_HEADER, "")),
            _offset(request),
        )
        receipt = await self._job.upload(holder, part, request.stream())
        return JSONResponse(receipt.model_dump())

    def _holder(self, request: Request) -> str:
        """Return the holder that asks, about its own upload; IdentityError for another's."""
        role = self._role(request, "holder")
        holder = request.path_params["holder"]
        if role.name != holder:
            raise IdentityError(
                f"the certificate of {role.name} cannot upload for {holder}", party=self._job.pid
            )
        return role.name

    async def _freeze(self, request: Request) -> Response:
        self._role(request, "estimator")
        body = await capped_body(request, SMALL_BODY)
        return Response(await self._job.freeze(body), media_type=_JSON)

    async def _select(self, request: Request) -> Response:
        self._role(request, "estimator")
        body = await capped_body(request, self._select_cap)
        answer = await self._job.select(_request_id(request), body)
        return Response(answer, media_type=_JSON)

    async def _measure(self, request: Request) -> Response:
        self._role(request, "estimator")
        body = await capped_body(request, SMALL_BODY)
        answer = await self._job.measure(_request_id(request), body)
        return Response(answer, media_type=_BINARY)

    async def _finish(self, request: Request) -> Response:
        self._role(request, "estimator")
        body = await capped_body(request, SMALL_BODY)
        return Response(await self._job.finish(body), media_type=_JSON)


def make_app(job: PartyJob) -> Starlette:
    """Return the ASGI application of one party's job."""
    return Starlette(routes=PartyApi(job).routes())


def _upload_id(request: Request) -> str:
    value = request.headers.get(UPLOAD_HEADER, "")
    if not re.fullmatch("[0-9a-f]{64}", value):
        raise RequestRefused(f"an upload needs 64 hex digits in the {UPLOAD_HEADER} header")
    return value


def _offset(request: Request) -> int:
    value = request.headers.get(OFFSET_HEADER, "")
    if not re.fullmatch("[0-9]{1,15}", value):
        raise RequestRefused(f"an upload needs a number of bytes in the {OFFSET_HEADER} header")
    return int(value)


def _request_id(request: Request) -> str:
    request_id = str(request.path_params["request_id"])
    if not 1 <= len(request_id) <= 64 or not set(request_id) <= _ID_CHARACTERS:
        raise RequestRefused("a request id is 1 to 64 small letters, digits and dashes")
    if request_id in _RESERVED_IDS:
        raise RequestRefused(f"the request id {request_id} is reserved; use another")
    return request_id
