"""A bad line: a network namespace whose only way to the daemon is this process, which delays, loses and holds packets.

It is two TUN devices and a timer, so it needs root and /dev/net/tun but no module of the kernel (such as netem).
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from random import Random

NEAR, FAR = "10.77.0.1", "10.77.0.2"
"""Addresses of the daemon's end and of the clients' end."""

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
_LIBC = ctypes.CDLL(None, use_errno=True)


class NoLink(Exception):
    """This machine cannot have one; the text says why."""


def _enter(path: str) -> None:
    """Put the current thread into a network namespace."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _LIBC.setns(descriptor, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)


def _tun(name: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class BadLink:
    """The line.  Its qualities can be changed at any time."""

    def __init__(self, rng: Random) -> None:
        """Raises NoLink."""
        self.delay_s = 0.005
        self.jitter_s = 0.002
        self.loss = 0.0
        """Part of the packets that are lost, 0 to 1."""
        self.cut = False
        """Whether nothing passes."""
        self.passed = self.lost = 0
        self._rng = rng
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self._far = ThreadPoolExecutor(1, "far")
        try:
            self._wait_for_namespace()
            self._near_end = _tun("near")
            self._far_end = self._far.submit(self._enter_far).result(10)
            _ip("addr", "add", f"{NEAR}/30", "dev", "near")
            _ip("link", "set", "near", "up")
        except (OSError, subprocess.CalledProcessError, TimeoutError) as error:
            self._holder.kill()
            self._holder.wait()
            raise NoLink(f"no network namespace with a TUN device: {error}") from None

    def _wait_for_namespace(self) -> None:
        own = os.readlink("/proc/self/ns/net")
        for _ in range(500):
            if os.readlink(f"/proc/{self._holder.pid}/ns/net") != own:
                return
            if self._holder.poll() is not None:
                break
            threading.Event().wait(0.01)
        raise OSError("unshare --net failed")

    def _enter_far(self) -> int:
        _enter(f"/proc/{self._holder.pid}/ns/net")
        descriptor = _tun("far")
        _ip("addr", "add", f"{FAR}/30", "dev", "far")
        _ip("link", "set", "far", "up")
        return descriptor

    def start(self) -> None:
        """Carry packets, in the running loop."""
        loop = asyncio.get_running_loop()
        for source, sink in ((self._near_end, self._far_end), (self._far_end, self._near_end)):
            loop.add_reader(source, self._carry, loop, source, sink)

    def _carry(self, loop: asyncio.AbstractEventLoop, source: int, sink: int) -> None:
        for _ in range(64):
            try:
                packet = os.read(source, 65536)
            except BlockingIOError:
                return
            if self.cut or self._rng.random() < self.loss:
                self.lost += 1
                continue
            self.passed += 1
            loop.call_later(self.delay_s + self._rng.random() * self.jitter_s, self._put, sink, packet)

    @staticmethod
    def _put(sink: int, packet: bytes) -> None:
        try:
            os.write(sink, packet)
        except OSError:
            return  # as a full queue would

    async def connect(self, port: int) -> socket.socket:
        """A connection from the far end to a port of the daemon."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._far, self._connect, port)

    @staticmethod
    def _connect(port: int) -> socket.socket:
        return socket.create_connection((NEAR, port), timeout=5)

    def close(self) -> None:
        """Take it away."""
        loop = asyncio.get_running_loop()
        for end in (self._near_end, self._far_end):
            loop.remove_reader(end)
            os.close(end)
        self._holder.kill()
        self._holder.wait()
        self._far.shutdown(wait=False, cancel_futures=True)
