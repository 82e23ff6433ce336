"""The service as processes: one server, or several workers on one socket; how they stop.

The first SIGTERM or SIGINT makes /readyz say 503. For SATCLE_DRAIN_SECONDS the service goes on answering, so that
callers can be led elsewhere; then it accepts no more, finishes what it has begun within the deadline, and ends.
A second signal ends it at once.
"""

from __future__ import annotations

import asyncio
import gc
import math
import os
import signal
import socket
import sys
import tempfile
import threading
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from time import monotonic
from types import FrameType

import uvicorn

from service import logs
from service.accepting import Acceptor
from service.api.middleware import Door
from service.app import App, create_app, shared_with_pages
from service.bundle import BundleError
from service.embedding.generation import Generation
from service.embedding.models import default_model
from service.errors import ServiceError
from service.metrics import SHARED_FOLDER_VARIABLE, forget_gauges_of
from service.settings import Settings

BACKLOG = 65_535
"""Connections that wait to be accepted; the system allows as many as it does (net.core.somaxconn)."""
KEEP_ALIVE_S = 75
"""Longer than the 60 s for which load balancers keep an idle connection, lest they send a request into a closed one."""
SWITCH_INTERVAL_S = 1e-4
"""How long a thread waits for the interpreter before it asks for it. With Python's own 5 ms, the event loop would wait
as long at each of its turns while a thread has work to do in Python."""
FAILED_TO_START = 3
"""The exit status of a worker that would fail again if it were started again; uvicorn's own."""


def serve(settings: Settings, host: str, port: int, workers: int) -> None:
    """Serve until told to stop. One worker is this process, and raises what `create_app` raises."""
    if workers == 1:
        Server(create_app(settings), settings, host, port).run()
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.create_server((host, port), family=family, backlog=BACKLOG) as listener,
        tempfile.TemporaryDirectory(prefix="satcle-metrics-") as folder,
    ):
        os.environ[SHARED_FOLDER_VARIABLE] = folder
        # A worker that is started later must not take another for the first.
        settings = settings.model_copy(update={"default_model": default_model(settings)})
        where = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        logs.service.info("running on %s with %d workers", where, workers)
        Workers(settings, listener, folder).run(workers)


class Server(uvicorn.Server):
    """uvicorn's server, which drains before it stops."""

    def __init__(self, app: App, settings: Settings, host: str = "", port: int = 0) -> None:
        patience = math.ceil(settings.deadline_ms / 1000)
        surround = partial(shared_with_pages, settings=settings)
        door = Door(app, lambda: len(self.server_state.tasks), settings.max_requests, app.state.metrics, surround)
        super().__init__(
            uvicorn.Config(
                door,
                host,
                port,
                log_config=None,
                access_log=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=patience,
            )
        )
        self._app = app
        self._drain_seconds = settings.drain_seconds
        self._stop_at = math.inf
        self._acceptors: list[Acceptor] = []

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Until told to stop."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        gc.collect()
        gc.freeze()  # what is loaded now stays: to look through it again and again would stop every thread
        super().run(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen and begin to accept."""
        await super().startup(sockets)
        listeners = [listener.fileno() for server in self.servers for listener in server.sockets]
        self._acceptors = [Acceptor(listener, self._protocol) for listener in listeners]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, and finish what has begun."""
        for acceptor in self._acceptors:
            acceptor.close()
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        config = self.config
        protocol: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
            config=config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._stop_at < math.inf:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self._app.state.phase = "draining"
        self._stop_at = monotonic() + self._drain_seconds

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second; whether to stop."""
        self._app.state.models.follow()
        return await super().on_tick(counter) or monotonic() >= self._stop_at


class Workers:
    """Processes that serve one socket. One that dies is replaced; one that fails to start stops all."""

    def __init__(self, settings: Settings, listener: socket.socket, metrics_folder: str) -> None:
        self._settings = settings
        self._listener = listener
        self._metrics_folder = metrics_folder
        self._generation = Generation()
        self._running: dict[int, SpawnProcess] = {}
        self._numbers: dict[int, int] = {}
        self._stopping = False

    def run(self, count: int) -> None:
        """Until each has ended, having been told to."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        for worker in range(count):
            self._start(worker)
        failed = False
        while self._running:
            ended = wait(list(self._running))
            for sentinel in [sentinel for sentinel in self._running if sentinel in ended]:
                failed |= self._ended(self._running.pop(sentinel), self._numbers.pop(sentinel))
        if failed:
            sys.exit(1)

    def _start(self, number: int) -> None:
        arguments = (self._settings.of_worker(number), self._listener, self._generation)
        worker = get_context("spawn").Process(target=_work, args=arguments, daemon=True)
        worker.start()
        self._running[worker.sentinel] = worker
        self._numbers[worker.sentinel] = number
        logs.service.info("worker %d started", worker.pid)
        if self._stopping:  # told to while this one was not yet among the running
            worker.terminate()

    def _ended(self, worker: SpawnProcess, number: int) -> bool:
        """Whether it failed to start; if so, the others are stopped, and else it is replaced, on the same GPU."""
        worker.join()
        assert worker.pid is not None
        forget_gauges_of(worker.pid, self._metrics_folder)
        failed = worker.exitcode == FAILED_TO_START
        if failed:
            self._stop()
        elif not self._stopping:
            logs.service.error("worker %d ended with %d and is replaced", worker.pid, worker.exitcode)
            self._start(number)
        return failed

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stopping:
            for worker in list(self._running.values()):
                worker.kill()
        self._stop()

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            for worker in list(self._running.values()):
                worker.terminate()


def _work(settings: Settings, listener: socket.socket, generation: Generation) -> None:
    """What a worker does, in its own process group: a Ctrl-C at the terminal is its parent's to hear."""
    os.setpgrp()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logs.configure(settings.log_format, exception_messages=settings.log_coordinates)
    try:
        app = create_app(settings, generation=generation)
    except (BundleError, ServiceError) as error:
        logs.service.error("%s", error)
        sys.exit(FAILED_TO_START)
    Server(app, settings).run([listener])


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
