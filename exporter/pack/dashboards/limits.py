"""The thresholds of the alerts, read from their rules, so that no panel draws another line than its alert has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import yaml

from exporter.causes import CAUSES
from exporter.pack import alerts

_COMPARED = re.compile(r"\(mlflow:pressure:ratio\{([^}]*)\} > 1\) \* ([0-9.]+(?:e[+-]?[0-9]+)?)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Signal:
    """One pressure and what it is compared with.

    `matchers` selects the pressure among all, as PromQL; `threshold` is in the evidence's own unit, so that
    pressure times threshold is the evidence.
    """

    cause: str
    name: str
    matchers: str
    threshold: float
    alert: str
    severity: str

    def measures(self, labels: Mapping[str, str]) -> bool:
        """Tell whether these are labels of a record of this pressure."""
        return all(labels.get(name) == value for name, value in _LABEL.findall(self.matchers))

    @property
    def place(self) -> str:
        """The matchers without the cause."""
        return self.matchers.split(",", 1)[1].strip()


_site: dict[str, str] = {}


@contextmanager
def of(rules: Mapping[str, str]) -> Iterator[None]:
    """Meanwhile take thresholds from a site's rules, text by file name, and not from those that are shipped."""
    before = dict(_site)
    _take(rules)
    try:
        yield
    finally:
        _take(before)


def _take(rules: Mapping[str, str]) -> None:
    if rules != _site:
        _site.clear()
        _site.update(rules)
        signals.cache_clear()


@cache
def signals() -> tuple[Signal, ...]:
    """Return all signals in the causes' order; an alert may have several, and a signal several measures."""
    found: list[Signal] = []
    for cause in CAUSES:
        name = f"{cause.slug}.yml"
        text = _site.get(name) or (alerts() / "rules" / name).read_text(encoding="utf-8")
        for group in yaml.safe_load(text)["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    found += compared(rule["expr"], rule["alert"], rule["labels"]["severity"])
    return tuple(found)


def compared(expr: str, alert: str, severity: str) -> Iterator[Signal]:
    """Yield what an alert's expression compares, as we write it or as Prometheus' API gives it."""
    for matchers, number in _COMPARED.findall(expr):
        labels = dict(_LABEL.findall(matchers))
        # Prometheus gives them back in an order of its own.
        order = sorted(labels, key=lambda name: (name != "cause", name != "signal", name))
        written = ", ".join(f'{name}="{labels[name]}"' for name in order)
        yield Signal(labels["cause"], labels["signal"], written, float(number), alert, severity)


def threshold(alert: str, of: str = "") -> float:
    """Return an alert's threshold, where it has several that of a signal, resource or measure.

    Raises KeyError where there is not exactly one.
    """
    found = {
        one.threshold for one in signals() if one.alert == alert and (not of or f'"{of}"' in one.matchers)
    }
    if len(found) != 1:
        raise KeyError(f"{alert} {of}: {sorted(found) or 'no'} threshold")
    return found.pop()
