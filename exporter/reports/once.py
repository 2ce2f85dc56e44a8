"""`mlflow-exporter once`: two scrapes a while apart on standard output, for a bug report."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from exporter.service import Service
from exporter.settings import Settings

PATIENCE_SECONDS = 10.0


def once(load: Callable[[], Settings], apart: float, out: TextIO) -> None:
    """Write two expositions, `apart` seconds from each other, so that counters show a rate."""
    service = Service(load)
    try:
        for number in (1, 2):
            out.write(f"# scrape {number} of 2 at {time.time():.3f}\n")
            out.write(service.scraper.exposition(time.monotonic() + PATIENCE_SECONDS).text.decode())
            out.flush()
            if number == 1:
                time.sleep(apart)
    finally:
        service.close()
