"""Connections are accepted while the event loop is busy, and served once it is not."""

import asyncio
import os
import socket

import pytest
import uvloop

from service.accepting import Acceptor

CONNECTIONS = 50


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


def waiting(fd):
    """Connections in the listener's queue (tcpi_unacked of TCP_INFO)."""
    with socket.socket(fileno=os.dup(fd)) as listener:
        return int.from_bytes(listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[24:28], "little")


@pytest.mark.parametrize("run", [uvloop.run, asyncio.run])
def test_what_waits_is_accepted_though_the_loop_is_busy_and_then_answered(run):
    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=CONNECTIONS)
        (listener,) = server.sockets
        acceptor = Acceptor(listener.fileno(), Echo)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(CONNECTIONS)]
        while waiting(listener.fileno()):
            pass  # and the event loop does nothing else meanwhile
        acceptor.close()
        for number, client in enumerate(clients):
            client.setblocking(False)
            await loop.sock_sendall(client, b"%d" % number)
        assert [await loop.sock_recv(client, 10) for client in clients] == [b"%d" % n for n in range(CONNECTIONS)]
        for client in clients:
            client.close()
        server.close()

    run(asyncio.wait_for(main(), 60))


def test_once_closed_it_accepts_no_more_and_its_thread_is_gone():
    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        acceptor = Acceptor(server.sockets[0].fileno(), Echo)
        acceptor.close()
        assert not acceptor._thread.is_alive()
        server.close()

    asyncio.run(main())
