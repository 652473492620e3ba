"""A compute party's process: the API, the links to the peers, and the job between them."""

import asyncio
import datetime as dt
import sys
from functools import partial

from parties.agreement.approval import expiry_warnings, load_approved_manifest
from parties.agreement.budget import Budget
from parties.agreement.derived import manifest_budget, upload_format
from parties.agreement.manifest import Manifest
from parties.agreement.public_inputs import PublicInputs, public_inputs
from parties.errors import ConfigError, IdentityError
from parties.identity.certificates import fingerprint
from parties.identity.tls import server_context
from parties.party.api import make_app
from parties.party.job import PartyJob
from parties.party.peers import PeerSessions
from parties.party.state.store import disk_error
from parties.party.status.page import HOST, make_status_app
from parties.party.status.view import view_of
from parties.setup.config import PartyConfig
from parties.wire.messages import JobState
from parties.wire.server import ApiServer


def run_party(config: PartyConfig) -> None:
    """Serve one job until the estimator finishes it; started again, go on with it.

    Raises the error that ended the job otherwise: MpcError for a peer that was lost or broke the
    protocol, ConfigError for settings that cannot work. The state on disk stays as it is.
    """
    manifest = load_approved_manifest(config.manifest)
    inputs = public_inputs(manifest)
    _check_identity(config, manifest)
    for text in expiry_warnings(manifest, dt.datetime.now(dt.UTC)):
        sys.stderr.write(f"distaim: warning: {text}\n")
    budget = manifest_budget(manifest, inputs)
    asyncio.run(_serve(config, manifest, inputs, budget))


async def _serve(
    config: PartyConfig, manifest: Manifest, inputs: PublicInputs, budget: Budget
) -> None:
    form = upload_format(manifest, inputs)
    try:
        job = PartyJob(config, manifest, inputs, form.body_size(config.pid), budget)
    except OSError as error:
        raise disk_error(error, config.pid) from error
    refusal = job.record.refusal()
    if refusal is not None:
        job.close()
        raise refusal
    context = server_context(config.identity, manifest.clients())
    servers = [ApiServer(make_app(job), config.host, config.https_port, context)]
    if config.status_port is not None:
        servers.append(
            ApiServer(make_status_app(partial(view_of, job)), HOST, config.status_port, None)
        )
    try:
        for server in servers:
            await _listen(server)
        await PeerSessions(config, manifest, inputs, job).run()
        # long enough for the estimator to be told why, or to ask again for what it missed
        failed = job.state is JobState.FAILED
        await asyncio.sleep(config.finish_timeout if failed else config.linger_seconds)
        if failed:
            raise job.failure()
    finally:
        for server in servers:
            await server.stop()
        job.close()


async def _listen(server: ApiServer) -> None:
    try:
        await server.start()
    except OSError as error:
        raise ConfigError(
            f"{error}; change https_port or status_port in the party's config"
        ) from error


def _check_identity(config: PartyConfig, manifest: Manifest) -> None:
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
