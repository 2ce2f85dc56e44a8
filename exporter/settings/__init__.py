"""The settings: what can be set, and how file, environment and flags become it."""

from exporter.settings.keys import Database, Log, Probes, Prometheus, Server, Settings, Statements, Web
from exporter.settings.leaf import Leaf
from exporter.settings.loading import SettingsError, add_flags, flags_of, leaves, load, schema

__all__ = [
    "Database",
    "Leaf",
    "Log",
    "Probes",
    "Prometheus",
    "Server",
    "Settings",
    "SettingsError",
    "Statements",
    "Web",
    "add_flags",
    "flags_of",
    "leaves",
    "load",
    "schema",
]
