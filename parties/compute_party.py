"""A compute party's process: the API, the links to the peers, and the job between them."""

import asyncio
import importlib.metadata

from mpc.errors import MpcError
from mpc.session import Session, open_session
from mpc.transport import Endpoint, Identity
from parties.api import make_app
from parties.certificates import fingerprint
from parties.config import PartyConfig
from parties.engine import MpcEngine, manifest_budget, upload_format
from parties.errors import ConfigError, IdentityError
from parties.manifest import Manifest, PublicInputs, load_manifest, public_inputs
from parties.mechanism import Budget
from parties.party_job import PartyJob
from parties.server import ApiServer
from parties.tls import server_context


def run_party(config: PartyConfig) -> None:
    """Serve one job until the estimator finishes it.

    Raises the error that ended the job otherwise: MpcError for a peer that was lost or broke the
    protocol, ConfigError for settings that cannot work. Ledger and transcript stay as they are.
    """
    manifest = load_manifest(config.manifest)
    inputs = public_inputs(manifest)
    _check_place(config, manifest)
    budget = manifest_budget(manifest, inputs)
    config.state.mkdir(parents=True, exist_ok=True)
    asyncio.run(_serve(config, manifest, inputs, budget))


async def _serve(
    config: PartyConfig, manifest: Manifest, inputs: PublicInputs, budget: Budget
) -> None:
    form = upload_format(manifest, inputs)
    job = PartyJob(config, manifest, inputs, form.body_size(config.pid), budget)
    context = server_context(config.identity, manifest.clients())
    server = ApiServer(make_app(job), config.host, config.https_port, context)
    try:
        await server.start()
    except OSError as error:
        raise ConfigError(f"{error}; change https_port in the party's config") from error
    try:
        await _run_session(config, manifest, inputs, job)
        if job.state == "failed":
            # long enough for the estimator to be told why
            await asyncio.sleep(config.finish_timeout)
            raise job.failure()
    finally:
        await server.stop()
        job.close()


async def _run_session(
    config: PartyConfig, manifest: Manifest, inputs: PublicInputs, job: PartyJob
) -> None:
    """Meet the peers and wait until the job has ended, well or not."""
    try:
        session = await _open(config, manifest)
    except (MpcError, OSError) as error:
        job.fail(error if isinstance(error, MpcError) else ConfigError(_port_text(config, error)))
        return
    job.connected(MpcEngine(session, manifest, inputs))
    ended = asyncio.create_task(job.ended.wait())
    failure = session.network.failure
    failure.add_done_callback(lambda _: ended.cancel())
    await asyncio.wait({ended})
    if failure.done() and job.state != "done":
        job.fail(failure.result())
    if job.state == "failed":
        session.network.abort(_as_mpc_error(job.failure(), config.pid))
    else:
        await _close(session, config.finish_timeout)


async def _open(config: PartyConfig, manifest: Manifest) -> Session:
    endpoints = [
        Endpoint(pid, party.host, party.port, party.certificate.encode())
        for pid, party in enumerate(manifest.parties)
    ]
    return await open_session(
        config.pid,
        manifest.threshold,
        endpoints,
        Identity(config.certificate, config.key),
        (config.host, config.mpc_port),
        {"manifest": manifest.digest, "version": importlib.metadata.version("distaim")},
        connect_seconds=config.connect_timeout,
    )


async def _close(session: Session, timeout: float) -> None:
    """Close together with the peers; the job is done, so a peer that is gone is no failure."""
    try:
        await asyncio.wait_for(session.close(), timeout)
    except (MpcError, TimeoutError):
        session.network.close()


def _as_mpc_error(error: Exception, pid: int) -> MpcError:
    return error if isinstance(error, MpcError) else MpcError("this party stopped the job", pid)


def _port_text(config: PartyConfig, error: OSError) -> str:
    return f"cannot listen for peers on {config.host}:{config.mpc_port} ({error}); change mpc_port"


def _check_place(config: PartyConfig, manifest: Manifest) -> None:
    """Check that this site is the party that its config claims to be."""
    if config.pid >= manifest.n_parties:
        raise ConfigError(f"pid {config.pid} is not among the {manifest.n_parties} parties")
    entry = manifest.parties[config.pid]
    if fingerprint(entry.certificate) != fingerprint(config.identity.certificate):
        raise IdentityError(
            f"the manifest lists another certificate for party {config.pid} ({entry.name}) than "
            f"{config.certificate}; use that party's own certificate and key",
            run=manifest.run,
            party=config.pid,
        )
