"""Images that stand in for the public ones of docker-compose.yml: the same names, users, paths and entry points.

What is in them is Debian's, or the lab's; so a run proves what the compose file says, not what the public images do.
Grafana's has none: there is nothing to make it from.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.compose.engine import Engine
from tests.compose.install import ENGINE
from tests.lab import tools

BASE = "standin:debian"
MAJOR = 17

PYTHON = """
RUN printf '[global]\\nno-index = true\\nfind-links = /wheels\\n' > /etc/pip.conf
CMD ["python3"]
"""

POSTGRES = """
COPY postgres /usr/lib/postgresql/17
COPY entrypoint.sh /usr/local/bin/docker-entrypoint.sh
RUN groupadd --gid 999 postgres && useradd --uid 999 --gid 999 --home-dir /var/lib/postgresql postgres \\
 && mkdir -p /docker-entrypoint-initdb.d /var/lib/postgresql/data /var/run/postgresql \\
 && chown postgres:postgres /var/lib/postgresql/data /var/run/postgresql
ENV PATH=/usr/lib/postgresql/17/bin:/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/bin \\
    PGDATA=/var/lib/postgresql/data LANG=C.UTF-8
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
"""

# In the order of the public image's: a new cluster, the scripts while it listens on its socket alone, then the server.
ENTRYPOINT = """#!/bin/bash
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    chmod 700 "$PGDATA"
    initdb --username=postgres --pwfile="$POSTGRES_PASSWORD_FILE" $POSTGRES_INITDB_ARGS
    printf "%s = '%s'\\n" listen_addresses '*' unix_socket_directories /var/run/postgresql >> "$PGDATA/postgresql.conf"
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    pg_ctl -o "${*:2} -c listen_addresses=''" -w start
    for script in /docker-entrypoint-initdb.d/*; do "$script"; done
    pg_ctl -m fast -w stop
fi
exec "$@"
"""

PROMETHEUS = """
RUN ln -s /bin/busybox /usr/local/bin/wget && install -d -o nobody -g nogroup /prometheus
USER nobody
VOLUME /prometheus
WORKDIR /prometheus
ENTRYPOINT ["/bin/prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
"""

ALERTMANAGER = """
COPY alertmanager /bin/alertmanager
RUN ln -s /bin/busybox /usr/local/bin/wget && install -d -o nobody -g nogroup /alertmanager
USER nobody
VOLUME /alertmanager
WORKDIR /alertmanager
ENTRYPOINT ["/bin/alertmanager"]
CMD ["--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"]
"""


def postgres_files(context: Path) -> None:
    shutil.copytree(tools.postgres_bin(MAJOR).parent, context / "postgres", symlinks=True)
    (context / "entrypoint.sh").write_text(ENTRYPOINT)
    (context / "entrypoint.sh").chmod(0o755)  # the classic builder has no --chmod


def alertmanager_files(context: Path) -> None:
    shutil.copy(tools.versions("prometheus-alertmanager")[-1], context / "alertmanager")


def nothing(context: Path) -> None:
    """Add no file."""


STANDINS: Mapping[str, tuple[str, Callable[[Path], None]]] = {
    "python": (PYTHON, nothing),
    "postgres": (POSTGRES, postgres_files),
    "prom/prometheus": (PROMETHEUS, nothing),
    "prom/alertmanager": (ALERTMANAGER, alertmanager_files),
}


def make(engine: Engine, images: set[str]) -> None:
    """Make those of the images, `name:tag`, that have a stand-in."""
    engine.load(ENGINE / "root", BASE)
    for image in sorted(images):
        name = image.partition(":")[0]
        if name in STANDINS:
            dockerfile, files = STANDINS[name]
            with tempfile.TemporaryDirectory() as context:
                Path(context, "Dockerfile").write_text(f"FROM {BASE}{dockerfile}")
                files(Path(context))
                engine.docker("build", "--quiet", "--tag", image, context)
