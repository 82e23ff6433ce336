"""Connections accepted even while the event loop has no time for them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread

EVERY_S = 0.05


class Acceptor:
    """Accepts now and then, beside a server of the running event loop, whatever waits on its listener.

    uvloop accepts one connection at each of its turns. Where thousands come at once, or a turn is long, the
    system's queue fills up, and who finds it full is reset, with no answer to tell why.
    """

    def __init__(self, listener: int, protocol: Callable[[], asyncio.Protocol]) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = socket.socket(fileno=os.dup(listener))
        self._protocol = protocol
        self._connecting: set[asyncio.Task[object]] = set()
        self._closing = Event()
        self._thread = Thread(target=self._work, name="satcle-accept", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Accept no more."""
        self._closing.set()
        self._thread.join()
        self._listener.close()

    def _work(self) -> None:
        while not self._closing.wait(EVERY_S):
            with suppress(OSError):  # none is left, or the server beside will meet the same and deal with it
                while True:
                    connection, _ = self._listener.accept()
                    self._loop.call_soon_threadsafe(self._connect, connection)

    def _connect(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connecting = self._loop.create_task(self._loop.connect_accepted_socket(self._protocol, connection))
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)
