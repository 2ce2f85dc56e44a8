"""A TCP proxy on the loopback that holds back or cuts what passes: a network that is far or fails, without netem."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from typing import Literal, Self

CONNECTIONS = 500
CHUNK = 64 * 1024
PENDING = 64  # chunks under way in one direction: 4 MiB
POLL_SECONDS = 0.02
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closed at once, with RST


class Proxy:
    """Pass connections on to a port of this machine, each byte `delay` seconds later, order and rate kept.

    All can be changed while it runs: `target` for connections to come; `delay`; `rate`, the bytes that each connection
    may give its client in a second (0: any number); `silent`, while which nothing passes and nothing is lost;
    `cut_after`, the bytes after which a client's connection is ended in mid-answer, as `cut_by` says.
    A connection is accepted by the kernel at once, so its establishment is not delayed: a proxy cannot hold back a
    SYN. `port` is known once it has been entered.
    """

    def __init__(self, target: int, delay: float = 0.0) -> None:
        self.target = target
        self.delay = delay
        self.rate = 0.0
        self.silent = False
        self.cut_after: int | None = None
        self.cut_by: Literal["reset", "end"] = "reset"
        self.port = 0
        self._forgotten: set[asyncio.StreamWriter] = set()
        self._clients: set[asyncio.StreamWriter] = set()
        self._given: dict[asyncio.StreamWriter, int] = {}  # bytes since there was a cut
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

    def forget(self) -> None:
        """Pass nothing more on the connections that there are, nor end them: a firewall that has lost its table."""
        self._forgotten |= self._clients

    def drop(self) -> None:
        """Reset the connections that there are."""
        for client in tuple(self._clients):
            self._loop.call_soon_threadsafe(_reset, client)

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
        self._clients.add(writer)
        try:
            await asyncio.gather(
                self._pass(reader, far_writer, writer), self._pass(far_reader, writer, writer)
            )
        finally:
            self._tasks.discard(task)
            self._clients.discard(writer)
            self._forgotten.discard(writer)
            self._given.pop(writer, None)
            for one in (writer, far_writer):
                with contextlib.suppress(OSError):
                    one.close()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        """Read at once and write later, so that a delay is no limit of the rate."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(PENDING)

        async def read() -> None:
            data = b"x"
            while data:
                try:
                    data = await reader.read(CHUNK)
                except OSError:
                    data = b""
                await queue.put((self._loop.time() + self.delay, data))

        async def write() -> None:
            with contextlib.suppress(OSError):
                while True:
                    due, data = await queue.get()
                    if (wait := due - self._loop.time()) > 0:
                        await asyncio.sleep(wait)
                    while self.silent or client in self._forgotten:
                        await asyncio.sleep(POLL_SECONDS)
                    if not data:
                        if writer.can_write_eof():
                            writer.write_eof()
                        return
                    if writer is client:
                        await self._answer(writer, data)
                    else:
                        writer.write(data)
                        await writer.drain()

        reading = asyncio.ensure_future(read())
        try:
            await write()
        finally:
            reading.cancel()  # has ended, or reads for somebody who has gone

    async def _answer(self, client: asyncio.StreamWriter, data: bytes) -> None:
        """Give a client what it may have of an answer, as fast as it may have it."""
        if self.cut_after is None:
            self._given.pop(client, None)
        else:
            left = self.cut_after - self._given.get(client, 0)
            self._given[client] = self._given.get(client, 0) + len(data)
            if left <= len(data):
                client.write(data[:left])
                with contextlib.suppress(OSError):
                    await client.drain()
                if self.cut_by == "reset":
                    _reset(client)
                else:
                    client.close()
                return
        piece = max(1, int(self.rate * POLL_SECONDS)) if self.rate else len(data)
        for start in range(0, len(data), piece):
            client.write(data[start : start + piece])
            await client.drain()
            if self.rate:
                await asyncio.sleep(POLL_SECONDS)


def _reset(client: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, AttributeError):
        client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.transport.abort()
