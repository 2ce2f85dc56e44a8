"""Which kind of trouble a wait of Postgres belongs to."""

from __future__ import annotations

CLASSES = ("cpu", "data_io", "temp_io", "wal_io", "lock", "lwlock", "client", "ipc", "other")

# Type of the wait, start of the event's name in small letters (17 spells many another way: WALSync, WalSync), class.
# The first match decides; what Postgres may add one day is `other`. Valid for 13 to 18.
RULES = (
    # Tables, indexes, and the small files about transactions and relations that lie beside them.
    ("IO", "datafile", "data_io"),
    ("IO", "slru", "data_io"),
    ("IO", "relationmap", "data_io"),
    ("IO", "aio", "data_io"),  # 18: reads of tables that an I/O worker or io_uring does for the session
    # Somebody else is reading the very page; a lightweight lock in 13, a wait for a process since.
    ("LWLock", "bufferio", "data_io"),
    ("IPC", "bufferio", "data_io"),
    ("LWLock", "aiouringcompletion", "data_io"),
    # Sorts and hashes beyond work_mem: the remedy is memory or another plan, not a faster disk for tables.
    ("IO", "buffile", "temp_io"),
    ("IO", "wal", "wal_io"),
    # A commit that waits for another's flush of the log, which takes its own along. With 12 clients on a disk
    # that syncs in 20 ms it is half of the wait for the log, and as `lwlock` it would look like a lack of CPU.
    ("LWLock", "walwrite", "wal_io"),
    ("Lock", "", "lock"),
    ("BufferPin", "", "lock"),  # another session has to let go of a page, as of a row
    ("LWLock", "", "lwlock"),
    ("Timeout", "spindelay", "lwlock"),  # the sleep between two tries for a spinlock: 16 and later
    ("Client", "", "client"),
    ("IPC", "", "ipc"),
    # All else: sleeps, extensions, base backups, copies of files, logical decoding.
    ("", "", "other"),
)


def wait_class(kind: str | None, event: str | None) -> str:
    """Return the class of what `wait_event_type` and `wait_event` say; a session that waits for nothing is at work."""
    if kind is None:
        return "cpu"
    name = (event or "").lower()
    return next(found for type_, start, found in RULES if type_ in ("", kind) and name.startswith(start))
