"""From the settings and what was found to the specs of the parts that run; pure, so that a plan can be compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import structs

from exporter import collectors
from exporter.backend import Backend
from exporter.collector import Collector, SourceError
from exporter.collectors.configuration import Configuration
from exporter.collectors.database_host import Capacity, DatabaseHost
from exporter.collectors.statements import Statements
from exporter.discovery import Found
from exporter.samplers.database_probe import DatabaseProbeSpec
from exporter.samplers.http_probe import HttpProbeSpec, server_probes
from exporter.samplers.load import LoadSampler, LoadSpec
from exporter.secret import Secret
from exporter.settings import Server, Settings, SettingsError
from exporter.settings import Statements as StatementSettings
from exporter.sources.absent import NO_FILE, NOT_CHOSEN, NOT_FOUND, UNREADABLE, Absence
from exporter.sources.conninfo import Target

ProbeSpec = HttpProbeSpec | DatabaseProbeSpec
SamplerSpec = ProbeSpec | LoadSpec

# What the setting `collectors` chooses from.
NAMES = frozenset((*collectors.BY_NAME, LoadSampler.name))
# Collectors that are told what the settings say of the database's machine.
TOLD: dict[str, Callable[[Capacity | None], Collector[Any]]] = {
    one.name: one for one in (DatabaseHost, Configuration)
}


@dataclass(frozen=True, slots=True)
class HostSpec:
    """The tracking server's processes: on which port it listens and whose they are, where the settings say so."""

    port: int | None
    user: str


@dataclass(frozen=True, slots=True)
class SqliteSpec:
    path: str


@dataclass(frozen=True, slots=True)
class LaneSpec:
    """One source, the names of the collectors that read it, and what the settings tell some of these."""

    source: HostSpec | Target | SqliteSpec | Absence
    collectors: tuple[str, ...]
    capacity: Capacity | None = None
    statements: StatementSettings | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    lanes: tuple[LaneSpec, ...]
    probes: tuple[ProbeSpec, ...]
    load: LoadSpec | None = None

    @property
    def database(self) -> Target | None:
        """The Postgres that is read, if one is."""
        return next((lane.source for lane in self.lanes if isinstance(lane.source, Target)), None)

    @property
    def samplers(self) -> tuple[SamplerSpec, ...]:
        return (*self.probes, self.load) if self.load else self.probes


def plan(settings: Settings, found: Found | None, ambiguous: bool = False) -> Plan:
    """Decide what runs; `ambiguous` says that none was found because there are several.

    Raises SettingsError where the settings cannot be carried out.
    """
    try:
        database = _database(settings, found)
        if database is NOT_FOUND and ambiguous:
            database = NOT_CHOSEN
        base = settings.server.url or (_base_url(found) if found else "")
        doubtful = not settings.server.url and found is not None and not found.trusted
        server = without_login(settings.server) if doubtful else settings.server
        probes: list[ProbeSpec] = list(server_probes(base, settings.probes, server))
    except SourceError as error:
        raise SettingsError((f"{error.detail}. {error.remedy}",)) from None
    except ValueError as error:
        raise SettingsError((str(error),)) from None
    if isinstance(database, Target) and settings.probes.database:
        timing = (settings.probes.timeout, settings.probes.interval, settings.probes.vantage)
        probes.append(DatabaseProbeSpec(database, *timing))
    of_database = collectors.SQLITE if isinstance(database, SqliteSpec) else collectors.POSTGRES
    lanes = (
        _lane_spec(HostSpec(settings.server.port, settings.server.user), collectors.HOST, settings),
        _lane_spec(database, of_database, settings),
    )
    load = (
        LoadSpec(database) if isinstance(database, Target) and _chosen(LoadSampler.name, settings) else None
    )
    return Plan(tuple(lane for lane in lanes if lane.collectors), tuple(probes), load)


def may_be_out_of_reach(settings: Settings, elsewhere: bool) -> bool:
    """Say whether an address that was found, in another network namespace, is all that is known of a server."""
    database = settings.database.dsn or settings.database.dsn_file
    return elsewhere and not (settings.server.url and database)


def withholds_login(settings: Settings, found: Found | None) -> bool:
    """Say whether a secret is set that would go to a server of another user, who may only pose as one."""
    server, database = settings.server, settings.database
    of_probes = not server.url and (server.username or server.token or server.token_file)
    of_database = not (database.dsn or database.dsn_file) and (
        database.password or database.password_file or database.password_command
    )
    return bool(of_probes or of_database) and found is not None and not found.trusted


def without_login(server: Server) -> Server:
    return structs.replace(server, username="", password=None, password_file="", token=None, token_file="")


def _lane_spec(
    source: HostSpec | Target | SqliteSpec | Absence,
    available: tuple[type[Collector[Any]], ...],
    settings: Settings,
) -> LaneSpec:
    names = tuple(one.name for one in available if _chosen(one.name, settings))
    given = settings.database
    told = Capacity(given.cores, given.memory, given.storage)
    return LaneSpec(
        source,
        names,
        told if TOLD.keys() & set(names) else None,
        settings.statements if Statements.name in names else None,
    )


def _chosen(name: str, settings: Settings) -> bool:
    return not settings.collectors or name in settings.collectors


def _database(settings: Settings, found: Found | None) -> Target | SqliteSpec | Absence:
    given = settings.database
    password = given.password or Secret("")
    if dsn := _dsn(settings):
        return Target.from_dsn(dsn, password, given.password_file, given.password_command)
    if found is None or found.backend is None:
        return UNREADABLE if found else NOT_FOUND
    database = _of_backend(found.backend, found.trusted)
    if (
        isinstance(database, Target)
        and found.trusted
        and (password or given.password_file or given.password_command)
    ):
        return Target(database.options, password, given.password_file, given.password_command)
    return database


def _of_backend(backend: Backend, trusted: bool) -> Target | SqliteSpec | Absence:
    match backend.dialect:
        case "postgresql":
            return Target.from_backend(backend, trusted)
        case "sqlite":
            return SqliteSpec(backend.path) if backend.path else NO_FILE
        case dialect:
            return Absence.of_dialect(dialect)


def _dsn(settings: Settings) -> Secret | None:
    path = settings.database.dsn_file
    if not path:
        return settings.database.dsn
    try:
        return Secret(Path(path).read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError((f"database.dsn_file: {path}: {type(error).__name__}",)) from None


def _base_url(found: Found) -> str:
    host = f"[{found.host}]" if ":" in found.host else found.host
    return f"{found.scheme}://{host}:{found.port}{found.static_prefix}"
