"""Child processes of `distaim run`: started, watched, and never left behind.

Each child holds the read end of a pipe as its standard input and ends when the pipe closes, so it
ends with its parent, however the parent ends.
"""

import contextlib
import math
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Self

from pydantic import ValidationError

from mpc.session.retrying import Backoff, Deadline, attempts
from parties.errors import JobFailed
from parties.wire.events import EVENTS, Emit, Event
from parties.wire.failures import from_body
from parties.wire.messages import ErrorBody

_POLL = Backoff(0.05, 0.05)
_END_SECONDS = 6.0
_TERMINATE_SECONDS = 3.0


@contextlib.contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, so that no child process is left behind."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass
class Child:
    """One child process, which leaves its error at `error_path`; `party` is its number, if any."""

    name: str
    process: subprocess.Popen[bytes]
    log_path: Path
    error_path: Path
    party: int | None
    events: queue.Queue[Event] = field(default_factory=queue.Queue)

    def error(self) -> Exception | None:
        """Return the error that the child left, if it did."""
        with contextlib.suppress(OSError, ValidationError):
            return from_body(ErrorBody.model_validate_json(self.error_path.read_bytes()))
        return None


class Supervisor:
    """All children of one run. Leaving the context ends every one of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(
        self, name: str, arguments: Sequence[str], error_path: Path, party: int | None = None
    ) -> Child:
        """Start `python -m parties` with arguments; its standard output is read as events."""
        log_path = self._folder / f"{name}.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "parties", *arguments, "--follow-parent"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        child = Child(name, process, log_path, error_path, party)
        threading.Thread(target=_read_events, args=(child,), daemon=True).start()
        self.children.append(child)
        return child

    def watch(self, main: Child, emit: Emit) -> None:
        """Pass on the main child's events until it ends well.

        Raises the error that tells most as soon as any child has failed: by then the others
        have ended too, on their own or by force.
        """
        for _ in attempts(Deadline(math.inf), _POLL):  # the children have deadlines of their own
            ended = main.process.poll() is not None
            _drain(main, emit)
            failed = [child for child in self.children if child.process.poll() not in (None, 0)]
            if failed:
                self._end_all(_END_SECONDS)
                raise self._explain(failed[0])
            if ended:
                return

    def finish(self) -> None:
        """Wait until all children have ended well; JobFailed for one that has not."""
        self._end_all(_END_SECONDS)
        for child in self.children:
            if child.process.returncode != 0:
                raise self._explain(child)

    def stop(self) -> None:
        """End all children: first asked, then killed."""
        for child in self.children:
            if child.process.poll() is None:
                child.process.terminate()
        self._end_all(_TERMINATE_SECONDS)
        for child in self.children:
            if child.process.poll() is None:
                child.process.kill()
            child.process.wait()
            if child.process.stdin is not None:
                child.process.stdin.close()

    def _end_all(self, timeout: float) -> None:
        for _ in attempts(Deadline(timeout), _POLL):
            if all(child.process.poll() is not None for child in self.children):
                return

    def _explain(self, first: Child) -> Exception:
        """Say why the run failed: who was killed, else what the first one to fail reports."""
        killed = [child for child in self.children if (child.process.returncode or 0) < 0]
        if killed:
            child = killed[0]
            return JobFailed(
                f"{child.name} was killed by signal {-child.process.returncode}; the other "
                "processes have stopped; start the run again",
                party=child.party,
            )
        reports = [error for child in self.children if (error := child.error()) is not None]
        if (error := first.error()) is not None:
            return error
        if reports:
            return reports[0]
        tail = first.log_path.read_text("utf-8", "replace")[-2000:].strip()
        code = first.process.returncode
        return JobFailed(f"{first.name} ended with code {code}: {tail}", party=first.party)


def _read_events(child: Child) -> None:
    if child.process.stdout is None:
        return
    with child.process.stdout as stream:
        for line in stream:
            with contextlib.suppress(ValidationError):
                child.events.put(EVENTS.validate_json(line))


def _drain(child: Child, emit: Emit) -> None:
    while True:
        try:
            event = child.events.get_nowait()
        except queue.Empty:
            return
        emit(event)
