"""Who may come in by name and password, checked so that nobody can learn from it, wear us out or lock others out."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from enum import Enum

from exporter.access.bucket import Bucket

log = logging.getLogger(__name__)

# A check costs 50 ms of CPU and more, and whoever is not known yet may ask for one. So only one is made at a time, in
# all they may take a tenth of a core, and from one address a few, then one in five seconds.
CORES, BURST_SECONDS = 0.1, 2.0
PER_ADDRESS, ADDRESS_BURST = 0.2, 5.0
WAIT_SECONDS = 3.0
# One at work and those behind it.
WAITING = 3
REMEMBERED = 1024
# bcrypt itself reads no more, and its Python package refuses more.
MOST_BYTES = 72
LOG_SECONDS = 60.0
NOBODY = bytes(32)


class Verdict(Enum):
    RIGHT = "right"
    WRONG = "wrong"
    LATER = "later"  # not checked: too many were wrong


class Passwords:
    """Check passwords against bcrypt's hashes.

    Who was right is remembered, as is who was wrong, by a hash with a key of this process; a remembered one costs
    nothing and is subject to no limit. A changed hash is another password.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._right: dict[bytes, bytes] = {}
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self._addresses: OrderedDict[str, Bucket] = OrderedDict()
        self._cpu = Bucket(CORES, BURST_SECONDS)
        self._told = Bucket(1 / LOG_SECONDS, 1)
        self._lock = threading.Lock()
        self._working = threading.Lock()
        self._queue = threading.BoundedSemaphore(WAITING)

    def check(self, users: Mapping[bytes, bytes], user: bytes, password: bytes, address: str) -> Verdict:
        """Say whether the password is the user's; `users` has the hash of each."""
        # The same work is done for a user that is not there: with the most expensive hash of those that are.
        hashed = users.get(user) or max(users.values(), key=lambda one: one[4:6])
        digest = self._digest(user, hashed, password)
        with self._lock:
            if hmac.compare_digest(self._right.get(user, NOBODY), digest):
                return Verdict.RIGHT
            if digest in self._wrong:
                return Verdict.WRONG
            bucket = self._bucket(address)
        if not (self._cpu.take(0) and bucket.take()):
            self._tell("too many wrong passwords, the last from %s: none is checked for a while", address)
            return Verdict.LATER
        matches = self._in_turn(hashed, password)
        if matches is None:
            return Verdict.LATER
        right = matches and user in users
        self._remember(user, digest, right)
        if right:
            bucket.charge(-1)
            return Verdict.RIGHT
        self._tell("a wrong user or password from %s", address)
        return Verdict.WRONG

    def _digest(self, *parts: bytes) -> bytes:
        made = hashlib.blake2b(key=self._key, digest_size=32)
        for part in parts:
            made.update(len(part).to_bytes(8, "big") + part)
        return made.digest()

    def _bucket(self, address: str) -> Bucket:
        address = _network(address)
        bucket = self._addresses.pop(address, None) or Bucket(PER_ADDRESS, ADDRESS_BURST)
        self._addresses[address] = bucket
        if len(self._addresses) > REMEMBERED:
            self._addresses.popitem(last=False)
        return bucket

    def _in_turn(self, hashed: bytes, password: bytes) -> bool | None:
        """Return whether the password has that hash, None where too many are waiting to know."""
        if not self._queue.acquire(blocking=False):  # who waits keeps a place from others
            return None
        try:
            if not self._working.acquire(timeout=WAIT_SECONDS):
                return None
            try:
                return self._matches(hashed, password)
            finally:
                self._working.release()
        finally:
            self._queue.release()

    def _matches(self, hashed: bytes, password: bytes) -> bool:
        import bcrypt  # noqa: PLC0415 - an extra, which the file's check has made sure of

        if b"\0" in password:  # of which bcrypt would read the part before
            return False
        started = time.thread_time()
        matches = bcrypt.checkpw(password[:MOST_BYTES], hashed)
        if not matches:
            self._cpu.charge(time.thread_time() - started)
        return matches

    def _remember(self, user: bytes, digest: bytes, right: bool) -> None:
        with self._lock:
            if right:
                self._right[user] = digest
                return
            self._wrong[digest] = None
            if len(self._wrong) > REMEMBERED:
                self._wrong.popitem(last=False)

    def _tell(self, message: str, address: str) -> None:
        if self._told.take():
            log.warning(message, address)


def _network(address: str) -> str:
    """Return what one client may be given as addresses: of IPv6 the first half."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4 or found.ipv4_mapped:
        return address
    return str(ipaddress.ip_network((int(found), 64), strict=False))
