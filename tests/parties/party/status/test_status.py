"""The status page, health and metrics of a party, over plain HTTP on loopback."""

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import FrozenInstanceError, asdict
from fractions import Fraction
from functools import partial
from pathlib import Path

import httpx
import pytest

from mpc.arrays import Integers
from mpc.errors import PeerLost
from parties.local.ports import free_ports
from parties.pace import seconds_left
from parties.party.job import PartyJob
from parties.party.status.page import make_status_app
from parties.party.status.view import rounds_of, view_of
from parties.wire.server import ApiServer
from tests.support.needs import CHROMIUM, needs_chromium
from tests.support.party_world import (
    BODY_SIZE,
    UPLOAD,
    ScriptedEngine,
    World,
    freeze_body,
    measure_body,
    send_upload,
)

METRICS = {
    "distaim_state",
    "distaim_round",
    "distaim_rho_spent",
    "distaim_rho_budget",
    "distaim_charges_total",
    "distaim_lost_total",
    "distaim_uploads",
    "distaim_peer_connected",
    "distaim_sent_bytes_total",
    "distaim_step_seconds_total",
    "distaim_peak_rss_bytes",
}


class Losing(ScriptedEngine):
    async def measure(
        self, label: str, candidates: Sequence[int], sigma2: Fraction
    ) -> list[Integers]:
        if label == "measure-1":
            raise PeerLost("the connection to party 2 is lost", 2)
        return await super().measure(label, candidates, sigma2)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[PartyJob]:
    world = World(tmp_path, rho="1")
    made = world.job(reconnect_seconds=60)

    async def run() -> None:
        await made.connected(Losing())
        await send_upload(made, "ann", bytes(BODY_SIZE))
        await made.freeze(freeze_body(ann=UPLOAD))
        await made.measure("measure-0", measure_body(0))
        with pytest.raises(PeerLost):
            await made.measure("measure-1", measure_body(1, candidates=[3]))
        made.disconnected()
        await made.connected(ScriptedEngine())
        await made.measure("measure-1-2", measure_body(1, candidates=[3]))

    asyncio.run(run())
    yield made
    made.close()


def served(job: PartyJob, *paths: str, host: str = "127.0.0.1") -> list[httpx.Response]:
    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=make_status_app(partial(view_of, job)))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return [await client.get(path) for path in paths]

    return asyncio.run(ask())


def test_the_rounds_are_gathered_from_the_transcript(job: PartyJob) -> None:
    first, second = rounds_of(job.record.transcript.entries)
    assert (first.number, first.cliques, first.sigma, first.n_lost) == (0, ("b",), 2.0, 0)
    assert (second.number, second.cliques, second.n_lost) == (1, ("a × b",), 1)
    assert second.measured
    assert first.rho + second.rho == job.record.ledger.spent
    assert second.n_bytes > 0
    view = view_of(job)
    assert view.n_lost == 1
    assert view.eta_seconds is not None
    assert [peer.is_connected for peer in view.peers] == [True, True]


def test_time_left_follows_the_pace_and_is_unknown_without_one() -> None:
    assert seconds_left(elapsed=4.0, done=2.0, left=3.0) == 6.0
    assert seconds_left(elapsed=4.0, done=0.0, left=3.0) is None


def test_the_view_holds_plain_facts_only(job: PartyJob) -> None:
    view = view_of(job)
    assert json.loads(json.dumps(asdict(view), default=str))["state"] == "running"
    with pytest.raises(FrozenInstanceError):
        view.round = 7  # type: ignore[misc]


def test_the_page_shows_what_an_operator_asks_for(job: PartyJob) -> None:
    page = served(job, "/")[0]
    assert page.status_code == 200
    for text in (
        "running",
        "party-1",
        "1.5 s ago",
        "a × b",
        "37.5 %",
        "1 request was charged and lost",
        job.manifest.digest,
        job.record.ledger.head,
        job.record.transcript.head,
        'http-equiv="refresh"',
    ):
        assert text in page.text, text
    assert not re.search(r"<script|<form|<link|@import|https?://", page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_it_is_read_only_and_answers_to_no_other_name(job: PartyJob) -> None:
    assert served(job, "/", host="evil.example")[0].status_code == 400

    async def post() -> int:
        transport = httpx.ASGITransport(app=make_status_app(partial(view_of, job)))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (await client.post("/")).status_code

    assert asyncio.run(post()) == 405


def test_a_failed_job_is_unhealthy_and_its_error_escaped(job: PartyJob) -> None:
    assert served(job, "/healthz")[0].json()["state"] == "running"
    job.fail(PeerLost("gone <b>for good</b>"))
    page, health = served(job, "/", "/healthz")
    assert health.status_code == 503
    assert "gone &lt;b&gt;for good" in page.text


def test_metrics_are_in_the_text_format(job: PartyJob) -> None:
    response = served(job, "/metrics")[0]
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    values: dict[str, float] = {}
    kinds: set[str] = set()
    for line in response.text.splitlines():
        if line.startswith("# TYPE"):
            kinds.add(line.split()[2])
        elif not line.startswith("#"):
            sample = re.fullmatch(r"([a-z_]+)(\{[^}]*\})? (\S+)", line)
            assert sample is not None, line
            name, labels, value = sample.groups()
            assert name in kinds
            values[name + (labels or "")] = float(value)
    assert values["distaim_rho_spent"] == pytest.approx(0.375)
    assert values['distaim_state{state="running"}'] == 1
    assert values['distaim_peer_connected{peer="party-2"}'] == 1
    assert values["distaim_lost_total"] == 1
    assert {name.partition("{")[0] for name in values} == METRICS
    assert values['distaim_sent_bytes_total{step="step"}'] > 0


@needs_chromium
def test_a_browser_renders_it(job: PartyJob, tmp_path: Path) -> None:
    (port,) = free_ports(1)

    async def show() -> str:
        server = ApiServer(make_status_app(partial(view_of, job)), "127.0.0.1", port, None)
        await server.start()
        browser = await asyncio.create_subprocess_exec(
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000",
            f"--screenshot={tmp_path / 'page.png'}", "--dump-dom", f"http://127.0.0.1:{port}/",
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            text, _ = await asyncio.wait_for(browser.communicate(), 45)
        finally:
            if browser.returncode is None:
                browser.kill()
                await browser.wait()
            await server.stop()
        return text.decode()

    dom = asyncio.run(show())
    assert "a × b" in dom
    assert 'style="width: 37.50%"' in dom
    assert (tmp_path / "page.png").stat().st_size > 10_000
