"""Clients in the runner's event loop: plain, TLS, WebSocket, and any of them at the end of a bad line."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import socket
import ssl
from typing import TYPE_CHECKING, Literal

from tests.chaos.ledger import Witness
from tests.facts import facts_of_line
from tests.system.daemon import insecure

if TYPE_CHECKING:
    from tests.chaos.run import Run

Kind = Literal["plain", "tls", "websocket", "far", "far-tls"]

PATIENCE_S = 30.0
"""How long a connection or an answer may take."""

Gone = (OSError, EOFError, ssl.SSLError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
"""What a connection ends with."""

_TLS = insecure()


class Wire:
    """Lines over a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, websocket: bool) -> None:
        self._reader = reader
        self._writer = writer
        self._websocket = websocket

    @classmethod
    async def open(cls, run: Run, kind: Kind) -> Wire:
        """Connect to the daemon."""
        port = run.place.ports[kind.removeprefix("far-").replace("far", "plain")]
        if kind.startswith("far") and run.link is not None:
            connected = await run.link.connect(port)
        else:
            connected = socket.socket()
            connected.setblocking(False)
            loop = asyncio.get_running_loop()
            await asyncio.wait_for(loop.sock_connect(connected, ("127.0.0.1", port)), PATIENCE_S)
        connected.setblocking(False)
        tls = _TLS if kind.endswith("tls") else None
        opening = asyncio.open_connection(
            sock=connected, ssl=tls, server_hostname="irc.test" if tls else None, limit=1 << 20
        )
        reader, writer = await asyncio.wait_for(opening, PATIENCE_S)
        made = cls(reader, writer, kind == "websocket")
        if made._websocket:
            await made._upgrade(port)
        return made

    async def _upgrade(self, port: int) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        head = (
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: text.ircv3.net\r\n\r\n"
        )
        self._writer.write(head.encode())
        answer = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        if b" 101 " not in answer.partition(b"\r\n")[0]:
            raise EOFError(answer.decode(errors="replace"))

    def send(self, *lines: str) -> None:
        """Lines on their way to the server."""
        if not self._websocket:
            self._writer.write("".join(f"{line}\r\n" for line in lines).encode())
            return
        for line in lines:
            self._frame(1, line.encode())

    def _frame(self, opcode: int, data: bytes) -> None:
        mask = os.urandom(4)
        size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
        body = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
        self._writer.write(bytes([0x80 | opcode]) + size + mask + body)

    async def line(self) -> str:
        """The next line; one of `Gone` at the end."""
        if not self._websocket:
            data = await self._reader.readline()
            if not data.endswith(b"\n"):
                raise EOFError
            return data.decode(errors="replace").rstrip("\r\n")
        while True:
            first, second = await self._reader.readexactly(2)
            size = second & 127
            if size > 125:
                size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
            data = await self._reader.readexactly(size)
            if first & 15 == 8:
                raise EOFError
            if first & 15 == 9:
                self._frame(10, data)
            elif first & 15 == 1:
                return data.decode(errors="replace")

    def abort(self) -> None:
        """Be gone without a word."""
        self._writer.transport.abort()

    def pause(self) -> None:
        """Read nothing any more."""
        transport = self._writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        transport.pause_reading()


class Client:
    """A user: one connection after the other."""

    caps = ""

    def __init__(self, run: Run, nick: str, kind: Kind) -> None:
        self.run = run
        self.wanted = nick
        self.nick = nick
        self.kind = kind
        self.wire: Wire | None = None
        self.witness: Witness = run.ledger.witness(nick)
        self.registered = False
        self.connections = 0
        self.last_error = ""
        self._waiting: list[tuple[re.Pattern[str], asyncio.Future[str]]] = []
        self._tags = 0

    # --- one connection -----------------------------------------------------------------------------------------

    async def connect(self, sasl: tuple[str, str] | None = None) -> None:
        """Connect, register, and read in the background.  Raises one of `Gone`."""
        self.registered = False
        self._waiting = []
        self.nick = self.wanted
        self.witness = self.run.ledger.witness(f"{self.wanted}/{self.connections}")
        self.wire = await Wire.open(self.run, self.kind)
        self.connections += 1
        self.run.count("connections")
        self.run.spawn(self._read(self.wire, self.witness))
        caps = f"{self.caps} sasl" if sasl else self.caps
        if caps:
            self.send("CAP LS 302", f"CAP REQ :{caps}")
        self.send(f"NICK {self.nick}", f"USER {self.wanted[:10]} 0 * :{self.wanted}")
        if sasl:
            word = base64.b64encode("\0".join((sasl[0], *sasl)).encode()).decode()
            await self.asks(r" CAP \S+ (ACK|NAK) ", "CAP LIST")
            answer = await self.asks(r" (903|904|905|906) |^AUTHENTICATE \+", "AUTHENTICATE PLAIN")
            if answer.startswith("AUTHENTICATE"):
                answer = await self.asks(r" (903|904|905|906|907) |^:?\S* ?FAIL ", f"AUTHENTICATE {word}")
            self.logged_in(answer)
        if caps:
            self.send("CAP END")
        await self.asks(r" (376|422) ")
        self.registered = True

    def logged_in(self, answer: str) -> None:
        """What came of logging in."""

    def send(self, *lines: str) -> None:
        """Send lines, if there is a connection."""
        if self.wire is not None:
            self.run.count("lines sent", len(lines))
            self.wire.send(*lines)

    async def asks(self, pattern: str, *lines: str) -> str:
        """Send lines, and wait for one that matches.  Raises one of `Gone`."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((re.compile(pattern), future))
        self.send(*lines)
        return await asyncio.wait_for(future, PATIENCE_S)

    async def synchronise(self) -> None:
        """All that the server had to say so far has come."""
        self._tags += 1
        await self.asks(rf" PONG \S+ :?sync{self._tags}$", f"PING sync{self._tags}")

    async def _read(self, wire: Wire, witness: Witness) -> None:
        try:
            while True:
                self.take(wire, witness, await wire.line())
        except Gone as error:
            wire.abort()
            if self.wire is wire:
                self.wire = None
                self.registered = False
                waiting, self._waiting = self._waiting, []
                for _, future in waiting:
                    if not future.done():
                        future.set_exception(EOFError())
                self.ended(str(error))

    def take(self, wire: Wire, witness: Witness, line: str) -> None:
        """A line of the server."""
        self.run.lines_received += 1
        plain = line.partition(" ")[2] if line.startswith("@") else line
        if plain.startswith("PING") or " PING :" in plain[:80]:
            plain = plain[plain.index("PING") :]
            wire.send(f"PONG{plain[4:]}")
            self.pinged()
            return
        if plain.startswith("ERROR"):
            self.last_error = plain
        for fact in facts_of_line(plain):
            witness.saw(fact, plain)
            if fact[0] == "NICK" and fact[1].lower() == self.nick.lower():
                self.nick = fact[2]
        if " 433 " in plain[:80] and not self.registered:
            self.nick = f"{self.wanted}{self.run.rng.randrange(1000)}"
            self.send(f"NICK {self.nick}")
        for entry in self._waiting:
            if entry[0].search(plain):
                if not entry[1].done():
                    entry[1].set_result(plain)
                self._waiting.remove(entry)
                break
        self.heard(plain)

    def pinged(self) -> None:
        """The server has asked whether it is there."""

    def heard(self, line: str) -> None:
        """A line of the server, without its tags."""

    def ended(self, why: str) -> None:
        """The connection is gone."""

    def leave(self) -> None:
        """Be gone without a word."""
        if self.wire is not None:
            self.wire.abort()
