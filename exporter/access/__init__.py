"""Access to our port: TLS, client certificates and passwords, by the file that all Prometheus' exporters share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from exporter.access.gate import Gate
from exporter.access.loading import load
from exporter.access.passwords import Passwords
from exporter.settings import SettingsError

__all__ = ["Access", "Gate", "gate_of"]

log = logging.getLogger(__name__)

Stamps = dict[str, tuple[int, int, int] | None]


def gate_of(file: str) -> Gate:
    """Return what the web config file says, or for no file a gate that is open; raises SettingsError."""
    return load(Path(file)) if file else Gate()


class Access:
    """Keep the gate in step with its files; a faulty one changes nothing, and is said once."""

    def __init__(self, file: str, note: Callable[[bool], None] = lambda _: None) -> None:
        """Read the file; raises SettingsError. `note` is told of each later reading whether it was without fault."""
        self._file, self._note = file, note
        self.passwords = Passwords()
        self.gate = gate_of(file)
        self._read = self._seen = self._stamps()
        self._faults: tuple[str, ...] = ()

    def look(self) -> None:
        """Read again what has changed, one look later: by then whoever writes is done with all of the files."""
        seen, self._seen = self._seen, self._stamps()
        if seen == self._seen and (self._faults or seen != self._read):
            self._take()

    def reload(self, file: str) -> None:
        """Read the file, which may be another one, at once."""
        self._file = file
        self._take()

    def _take(self) -> None:
        # Without a descriptor or memory left it raises, and as nothing counts as read, the next look tries again.
        before = self._stamps()
        try:
            gate = gate_of(self._file)
        except SettingsError as error:
            if error.faults != self._faults:
                log.error("web config not reloaded, the old one stays in force:\n%s", error)
            self._read, self._faults = before, error.faults
            self._note(False)
            return
        self.gate, self._faults = gate, ()
        # As they were before they were read: what was written meanwhile is seen by the next look.
        self._read = self._stamps() | {file: stamp for file, stamp in before.items() if file in gate.files}
        self._note(True)
        if self._file:
            log.info("web config reloaded: %s", gate)

    def _stamps(self) -> Stamps:
        return {file: _stamp(file) for file in (self._file, *self.gate.files) if file}


def _stamp(file: str) -> tuple[int, int, int] | None:
    try:
        status = Path(file).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
