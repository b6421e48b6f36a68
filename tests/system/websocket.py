"""A small blocking WebSocket client (RFC 6455), for tests: text frames in, pings answered."""

from __future__ import annotations

import base64
import json
import os
import socket
from typing import Any

from tests.system.daemon import DEADLINE_S


class WebSocket:
    """A connection to a path of the admin API; the status is 101 where the server agreed."""

    def __init__(self, port: int, path: str, headers: dict[str, str]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        given = {
            "Host": f"127.0.0.1:{port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            **headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        self.socket.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        self._buffer = b""
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += self._receive()
        answer, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        self.head = answer.decode()
        self.status = int(self.head.split(" ")[1])

    def _receive(self) -> bytes:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        return data

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._buffer += self._receive()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def frame(self) -> tuple[int, bytes]:
        """The next frame: its opcode and its data."""
        first, second = self._take(2)
        size = second & 127
        if size == 126:
            size = int.from_bytes(self._take(2), "big")
        elif size == 127:
            size = int.from_bytes(self._take(8), "big")
        data = self._take(size)
        if first & 15 == 9:
            self.send(10, data)
            return self.frame()
        return first & 15, data

    def send(self, opcode: int, data: bytes) -> None:
        """Send a short frame, masked as clients must."""
        mask = os.urandom(4)
        body = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
        self.socket.sendall(bytes([0x80 | opcode, 0x80 | len(data)]) + mask + body)

    def event(self) -> Any:
        """The next event; EOFError when the server has closed."""
        opcode, data = self.frame()
        if opcode == 8:
            self.closed = int.from_bytes(data[:2], "big")
            raise EOFError
        assert opcode == 1
        return json.loads(data)

    def close(self) -> None:
        self.socket.close()
