"""A tunnel that speaks TLS for clients that cannot: `python -m tests.bench.tunnel PORT SERVER_PORT`.

Listens on 127.0.0.1:PORT, and makes a connection over TLS to 127.0.0.1:SERVER_PORT, with a handshake of its own, for
each that comes in.  So a load generator for plain TCP measures a server's TLS: the tunnel is a process of its own, and
what it costs is not the server's.  Certificates are not checked.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import ssl
from asyncio import BaseTransport, Protocol, Transport


class End(Protocol):
    """One end; what it reads goes out at the `other`."""

    def __init__(self, other: End | None = None) -> None:
        self.other = other
        self.transport: Transport | None = None
        self.early = bytearray()
        self.over = False

    def connection_made(self, transport: BaseTransport) -> None:
        assert isinstance(transport, Transport)
        self.transport = transport
        plain = transport.get_extra_info("socket")
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.early:
            transport.write(bytes(self.early))
        if self.over:
            transport.close()

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.write(data)

    def write(self, data: bytes) -> None:
        if self.transport is None:
            self.early += data
        else:
            self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None:
            self.other.close()

    def close(self) -> None:
        self.over = True
        if self.transport is not None:
            self.transport.close()


class Entrance(End):
    """Where a plain client comes in."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        super().__init__()
        self._port = port
        self._context = context

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.other = End(self)
        self._task = asyncio.create_task(self._connect(self.other))

    async def _connect(self, other: End) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: other, "127.0.0.1", self._port, ssl=self._context)
        except OSError:
            self.close()


async def serve(port: int, server_port: int) -> None:
    """Tunnel until the process ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Entrance(server_port, context), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def main() -> None:
    """Run the tunnel."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("server_port", type=int)
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.server_port))


if __name__ == "__main__":
    main()
