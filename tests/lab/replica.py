"""A streaming replica of a lab's Postgres, made while that one runs or stands still."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping

from tests.lab.postgres import Postgres, copy

FOLLOW = {
    "max_standby_streaming_delay": "0",
    "wal_retrieve_retry_interval": "200ms",
}


class Standby(Postgres):
    """A replica: a copy of the primary's files, which then follows it.

    The primary is stopped for the copy, or goes on working (`online`, from Postgres 15 on). `settings` are the
    replica's own beside the primary's.
    """

    name = "replica"

    def __init__(
        self, primary: Postgres, settings: Mapping[str, str] | None = None, *, online: bool = False
    ) -> None:
        super().__init__(primary.major)
        self.primary, self.online, self.own_settings = primary, online, dict(settings or {})

    def start(self) -> None:
        if not self.data.exists():
            self._copy()
        super().start()

    def _copy(self) -> None:
        if self.online:
            self._copy_online(self.primary)
        else:
            self.primary.stop()
            copy(self.primary.data, self.data)
            self.primary.start()
        (self.data / "standby.signal").touch()
        self.own(self.data / "standby.signal")
        source = {"primary_conninfo": f"{self.primary.dsn()}?application_name=second"}
        # What a cluster was configured to be comes with its files: here only what must be another's is said again.
        own = {name: self.settings[name] for name in ("unix_socket_directories",)}
        self.configure((own if self.online else self.settings) | FOLLOW | source | self.own_settings)

    def _copy_online(self, primary: Postgres) -> None:
        with contextlib.closing(primary.connect()) as session:
            session.execute("select pg_backup_start('lab', fast => true)")
            # A file that goes meanwhile is no loss: what the log of changes says of it is replayed.
            subprocess.run(["cp", "-a", primary.data, self.data], check=False, capture_output=True)
            ((label,),) = session.execute(
                "select labelfile from pg_backup_stop(wait_for_archive => false)"
            ).fetchall()
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        (self.data / "backup_label").write_text(label)
        self.own(self.data / "backup_label")
