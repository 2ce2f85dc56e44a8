"""What a scrape of the exporter said, read by who wants to know what works and what does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

Key = tuple[str, ...]
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Scrape:
    """One answer: series by name and label values, and what it took."""

    seconds: float
    series: Mapping[str, Mapping[Labels, float]] = field(repr=False)

    @classmethod
    def read(cls, text: str, seconds: float) -> Scrape:
        series: dict[str, dict[Labels, float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                series.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
        return cls(seconds, series)

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of the only series with that name and these labels; None where there is none."""
        wanted = labels.items()
        found = [value for key, value in self.series.get(name, {}).items() if wanted <= dict(key).items()]
        assert len(found) <= 1, f"{name}{labels}: {len(found)} series"
        return found[0] if found else None

    def by(self, name: str, *labels: str) -> dict[Key, float]:
        """Return the values of a metric by these labels."""
        return {
            tuple(dict(key)[label] for label in labels): value
            for key, value in self.series.get(name, {}).items()
        }

    @property
    def up(self) -> set[str]:
        """The sources, servers and databases that are said to be up."""
        return {
            " ".join((name, *(value for _, value in key)))
            for name, found in self.series.items()
            if name.startswith("mlflow_") and name.endswith("_up")
            for key, value in found.items()
            if value == 1
        }

    @property
    def working(self) -> set[str]:
        """The collectors and probes that succeeded."""
        collectors = self.by("mlflow_exporter_collector_success", "collector")
        probes = self.by("mlflow_probe_success", "probe")
        return {name for (name,), value in collectors.items() if value == 1} | {
            f"probe {name}" for (name,), value in probes.items() if value == 1
        }

    @property
    def failures(self) -> dict[Key, float]:
        """Failures so far by collector and reason, and by probe and reason."""
        probes = self.by("mlflow_probe_failures_total", "probe", "reason")
        return self.by("mlflow_exporter_collector_errors_total", "collector", "reason") | {
            (f"probe {name}", reason): count for (name, reason), count in probes.items()
        }

    @property
    def samplers(self) -> set[str]:
        """What works on its own clock, among `working`."""
        ticks = self.by("mlflow_exporter_sampler_ticks_total", "sampler")
        return {name if name == "load" else f"probe {name}" for (name,) in ticks}

    @property
    def ticked(self) -> bool:
        return all(self.by("mlflow_exporter_sampler_ticks_total", "sampler").values())


@dataclass(frozen=True)
class Seen:
    """What the scrapes said while the fault lasted, against what was so before."""

    before: Scrape
    scrapes: Sequence[Scrape]

    @property
    def last(self) -> Scrape:
        return self.scrapes[-1]

    @property
    def down(self) -> set[str]:
        """What was up before and was not in the last scrape."""
        return self.before.up - self.last.up

    @property
    def failing(self) -> set[str]:
        """What worked before and did not in the last scrape."""
        return self.before.working - self.last.working

    @property
    def worst(self) -> tuple[set[str], int]:
        """What was down in any of the scrapes, and how much did not work in the worst of them."""
        down = set().union(*(self.before.up - one.up for one in self.scrapes))
        return down, max(len(self.before.working - one.working) for one in self.scrapes)

    @property
    def reasons(self) -> dict[str, set[str]]:
        """The reasons of each collector and probe that failed since the fault began."""
        found: dict[str, set[str]] = {}
        for (name, reason), count in self.last.failures.items():
            if count > self.before.failures.get((name, reason), 0) and name in self.before.working:
                found.setdefault(name, set()).add(reason)
        return found

    def of(self, name: str) -> set[str]:
        return self.reasons.get(name, set())
