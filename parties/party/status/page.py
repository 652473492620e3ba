"""A party's own status page, health and metrics: plain HTTP on this machine, read-only.

Everything on it is public or about this party's machine; it still listens on loopback only, and
answers to no other host name, so that no web page elsewhere can read it.
"""

from collections.abc import Callable, Iterator, Mapping

from jinja2 import Environment, PackageLoader, select_autoescape
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily as Counter
from prometheus_client.metrics_core import GaugeMetricFamily as Gauge
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from parties.agreement.values import program_version
from parties.party.status.job_view import JobView
from parties.wire.messages import JobState
from parties.wire.peak_memory import peak_rss_mb

HOST = "127.0.0.1"

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_TEMPLATES = Environment(loader=PackageLoader("parties"), autoescape=select_autoescape(["j2"]))


def make_status_app(look: Callable[[], JobView]) -> Starlette:
    """Return the ASGI application with `/`, `/healthz` and `/metrics`, of what `look` returns."""
    registry = CollectorRegistry()
    registry.register(_JobCollector(look))

    async def page(_: Request) -> Response:
        template = _TEMPLATES.get_template("status.html.j2")
        return HTMLResponse(
            template.render(view=look(), version=program_version()), headers=_HEADERS
        )

    async def health(_: Request) -> Response:
        state = look().state
        healthy = state is not JobState.FAILED
        body = {"healthy": healthy, "state": state, "version": program_version()}
        return JSONResponse(body, 200 if healthy else 503, headers=_HEADERS)

    async def metrics(_: Request) -> Response:
        text = generate_latest(registry)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4", headers=_HEADERS)

    routes = [
        Route("/", page, methods=["GET"]),
        Route("/healthz", health, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]
    trusted = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    return Starlette(routes=routes, middleware=[trusted])


class _JobCollector(Collector):
    """Reads the metrics off the job whenever they are asked for."""

    def __init__(self, look: Callable[[], JobView]) -> None:
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it is now."""
        view = self._look()
        states = {state.value: float(state is view.state) for state in JobState}
        peers = {peer.name: float(peer.is_connected) for peer in view.peers}
        sent = {step: float(cost.bytes_sent) for step, cost in view.costs.items()}
        seconds = {step: cost.seconds for step, cost in view.costs.items()}
        yield _labelled(Gauge, "distaim_state", "1 for the job's state.", "state", states)
        yield Gauge("distaim_round", "Round of the last charge.", view.round)
        yield Gauge("distaim_rho_spent", "zCDP budget charged.", float(view.spent))
        yield Gauge("distaim_rho_budget", "zCDP budget of the manifest.", float(view.budget))
        yield Counter("distaim_charges", "Charges in the ledger.", view.n_charges)
        yield Counter("distaim_lost", "Requests charged and lost.", view.n_lost)
        yield Gauge("distaim_uploads", "Uploads held.", view.n_uploads)
        yield _labelled(
            Gauge, "distaim_peer_connected", "1 for a peer heard lately.", "peer", peers
        )
        yield _labelled(
            Counter, "distaim_sent_bytes", "Bytes sent to peers, by step.", "step", sent
        )
        yield _labelled(Counter, "distaim_step_seconds", "Seconds spent, by step.", "step", seconds)
        yield Gauge("distaim_peak_rss_bytes", "Peak memory.", peak_rss_mb() * 2**20)


def _labelled(
    kind: type[Gauge] | type[Counter],
    name: str,
    text: str,
    label: str,
    values: Mapping[str, float],
) -> Metric:
    metric = kind(name, text, labels=[label])
    for key, value in values.items():
        metric.add_metric([key], value)
    return metric
