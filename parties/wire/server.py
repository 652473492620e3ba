"""uvicorn inside the event loop of the MPC session, with the client's certificate in the scope."""

import asyncio
import ssl
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from parties.errors import IdentityError, RequestRefused
from parties.identity.certificates import fingerprint_of_der

FINGERPRINT_KEY = "distaim.client_fingerprint"
"""Key of the ASGI scope that holds the client certificate's SHA-256 (hex)."""

_KEEP_ALIVE = 3600  # the estimator may fit a model for minutes between two requests


class PinnedProtocol(H11Protocol):
    """HTTP/1.1 that puts the client certificate's fingerprint into every request's scope.

    uvicorn does not hand the TLS peer's certificate to the application.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wrap the application for this one connection."""
        # the base class narrows the parameter in the same way, against asyncio's own annotation
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls else None
        pin = fingerprint_of_der(certificate) if certificate else None
        self.app = _with_fingerprint(self.app, pin)


def _with_fingerprint(app: Any, pin: str | None) -> ASGIApp:
    async def pinned(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, FINGERPRINT_KEY: pin}, receive, send)

    return pinned


class _QuietServer(uvicorn.Server):
    async def run_quietly(self) -> None:
        """Serve without touching the process's signal handlers."""
        await self._serve()


class ApiServer:
    """One server on the running loop, HTTPS with a context. `start` returns when it listens."""

    def __init__(self, app: ASGIApp, host: str, port: int, context: ssl.SSLContext | None) -> None:
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            http=PinnedProtocol,
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=2,
        )
        config.load()
        config.ssl = context
        self._server = _QuietServer(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; OSError names the address if that is not possible."""
        self._task = asyncio.create_task(self._server.run_quietly())
        while not self._server.started:
            await asyncio.sleep(0.01)
            if self._task.done():
                where = f"{self._server.config.host}:{self._server.config.port}"
                raise OSError(f"cannot listen on {where}; is another program using the port?")

    async def stop(self) -> None:
        """Finish the answers that are under way, then close."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task


def client_fingerprint(request: Request) -> str:
    """Return the fingerprint of the client's certificate; IdentityError if there is none."""
    pin = request.scope.get(FINGERPRINT_KEY)
    if not isinstance(pin, str):
        raise IdentityError("the connection shows no client certificate; connect over mutual TLS")
    return pin


async def capped_body(request: Request, cap: int) -> bytes:
    """Read a request's body; RequestRefused as soon as it is longer than `cap` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > cap:
            raise RequestRefused(f"the request's body is longer than {cap} bytes")
    return bytes(body)
