"""promtool's tests as data: its notation of series taken apart, gaps put in, rules changed, and what it then says."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

NUMBER = r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+|[Nn]a[Nn]|[Ii]nf)"
ITEM = re.compile(
    rf"(?P<gap>_)(?:x(?P<gaps>\d+))?|(?P<stale>stale)|(?P<start>{NUMBER})(?P<step>[+-]\d[\d.]*(?:[eE][+-]?\d+)?)?(?:x(?P<more>\d+))?"
)
FAILED = re.compile(r"alertname: (\w+), time: ([\w.]+)")
FAILED_QUERY = re.compile(r"expr: \".*?alertname=~?\\?\"(\w+).*?, time: ([\w.]+)")
# The collector of a short-lived process of a hundred megabytes takes a third of its time.
ENVIRONMENT = os.environ | {"GOGC": "800"}


def expand(values: str) -> list[str]:
    """Return one text a sample: a number, `_` for none, `stale`; raises ValueError."""
    found: list[str] = []
    for word in values.split():
        item = ITEM.fullmatch(word)
        if item is None:
            raise ValueError(f"{word!r} in {values!r}")
        if item["gap"]:
            found += ["_"] * int(item["gaps"] or 1)
        elif item["stale"]:
            found.append("stale")
        elif item["step"] is None:
            found += [item["start"]] * (int(item["more"] or 0) + 1)
        else:
            start, step = float(item["start"]), float(item["step"])
            found += [f"{start + step * number:.12g}" for number in range(int(item["more"] or 0) + 1)]
    return found


def with_gaps(series: str, values: str, phase: int) -> str:
    """Return the samples as Prometheus has them when each third scrape fails, from the phase on.

    A failed scrape ends every series of its target, but for `up`, which is 0 then.
    """
    lost = "0" if re.match(r"up\b", series) else "stale"
    return " ".join(
        lost if number % 3 == phase and value not in ("_", "stale") else value
        for number, value in enumerate(expand(values))
    )


def with_failing_scrapes(group: dict[str, Any], phase: int) -> dict[str, Any]:
    """Return a test group whose series miss each third sample; it compares labels alone, as values may differ."""
    return {
        "name": f"{group['name']}, phase {phase}",
        "interval": group["interval"],
        "input_series": [
            one | {"values": with_gaps(one["series"], str(one["values"]), phase)}
            for one in group["input_series"]
        ],
        "alert_rule_test": without_texts(group)["alert_rule_test"],
    }


def without_texts(group: dict[str, Any]) -> dict[str, Any]:
    """Return the test group with labels alone to compare: values and texts may differ."""
    return group | {
        "alert_rule_test": [
            entry
            | {
                "exp_alerts": [
                    {"exp_labels": one.get("exp_labels", {})} for one in entry.get("exp_alerts") or []
                ]
            }
            for entry in group.get("alert_rule_test") or []
        ]
    }


def without_annotations(rules: dict[str, Any]) -> dict[str, Any]:
    return {
        "groups": [
            group
            | {
                "rules": [
                    {key: value for key, value in one.items() if key != "annotations"}
                    for one in group["rules"]
                ]
            }
            for group in rules["groups"]
        ]
    }


@dataclass(frozen=True)
class Said:
    status: int
    text: str

    @property
    def failed(self) -> set[tuple[str, str]]:
        """Alert and time of each expectation that was not met, of alerts and of queries about them."""
        return {*FAILED.findall(self.text), *FAILED_QUERY.findall(self.text)}


def run(promtool: Path, folder: Path, rules: dict[str, Any], test: dict[str, Any]) -> Said:
    """Run one test file with these rules, written to the folder."""
    names = [Path(name).name for name in test["rule_files"]]
    for name in names:
        (folder / name).write_text(dump(rules), encoding="utf-8")
    (folder / "test.yml").write_text(dump(test | {"rule_files": names}), encoding="utf-8")
    return call(promtool, "test", "rules", folder / "test.yml")


def call(program: Path, *arguments: str | Path) -> Said:
    done = subprocess.run(
        [program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=ENVIRONMENT,
        text=True,
        check=False,
    )
    return Said(done.returncode, done.stdout)


def dump(content: dict[str, Any]) -> str:
    return yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False, width=10**9)


def seconds(text: str) -> float:
    """Return a time of promtool's tests, as 1h30m or 15s, in seconds."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400, "ms": 0.001}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)(ms|[smhd])", str(text)))


def of(groups: Iterable[dict[str, Any]], alert: str, what: str) -> list[dict[str, Any]]:
    """Return the test groups named `<alert>: <what>`."""
    return [group for group in groups if group.get("name", "").startswith(f"{alert}: {what}")]


def day(recording: str, minutes: int = 24 * 60) -> list[dict[str, str]]:
    """Return the series of a day made of a recording (tests/lab/record.py) over and over, a sample a minute."""
    found = []
    for line in recording.splitlines():
        kind, _, rest = line.partition(" ")
        series, _, text = rest.rpartition("} ")
        values = [float(value) for value in text.split()]
        name = f'{series},job="mlflow",instance="a:10500",tracking_server="main"}}'.replace("{,", "{")
        if len(set(values)) == 1:
            samples = f"0+{values[0]:g}x{minutes}" if kind == "counter" else f"{values[0]:g}x{minutes}"
        else:
            around = [values[number % len(values)] for number in range(minutes + 1)]
            sums = accumulate(around) if kind == "counter" else around
            samples = " ".join(f"{value:.9g}" for value in sums)
        found.append({"series": name, "values": samples})
    return [
        *found,
        {"series": 'up{job="mlflow",instance="a:10500",tracking_server="main"}', "values": f"1x{minutes}"},
    ]
