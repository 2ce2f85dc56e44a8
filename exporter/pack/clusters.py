"""Several clusters in one Prometheus, Thanos or Mimir: the label that tells them apart, wherever the job is said.

Tracking servers are told apart by job and name, which two clusters may share. Of series without the label, as where
each cluster evaluates its own rules and its Prometheus adds the label as it sends, rules make what the shipped ones do.
"""

from __future__ import annotations

import json
import re

from exporter.pack.dashboards.dashboard import variable

EVERYWHERE = "mlflow_exporter_build_info"


def rules(text: str, label: str) -> str:
    """Return a file of rules that sum and join by the label too, and whose texts and links are of that cluster.

    That no exporter is left at all is of no cluster: who evaluates for several is not told that one has none.
    """
    text = re.sub(r"\b(by|on) \(job\b", rf"\1 ({label}, job", text)
    text = text.replace("job=%q", f"{label}=%q, job=%q")
    text = text.replace('" $labels.job', f'" $labels.{label} $labels.job')
    value = f"{{{{ or $labels.{label} $externalLabels.{label} }}}}"
    return text.replace("?var-job=", f"?var-{label}={value}&var-job=")


def routes(text: str, label: str) -> str:
    """Return `alertmanager.yml` with a message a cluster, and inhibition only within one."""
    return text.replace("[job, tracking_server]", f"[{label}, job, tracking_server]")


def templates(text: str, label: str) -> str:
    """Return the messages with the cluster before the tracking server."""
    return text.replace(
        "MLflow{{ with or", f"MLflow{{{{ with .{label} }}}} {{{{ . }}}}{{{{ end }}}}{{{{ with or"
    )


def board(text: str, label: str) -> str:
    """Return a dashboard's JSON with a variable for the cluster before the job, of which every series is then.

    One is chosen and not several: queries tell servers apart as rules do.
    """
    chosen = f'{label}=~"${label}"'
    for old, new in (
        ('job=~"$job"', f'{chosen}, job=~"$job"'),
        (f"label_values({EVERYWHERE}, job)", f"label_values({EVERYWHERE}{{{chosen}}}, job)"),
        ("${job:queryparam}", f"${{{label}:queryparam}}&${{job:queryparam}}"),
    ):
        text = text.replace(json.dumps(old)[1:-1], json.dumps(new)[1:-1])
    made = json.loads(text)
    cluster = variable(label, "Cluster", EVERYWHERE, ".+", several=False)
    made["templating"]["list"].insert(1, cluster)  # after the data source
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"
