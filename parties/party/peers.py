"""A compute party's sessions with its peers: one after the other, until the job has ended."""

import asyncio
import logging
from typing import Any

from mpc.errors import MpcError, PeerTimeout, ProtocolViolation
from mpc.session.retrying import Deadline
from mpc.session.session import Session, open_session
from mpc.session.tls import Endpoint
from parties.agreement.manifest import Manifest
from parties.agreement.public_inputs import PublicInputs
from parties.agreement.values import EngineKind, program_version
from parties.errors import ConfigError, ManifestDiffers
from parties.party.engine import MpcEngine
from parties.party.job import PartyJob
from parties.party.state.recovery import may_come_back
from parties.setup.config import PartyConfig
from parties.wire.client import PartyClient
from parties.wire.failures import FAILURES
from parties.wire.messages import JobState

_ASK_SECONDS = 5.0
"""How long a peer has to say which manifest it works on."""

_LEAST_SECONDS = 1.0
"""With less time left than this, no further session is tried."""

_log = logging.getLogger(__name__)


class PeerSessions:
    """Meets the peers, hands the job over to each session, and meets them again when it breaks.

    A peer that comes back has lost its keys, so every session has fresh ones; what the job has
    reached is on disk. With `reconnect_seconds` 0 the first loss ends the job.
    """

    def __init__(
        self, config: PartyConfig, manifest: Manifest, inputs: PublicInputs, job: PartyJob
    ) -> None:
        self._config, self._manifest, self._inputs, self._job = config, manifest, inputs, job
        # MPyC keeps its state in the process: there a restart is what begins a new session
        shamir = manifest.engine is EngineKind.SHAMIR
        self._reconnect_seconds = 0.0 if shamir else config.reconnect_seconds
        self._met = False
        self._deadline = Deadline(self._patience(config.connect_timeout))

    def _patience(self, least: float = 0.0) -> float:
        done = self._job.state is JobState.DONE
        return self._config.linger_seconds if done else max(least, self._reconnect_seconds)

    async def run(self) -> None:
        """Return when the job has ended, well for all parties or not."""
        asyncio.get_running_loop().set_exception_handler(_report_task)
        while not self._is_over(await self._one_session()):
            self._job.disconnected()

    def _is_over(self, error: Exception | None) -> bool:
        """Say whether no further session is due after one that ended with `error`."""
        if error is None or self._job.state is JobState.FAILED:
            return True
        if self._met:
            self._met = False
            self._deadline = Deadline(self._patience())
        late = self._deadline.left < _LEAST_SECONDS
        if self._job.state is JobState.DONE:
            return late  # until then a peer that missed the end may come and learn of it
        if late or not may_come_back(error):
            self._job.fail(error)
            return True
        _log.warning("%s; waiting until all peers are back", error)
        return False

    async def _one_session(self) -> Exception | None:
        """Hold one session; return why it broke off, None if the job ended for all parties."""
        try:
            session = await self._open()
        except ProtocolViolation as error:
            return await asyncio.to_thread(self._with_fields, error)
        except MpcError as error:
            return error
        except OSError as error:
            where = f"{self._config.host}:{self._config.mpc_port}"
            return ConfigError(f"cannot listen for peers on {where} ({error}); change mpc_port")
        engine = MpcEngine(session, self._manifest, self._inputs)
        try:
            return await self._hold(session, engine)
        finally:
            engine.finish()
            session.network.close()

    async def _hold(self, session: Session, engine: MpcEngine) -> Exception | None:
        """Take part until the job ends or the session breaks."""
        failure = session.network.failure
        work = asyncio.create_task(self._take_part(engine))
        failure.add_done_callback(lambda _: work.cancel())
        await asyncio.wait({work})
        error = None if work.cancelled() else work.exception()
        if failure.done() and self._job.state is not JobState.DONE:
            return failure.result()
        if isinstance(error, Exception):
            self._job.fail(error)
        if self._job.state is JobState.FAILED:
            session.network.abort(_as_mpc_error(self._job.failure(), self._config.pid))
            return None
        return await _close(session, self._config.finish_timeout)

    async def _take_part(self, engine: MpcEngine) -> None:
        await self._job.connected(engine)
        self._met = True
        _log.info("all peers are connected, the job is %s", self._job.state)
        await self._job.ended.wait()

    async def _open(self) -> Session:
        config = self._config
        endpoints = [
            Endpoint(pid, party.host, party.port, party.certificate.encode())
            for pid, party in enumerate(self._manifest.parties)
        ]
        return await open_session(
            config.pid,
            self._manifest.threshold,
            endpoints,
            config.identity.credentials,
            (config.host, config.mpc_port),
            {"manifest": self._manifest.digest, "version": program_version()},
            connect_seconds=max(self._deadline.left, _LEAST_SECONDS),
        )

    def _with_fields(self, error: ProtocolViolation) -> Exception:
        """Name the fields, if what the peer does wrong is to work on another manifest."""
        if error.party is None:
            return error
        identity = self._config.identity
        try:
            with PartyClient(self._manifest, error.party, identity, _ASK_SECONDS) as client:
                client.status()
        except ManifestDiffers as differs:
            return differs
        except FAILURES:  # whatever the peer answers with
            return error
        return error


def _report_task(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report what a forgotten task failed with, unless it is the loss of a session.

    A step that is cancelled leaves the pieces of it that ran side by side; the loss that ended them
    is known by the session's own failure.
    """
    if not isinstance(context.get("exception"), MpcError):
        loop.default_exception_handler(context)


async def _close(session: Session, timeout: float) -> MpcError | None:
    """Close together with the peers; return why that did not happen, if it did not."""
    try:
        await asyncio.wait_for(session.close(), timeout)
    except TimeoutError:
        return PeerTimeout("a peer has not come to the end of the job")
    except MpcError as error:
        return error
    return None


def _as_mpc_error(error: Exception, pid: int) -> MpcError:
    return error if isinstance(error, MpcError) else MpcError("this party stopped the job", pid)
