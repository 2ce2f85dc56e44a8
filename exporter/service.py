"""The long-running exporter: follows the tracking server and the settings, and serves what it reads."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from exporter.collector import SourceError
from exporter.discovery import Discovery, Found, Sighting
from exporter.logs import printable
from exporter.metric import Sample, gauge
from exporter.plan import Plan, may_be_out_of_reach, plan, withholds_login
from exporter.running import Running
from exporter.samplers.load import LoadSampler
from exporter.samplers.probes import Probe
from exporter.scrape import Scraper
from exporter.settings import Settings, SettingsError

log = logging.getLogger(__name__)

RELOADED = gauge(
    "mlflow_exporter_config_last_reload_successful",
    "1 where settings file and web config file were without a fault when they were last read, else 0.",
    "the exporter",
)
RELOADED_AT = gauge(
    "mlflow_exporter_config_last_reload_success_timestamp_seconds",
    "Unix time at which what is in force of settings file and web config file was last read.",
    "the exporter",
    "timestamp_seconds",
)

SETTINGS = "settings file"

NO_LOGIN = (
    "The tracking server asks for a login and none is set, so the probes `version` and `api` are refused: set "
    "server.username and server.password_file to a user with READ on the default experiment."
)

WITHHELD = (
    "The login for the probes and the database's password are not sent, since the server that was found belongs to "
    "another user, who may only pose as a tracking server: set server.user to its owner, or server.url and "
    "database.dsn."
)

OUT_OF_REACH = (
    "The server runs in another network namespace, as containers do, so that its port may not be reachable from here: "
    "set server.url and database.dsn to addresses that are."
)


class Reloads:
    """Whether what is in force is what stands in the files."""

    metrics = (RELOADED, RELOADED_AT)

    def __init__(self) -> None:
        self.faulty: tuple[str, ...] = ()
        self._at = time.time()

    def note(self, file: str, success: bool) -> None:
        """Take note of whether a file, the settings' or another, was read without a fault."""
        others = tuple(other for other in self.faulty if other != file)
        self.faulty = others if success else (*others, file)
        if success:
            self._at = time.time()

    def samples(self) -> Iterable[Sample]:
        yield RELOADED(float(not self.faulty))
        yield RELOADED_AT(self._at)


class Service:
    """Keep the running parts in step with the settings and with the tracking server."""

    def __init__(self, load: Callable[[], Settings]) -> None:
        """Read the settings; raises SettingsError."""
        self._load = load
        self.settings = load()
        self.scraper = Scraper()
        self.reloads = Reloads()
        self.discovery = _discovery(self.settings)
        self.sighting: Sighting = self.discovery.look()
        # Kept while the server is down, so that its database stays watched.
        self.found: Found | None = self.sighting.found
        self._running = Running(self.scraper, (self.reloads,))
        self._followed: tuple[Found | None, bool] = (self.found, self.sighting.ambiguous)
        self._unusable: tuple[Found | None, bool] | None = None
        self._said: tuple[str, ...] = ()
        self.plan: Plan = plan(self.settings, self.found, self.sighting.ambiguous)
        self._running.apply(self.plan, self.discovery)
        self._say_problems()

    @property
    def server(self) -> str:
        """The watched server in one line, or why there is none."""
        return self.server_as(describe)

    def server_as(self, said: Callable[[Found], str]) -> str:
        """Return the watched server as `said` puts it, or why there is none."""
        if self.found is None:
            return (
                "several run here, none is chosen"
                if self.sighting.ambiguous
                else "none found on this machine"
            )
        return said(self.found) + ("" if self.sighting.found else " (not running now)")

    @property
    def problems(self) -> tuple[str, ...]:
        """What stands in the way, a sentence each, without secrets."""
        server = self.settings.server
        problems = list(self.sighting.problems)
        if may_be_out_of_reach(self.settings, self.sighting.elsewhere):
            problems.append(OUT_OF_REACH)
        if withholds_login(self.settings, self.found):
            problems.append(WITHHELD)
        elif (
            self.found
            and self.found.basic_auth
            and not (server.username or server.token or server.token_file)
        ):
            problems.append(NO_LOGIN)
        return tuple(problems)

    @property
    def probes(self) -> tuple[Probe, ...]:
        return tuple(loop.sampler for loop in self._running.loops if isinstance(loop.sampler, Probe))

    def load_failure(self) -> SourceError | None:
        """Return why the last sample of the database's load failed, None where it did not."""
        samplers = (loop.sampler for loop in self._running.loops)
        return next((one.failure for one in samplers if isinstance(one, LoadSampler)), None)

    def look(self) -> None:
        """Look for the server again; a changed one changes the plan."""
        self.sighting = self.discovery.look()
        self._say_problems()
        found = self.sighting.found or self.found
        there = (found, self.sighting.ambiguous)
        if there in (self._followed, self._unusable):
            return
        before = self.found
        try:
            self._go_over(self.settings, found, self.sighting, self.discovery)
        except SettingsError as error:
            self._unusable = there  # said once, not at each look
            log.error("cannot follow the tracking server: %s", error)
        else:
            if found and found != before:
                log.info("tracking server found: %s", describe(found))

    def reload(self) -> None:
        """Read the settings again; faulty ones are logged and change nothing."""
        try:
            settings = self._load()
            discovery = self.discovery
            if _where(settings) != _where(self.settings):
                discovery = _discovery(settings)
            sighting = discovery.look()
            # The server that was found before is another one where the settings now name another.
            known = self.found if discovery is self.discovery else None
            self._go_over(settings, sighting.found or known, sighting, discovery)
        except SettingsError as error:
            self.reloads.note(SETTINGS, False)
            log.error("settings not reloaded, the old ones stay in force:\n%s", error)
            return
        self.settings, self.discovery, self.sighting = settings, discovery, sighting
        self.reloads.note(SETTINGS, True)
        log.info("settings reloaded")

    def close(self) -> None:
        self._running.close()

    def _go_over(
        self, settings: Settings, found: Found | None, sighting: Sighting, discovery: Discovery
    ) -> None:
        new = plan(settings, found, sighting.ambiguous)
        self._running.apply(new, discovery)
        self.plan, self.found = new, found
        self._followed, self._unusable = (found, sighting.ambiguous), None

    def _say_problems(self) -> None:
        for problem in self.problems:
            if problem not in self._said:
                log.warning("%s", problem)
        self._said = self.problems


def _where(settings: Settings) -> tuple[int | None, str]:
    return settings.server.port, settings.server.user


def _discovery(settings: Settings) -> Discovery:
    return Discovery(*_where(settings))


def describe(found: Found, user: bool = True) -> str:
    """Return one line about a server, without secrets, its database's user only where wanted."""
    backend = found.backend
    if backend is None:
        store = "a backend that could not be read"
    elif backend.dialect == "sqlite":
        store = f"sqlite {backend.path}"
    else:
        port = f":{backend.port}" if backend.port else ""
        who = f"{backend.user}@" if user else ""
        store = f"{backend.dialect} {who}{backend.host}{port}/{backend.dbname}"
    host = f"[{found.host}]" if ":" in found.host else found.host
    return printable(f"{found.kind} on {found.scheme}://{host}:{found.port}{found.static_prefix}, {store}")
