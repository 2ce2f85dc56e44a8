"""The one list of collectors, by the source they read."""

from __future__ import annotations

from typing import Any

from exporter.collector import Collector
from exporter.collectors.budget import Budget
from exporter.collectors.configuration import Configuration
from exporter.collectors.connections import Connections, Transactions
from exporter.collectors.database import Database, Server
from exporter.collectors.database_host import DatabaseHost
from exporter.collectors.host import Host
from exporter.collectors.limits import Limits
from exporter.collectors.plans import Plans
from exporter.collectors.processes import Processes
from exporter.collectors.replication import Replication, Standbys
from exporter.collectors.schema import Schema
from exporter.collectors.server import TrackingServer
from exporter.collectors.sockets import Sockets
from exporter.collectors.sqlite import Sqlite
from exporter.collectors.statements import Statements
from exporter.collectors.store import StoreCounts, StoreEstimates, StoreLogging
from exporter.collectors.tables import DatabaseSize, Indexes, Sizes, Tables
from exporter.collectors.vacuum import Autovacuum, Vacuum
from exporter.collectors.wal import Wal
from exporter.collectors.workers import Workers
from exporter.metric import gauge

DATABASE_UP = gauge(
    "mlflow_db_up",
    "1 where the backend store answered in this scrape, 0 where not; the log and the status page say why.",
    "the exporter's connection",
)

HOST: tuple[type[Collector[Any]], ...] = (TrackingServer, Workers, Processes, Sockets, Budget, Limits, Host)
POSTGRES: tuple[type[Collector[Any]], ...] = (
    Server,
    Database,
    DatabaseHost,
    Connections,
    Transactions,
    Statements,
    Tables,
    Indexes,
    Sizes,
    DatabaseSize,
    Schema,
    StoreEstimates,
    StoreCounts,
    StoreLogging,
    Vacuum,
    Autovacuum,
    Wal,
    Standbys,
    Replication,
    Configuration,
    Plans,
)
SQLITE: tuple[type[Collector[Any]], ...] = (Sqlite,)

BY_NAME = {collector.name: collector for collector in (*HOST, *POSTGRES, *SQLITE)}
