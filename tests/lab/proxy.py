"""A TCP proxy on the loopback that holds back what passes, each way: a network that is far, without netem."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Self

CONNECTIONS = 500
CHUNK = 64 * 1024
PENDING = 64  # chunks under way in one direction: 4 MiB


class Proxy:
    """Pass connections on to a port of this machine, each byte `delay` seconds later, order and rate kept.

    `delay` can be changed while it runs. A connection is accepted by the kernel at once, so its establishment is
    not delayed: a proxy cannot hold back a SYN. `port` is known once it has been entered.
    """

    def __init__(self, target: int, delay: float = 0.0) -> None:
        self.target = target
        self.delay = delay
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._ready = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(10):
            raise TimeoutError("the proxy does not listen")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def pace(self, outward: bool) -> Callable[[float, int], float]:
        """Return what says, for one direction of a connection, when bytes that are sent at a time arrive."""
        return lambda now, size: now + self.delay

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.05))
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._tasks) >= CONNECTIONS:
            writer.close()
            return
        self._tasks.add(task)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        finally:
            self._tasks.discard(task)
        self._tasks.add(task)
        try:
            # The proxy's end cancels; asyncio's callback of a connection would report that as a fault.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(
                    self._pass(reader, far_writer, True), self._pass(far_reader, writer, False)
                )
        finally:
            self._tasks.discard(task)
            for one in (writer, far_writer):
                with contextlib.suppress(OSError):
                    one.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, outward: bool) -> None:
        """Read at once and write later, so that a delay is no limit of the rate."""
        arrival = self.pace(outward)
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(PENDING)

        async def read() -> None:
            data = b"x"
            while data:
                try:
                    data = await reader.read(CHUNK)
                except OSError:
                    data = b""
                await queue.put((arrival(self._loop.time(), len(data)), data))

        async def write() -> None:
            with contextlib.suppress(OSError):
                while True:
                    due, data = await queue.get()
                    if (wait := due - self._loop.time()) > 0:
                        await asyncio.sleep(wait)
                    if not data:
                        if writer.can_write_eof():
                            writer.write_eof()
                        return
                    writer.write(data)
                    await writer.drain()

        reading = asyncio.ensure_future(read())
        try:
            await write()
        finally:
            reading.cancel()  # has ended, or reads for somebody who has gone
