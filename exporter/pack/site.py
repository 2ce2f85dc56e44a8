"""What a site's pack has other than the shipped one: a file of options, and flags, which win over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from exporter import __version__
from exporter.pack.dashboards.limits import Signal
from exporter.pack.dashboards.promql import metrics
from exporter.pack.shipped import Alert, alerts
from exporter.settings import Leaf, SettingsError
from exporter.settings.derive import build, leaf_of, leaves_of
from exporter.settings.file import read
from exporter.settings.leaf import Given, Reading, RefusedError, fault

# Labels that alerts have already: what rules join and inhibition goes by, what texts say, and `namespace`, by which an
# operator's Alertmanager routes.
OURS = (
    *("alertname", "cause", "class", "collector", "columns", "horizon", "instance", "job"),
    *("measure", "name", "namespace", "path", "process", "reason", "resource", "setting"),
    *("severity", "signal", "state", "table", "tracking_server", "vantage", "version"),
)

# A cluster's label stands in every selector and is a variable of each dashboard.
TAKEN = sorted({*OURS, "datasource", "le"}.union(*(metric.labels for metric in metrics().values())))

# They go into YAML and into templates of Prometheus, where braces and quotes would mean something.
Url = Annotated[
    str,
    Meta(
        pattern=r"^(https?://[\w.:/~%@\[\]-]+)?$",
        extra={"allowed": "the start of a link, as http://host:port/path"},
    ),
]
Word = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$",
        extra={"allowed": "a name of at most 63 letters, digits, _, . and -"},
    ),
]
ObjectName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        extra={"allowed": "a name of at most 63 of a-z, 0-9 and -"},
    ),
]
OptionalName = Annotated[
    str,
    Meta(
        pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$",
        extra={"allowed": "a name of at most 63 of a-z, 0-9 and -"},
    ),
]
Image = Annotated[
    str, Meta(pattern=r"^[\w.:/@-]+$", extra={"allowed": "an image, as registry.example.org/exporter:1"})
]
User = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Group = Annotated[int, Meta(ge=0, le=2**31 - 1)]
LabelName = Annotated[
    str,
    Meta(
        pattern=rf"^(?!({'|'.join(OURS)})$)[A-Za-z_][A-Za-z0-9_]*$",
        extra={"allowed": f"a label's name, but none of {', '.join(OURS)}"},
    ),
]
ClusterLabel = Annotated[
    str,
    Meta(
        pattern=rf"^((?!__|({'|'.join(TAKEN)})$)[A-Za-z_][A-Za-z0-9_]*)?$",
        extra={"allowed": "a label's name that no metric and no alert of ours has, as cluster"},
    ),
]
LabelValue = Annotated[
    str, Meta(pattern=r'^[^{}\\"]+$', extra={"allowed": "a text without braces, quotes and backslashes"})
]

Threshold = Annotated[float, Meta(gt=0, lt=1e12, extra={"allowed": "a number above 0"})]
Ratio = Annotated[float, Meta(gt=0, lt=1, extra={"allowed": "a ratio above 0 and below 1, as 0.8 for 80 %"})]
NoThreshold = Annotated[
    str,
    Meta(
        pattern="(?!)",
        extra={
            "allowed": "nothing: a finding compares with no threshold; `exclude` or `severities` may name it"
        },
    ),
]
Severity = Literal["critical", "warning", "info"]


class Kubernetes(Struct, frozen=True, kw_only=True):
    """What only --format kubernetes writes."""

    image: Image = f"mlflow-exporter:{__version__}"
    user: User = 1000
    group: Group = 1000
    server_url: Url = "http://mlflow:5000"
    database_port: Port = 5432
    secret: OptionalName = ""  # that of the exporter's other objects
    prometheus_namespace: ObjectName = "monitoring"
    release: Word = "kube-prometheus-stack"


class Site(Struct, frozen=True, kw_only=True):
    """The options; with none given the pack is as it is shipped.

    `thresholds` are by the name of the alert and of what tells several of one alert apart, as `MlflowLockWaits` and
    `MlflowDatabaseCpuSaturated.load`.
    """

    runbook_url: Url = ""
    grafana_url: Url = ""
    job: Word = "mlflow"
    tracking_server: Word = "main"
    namespace: ObjectName = "mlflow"
    cluster_label: ClusterLabel = ""  # of a Prometheus, Thanos or Mimir that holds several clusters
    thresholds: dict[str, Threshold] = field(default_factory=dict)
    severities: dict[str, Severity] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    labels: dict[LabelName, LabelValue] = field(default_factory=dict)
    kubernetes: Kubernetes = Kubernetes()


# Of these each alert is a key of its own, so that each has its line, its limits and the names that are near it.
BY_ALERT = ("thresholds", "severities")


@cache
def leaves() -> tuple[Leaf, ...]:
    """Return every key that takes a value."""
    any_alert: Any = Literal[tuple(alerts())]  # Literal takes what is known only here, and types do not
    return (
        *(leaf for leaf in leaves_of(Site) if leaf.path not in (*BY_ALERT, "exclude")),
        leaf_of("exclude", Annotated[tuple[any_alert, ...], Meta(extra={"allowed": "a list of alerts"})], ()),
        *(leaf_of(f"severities.{name}", Severity) for name in alerts()),
        *(leaf for alert in alerts().values() for leaf in _thresholds(alert)),
    )


def _thresholds(alert: Alert) -> Iterator[Leaf]:
    if not alert.thresholds:
        yield leaf_of(f"thresholds.{alert.name}", NoThreshold)
    for name, signal in named(alert):
        yield leaf_of(f"thresholds.{name}", Ratio if alert.ratio and signal.threshold < 1 else Threshold)


def named(alert: Alert) -> list[tuple[str, Signal]]:
    """Return the alert's signals, each with the name that options have for its threshold."""
    if len(alert.thresholds) == 1:
        return [(alert.name, signal) for signal in alert.thresholds.values()]
    return [(f"{alert.name}.{of}", signal) for of, signal in alert.thresholds.items()]


def load(path: Path | None, flags: Mapping[str, str]) -> Site:
    """Return the options of the flags, texts by key, over those of the file; raises SettingsError with every fault."""
    written = read(path, leaves()) if path else Reading({}, ())
    faults = [*written.faults]
    given = dict(written.given)
    for leaf in leaves():
        if leaf.path in flags:
            where = f"--{leaf.path.replace('_', '-')}"
            try:
                given[leaf.path] = Given(where, leaf.parse(flags[leaf.path]))
            except RefusedError as refused:
                faults.append(fault(where, refused.found, leaf.allowed, refused.hint))
    if faults:
        raise SettingsError(tuple(faults))
    values: dict[str, Any] = {key: {} for key in BY_ALERT}
    for name, one in given.items():
        section, _, alert = name.partition(".")
        if section in BY_ALERT:
            values[section][alert] = one.value
        else:
            values[name] = one.value.rstrip("/") if name.endswith("_url") else one.value  # type: ignore[attr-defined]
    return build(Site, values)
