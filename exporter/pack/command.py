"""`mlflow-exporter pack`: alerts and dashboards as files that Prometheus, Alertmanager and Grafana load."""

from __future__ import annotations

import sys
from pathlib import Path

from exporter.pack import directory, formats


def pack(target: Path, runbook_url: str, grafana_url: str) -> int:
    """Write the pack and say how to load it; returns the exit status."""
    files = formats.prometheus(runbook_url, grafana_url) | formats.grafana(runbook_url)
    try:
        directory.write(target, files)
    except directory.PackError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"cannot write {target}: {error.strerror}\n")
        return 1
    rules = sum(path.startswith("rules/") for path in files)
    boards = sum(path.endswith(".json") for path in files)
    sys.stdout.write(
        f"{len(files)} files in {target}, {rules} of them rules and {boards} dashboards.\n"
        f"Prometheus:    rule_files: [{target.absolute()}/rules/*.yml], or the whole of prometheus.yml\n"
        f"Alertmanager:  --config.file={target.absolute()}/alertmanager.yml, once its receivers at the end are yours\n"
        f"Grafana:       import {target.absolute()}/dashboards/*.json, or load them as dashboards/provisioning says\n"
    )
    return 0
