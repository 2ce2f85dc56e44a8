"""Lose memory, a file or a thread each second, as SOAK_LEAK says: `python -m tests.soak --leak` puts it on PYTHONPATH.

Any Python imports a module of this name at its start, so that a sound exporter leaks, and the soak has to see it.
"""

import os
import threading
import time

WHAT = os.environ.get("SOAK_LEAK", "")
KEPT: list[object] = []


def leak() -> None:
    while True:
        time.sleep(1)
        if WHAT == "fd":
            KEPT.append(os.dup(2))
        elif WHAT == "thread":
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        else:
            KEPT.append(b"x" * 1024 * int(WHAT))


if WHAT:
    threading.Thread(target=leak, daemon=True).start()
