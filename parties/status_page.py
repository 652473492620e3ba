"""A party's own status page, health and metrics: plain HTTP on this machine, read-only.

Everything on it is public or about this party's machine; it still listens on loopback only, and
answers to no other host name, so that no web page elsewhere can read it.
"""

from jinja2 import Environment, PackageLoader, select_autoescape
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from parties.manifest import program_version
from parties.memory import peak_rss_mb
from parties.messages import JobState
from parties.party_job import PartyJob
from parties.status_view import StatusView, view_of

HOST = "127.0.0.1"

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_TEMPLATES = Environment(loader=PackageLoader("parties"), autoescape=select_autoescape(["j2"]))


def make_status_app(job: PartyJob) -> Starlette:
    """Return the ASGI application with `/`, `/healthz` and `/metrics`."""

    async def page(_: Request) -> Response:
        template = _TEMPLATES.get_template("status.html.j2")
        text = template.render(
            view=view_of(job), job=job, manifest=job.manifest, version=program_version()
        )
        return HTMLResponse(text, headers=_HEADERS)

    async def health(_: Request) -> Response:
        healthy = job.state != "failed"
        body = {"healthy": healthy, "state": job.state, "version": program_version()}
        return JSONResponse(body, 200 if healthy else 503, headers=_HEADERS)

    async def metrics(_: Request) -> Response:
        text = metrics_text(view_of(job))
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4", headers=_HEADERS)

    routes = [
        Route("/", page, methods=["GET"]),
        Route("/healthz", health, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]
    trusted = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    return Starlette(routes=routes, middleware=[trusted])


def metrics_text(view: StatusView) -> str:
    """Return the metrics in Prometheus' text format."""
    job = view.job
    lines = [
        *_metric(
            "state", "gauge", "1 for the job's state.",
            {f'{{state="{state}"}}': float(state == job.state) for state in JobState},
        ),
        *_metric("round", "gauge", "Round of the last charge.", {"": job.round}),
        *_metric("rho_spent", "gauge", "zCDP budget charged.", {"": float(view.spent)}),
        *_metric("rho_budget", "gauge", "zCDP budget of the manifest.", {"": float(view.budget)}),
        *_metric(
            "charges_total", "counter", "Charges in the ledger.",
            {"": len(job.record.ledger.charges)},
        ),
        *_metric("lost_total", "counter", "Requests charged and lost.", {"": view.n_lost}),
        *_metric("uploads", "gauge", "Uploads held.", {"": len(job.record.uploads.receipts)}),
        *_metric(
            "peer_connected", "gauge", "1 for a peer that was heard lately.",
            {f'{{peer="{peer.name}"}}': float(peer.is_connected) for peer in view.peers},
        ),
        *_metric(
            "sent_bytes_total", "counter", "Bytes sent to peers, by step.",
            {f'{{step="{step}"}}': cost.bytes_sent for step, cost in view.costs.items()},
        ),
        *_metric(
            "step_seconds_total", "counter", "Seconds spent, by step.",
            {f'{{step="{step}"}}': cost.seconds for step, cost in view.costs.items()},
        ),
        *_metric("peak_rss_bytes", "gauge", "Peak memory.", {"": peak_rss_mb() * 2**20}),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _metric(name: str, kind: str, text: str, values: dict[str, float]) -> list[str]:
    full = f"distaim_{name}"
    samples = [f"{full}{labels} {value:.12g}" for labels, value in values.items()]
    return [f"# HELP {full} {text}", f"# TYPE {full} {kind}", *samples]
