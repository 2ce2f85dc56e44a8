"""One attempt of a probe: where its time went, when it has to end, and why it failed."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from enum import StrEnum

from exporter.collector import LONGEST_DETAIL
from exporter.logs import harmless


class Failure(StrEnum):
    """Why an attempt failed; the only values of the probes' label `reason`."""

    DNS = "dns"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TLS = "tls"
    RESET = "reset"
    HTTP_3XX = "http_3xx"
    HTTP_400 = "http_400"
    HTTP_401 = "http_401"
    HTTP_403 = "http_403"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    HOST = "host"
    BODY = "body"
    AUTH = "auth"
    TOO_MANY = "too_many"
    REJECTED = "rejected"
    SETTINGS = "settings"


class ProbeError(Exception):
    """An attempt failed; `detail` and `remedy` are for the log and the status page and hold no secret.

    What a server said in the detail becomes one line that can be printed.
    """

    def __init__(self, failure: Failure, detail: str, remedy: str = "") -> None:
        detail = harmless(detail[:LONGEST_DETAIL])
        super().__init__(detail)
        self.failure = failure
        self.detail = detail
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.failure}: {self.detail}" + (f" ({self.remedy})" if self.remedy else "")


def late(phase: str) -> ProbeError:
    """Return the failure of an attempt whose deadline passed in this phase."""
    match phase:
        case "":
            return ProbeError(Failure.SETTINGS, "the credentials could not be read in time")
        case "resolve":
            return ProbeError(Failure.DNS, "the name service did not answer in time")
        case _:
            return ProbeError(
                Failure.TIMEOUT, f"no complete answer before the deadline, which passed in {phase}"
            )


class Attempt:
    """The clock of one attempt, shared by the thread that makes it and those that may end it.

    Phases follow each other without a gap, so they add up to the whole. `status` and `certificate_expiry`
    (Unix time) are None until the server has told them. `settled` is the probe's: the outcome is counted.
    """

    def __init__(self, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.phase = ""
        self.status: int | None = None
        self.certificate_expiry: float | None = None
        self.ended = False
        self.settled = False
        self._clock = clock
        self._since = clock()
        self._deadline = self._since + timeout
        self._seconds: dict[str, float] = {}
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def enter(self, phase: str) -> None:
        """Begin a phase, which ends the one before; the empty phase ends the last."""
        with self._lock:
            self._seconds = self._spent()
            self.phase, self._since = phase, self._clock()

    def seconds(self) -> dict[str, float]:
        """Return the seconds by phase, with what the phase under way has taken until now."""
        with self._lock:
            return self._spent()

    def left(self) -> float:
        """Return the seconds until the deadline; raises TimeoutError when there are none or it was ended."""
        left = self._deadline - self._clock()
        if self.ended or left <= 0:
            raise TimeoutError
        return left

    def hold(self, connection: socket.socket) -> None:
        """Remember what `end` has to shut; only the last socket counts."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            # A descriptor of its own: TLS takes the socket's away, and once closed its number may be reused.
            self._socket = connection.dup()
            ended = self.ended
        if ended:
            self.end()

    def end(self) -> None:
        """Make whatever waits for the server return; from any thread, any number of times."""
        with self._lock:
            self.ended = True
            if self._socket is not None:
                with contextlib.suppress(OSError):  # not connected yet, or closed by the other side
                    self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give back what `hold` keeps."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _spent(self) -> dict[str, float]:
        if not self.phase:
            return self._seconds
        now = self._clock() - self._since
        return self._seconds | {self.phase: self._seconds.get(self.phase, 0.0) + now}
