"""Ports for programs that cannot take a free one by themselves."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A TCP port on loopback that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port
