"""What a pressure says in a few words: the evidence with its unit, beside the threshold of its alert."""

from __future__ import annotations

import re
from math import inf
from typing import NamedTuple

from exporter.pack.dashboards.limits import Signal, signals


class Words(NamedTuple):
    """`{}` is the evidence times `scale`, rounded to `step`, and shown as no more than `most`."""

    text: str
    scale: float = 1
    step: float = 0.1
    most: float = inf


def percent(text: str) -> Words:
    return Words(text.replace("{}", "{} %"), 100, 1)


def share(text: str) -> Words:
    """Return words of what is measured by a clock beside a whole of a fixed length, which it may pass a little."""
    return percent(text)._replace(most=100)


# By the matchers of the signal without its cause.
WORDS = {
    'signal="server-down"': percent("server away {} of 2 min"),
    'signal="api-failing"': percent("{} of API probes fail"),
    'signal="database-down"': percent("database silent {} of 2 min"),
    'signal="error-budget"': Words("{} % of requests fail", 100, 0.1),
    'signal="latency-budget"': Words("{} % of requests are slow", 100, 0.1),
    'signal="lock-wait"': share("file locked {} of the time"),
    'signal="cpu", measure="load"': Words("{} sessions a core want CPU"),
    'signal="cpu", measure="host"': percent("database host CPU {} busy"),
    'signal="data-io"': Words("{} sessions wait for the disk"),
    'signal="storage", measure="pace"': percent("storage {} full, filling"),
    'signal="storage", measure="level"': percent("storage {} full"),
    'signal="reads", measure="load"': Words("{} sessions a core, mostly reads"),
    'signal="reads", measure="host"': percent("database CPU {} busy, mostly reads"),
    'signal="replica-lag"': Words("replica {} s behind", 1, 1),
    'signal="replica-lost"': Words("replicas lost: {}", 1, 1),
    'signal="replica-conflicts"': Words("replica queries cancelled: {}", 1, 1),
    'signal="durability"': Words("a crash loses data", 0, 1),
    'signal="commit"': Words("{} sessions wait in COMMIT"),
    'signal="checkpoints"': Words("forced checkpoints in 15 min: {}", 1, 1),
    'signal="wal-buffers"': percent("{} of log writes: full buffers"),
    'signal="dead-rows"': Words("{} times the dead rows due"),
    'signal="transaction-ids"': percent("{} of transaction ids used"),
    'signal="points-one-by-one"': Words("{} calls/s, points one by one"),
    'signal="params-one-by-one"': Words("{} parameters/s one by one"),
    'signal="run-rate"': Words("one run logs {} points/s"),
    'signal="cpu"': percent("server CPU {} used"),
    'signal="memory"': percent("{} of the memory limit"),
    'signal="oom-kills"': Words("processes killed in 15 min: {}", 1, 1),
    'signal="worker-replacements"': Words("workers replaced in 15 min: {}", 1, 1),
    'signal="missing-processes"': Words("processes missing: {}", 1, 1),
    'signal="accept-queue"': Words("connections not accepted: {}", 1, 1),
    'signal="client-round-trip"': Words("clients are {} ms away", 1000, 1),
    'signal="database-round-trip"': Words("database is {} ms away", 1000, 0.1),
    'signal="runs-scanned"': Words("searches keep {} sessions busy"),
    'signal="missing-index"': Words("scans keep {} sessions busy"),
    'signal="fds"': percent("{} of open files used"),
    'signal="near-limit"': percent("{} of connections used"),
    'signal="pool"': percent("{} of a pool used"),
    'signal="refused"': percent("{} of connections refused"),
    'signal="idle-in-transaction"': Words("idle in transaction for {} s", 1, 1),
    'signal="lock-waits"': Words("{} sessions wait for locks"),
    'signal="exporter-down"': percent("exporter away {} of 2 min"),
    'signal="blind"': percent("blind {} of 5 min"),
}

# Signals that only say that calls fail or are slow: within a cause they come after what says why.
FELT = ("api-failing", "error-budget", "latency-budget")


def words(signal: Signal) -> Words:
    """Return the words of a signal; raises KeyError where nobody has written them."""
    return WORDS[signal.place]


def headline(said: Words, value: float) -> str:
    """Return the words with evidence in them that is in its threshold's unit, as the board has them."""
    return said.text.replace("{}", _rounded(said, value))


def figure(said: Words, value: float) -> str:
    """Return only the number and the unit of the evidence; nothing where the words have no number."""
    return f"{_rounded(said, value)}{_unit(said)}" if said.scale else ""


def limit(said: Words, threshold: float) -> str:
    """Return the threshold likewise, which is not rounded: at 0.5 a first whole one counts."""
    return f"{threshold * said.scale:g}{_unit(said)}" if said.scale else ""


def _rounded(said: Words, value: float) -> str:
    return f"{min(round(value * said.scale / said.step) * said.step, said.most):.10g}"


def _unit(said: Words) -> str:
    found = re.search(r"\{\}( %| ms| s)(?= |$)", said.text)
    return found[1] if found else ""


def evidence() -> str:
    """Return PromQL for all pressures above 0, with the headline in the label `evidence`; the value is 1.

    A value becomes part of a label by count_values: a table cannot have another unit in each row.
    """
    return " or ".join(_of(signal, words(signal)) for signal in signals())


def _of(signal: Signal, said: Words) -> str:
    factor = said.scale * signal.threshold
    before, _, after = said.text.partition("{}")
    limit = f" (> {factor:g})" if said.scale else ""
    pressure = f"(mlflow:pressure:ratio{{{signal.matchers}}} > 0)"
    shown = f"round({pressure} * {factor:g}, {said.step:g})"
    shown = shown if said.most == inf else f"clamp_max({shown}, {said.most:g})"
    value = f'count_values without () ("value", {shown})'
    number = "$1" if said.scale else ""
    return f'label_replace({value}, "evidence", "{before}{number}{after}{limit}", "value", "(.*)")'
