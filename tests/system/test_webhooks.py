"""Webhooks of the real daemon: a receiver that fails, is slow, redirects and goes away; a daemon that is killed."""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from slircd.security.certificates import ensure_self_signed, now_utc
from tests.system.daemon import DEADLINE_S, Daemon, SocketClient
from tests.system.test_admin import get

pytestmark = pytest.mark.system

SECRET = b"a secret of this test"


class Receiver:
    """A web server on loopback that does what `behave` says, and keeps what it took."""

    def __init__(self) -> None:
        self.behave: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.tries = 0
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    def start(self, context: ssl.SSLContext | None = None) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.tries += 1
                behaviour = receiver.behave.pop(0) if receiver.behave else "take"
                if behaviour == "slow":
                    time.sleep(2)
                if behaviour == "redirect":
                    self.send_response(307)
                    self.send_header("Location", f"http://127.0.0.1:{receiver.port}/elsewhere")
                else:
                    self.send_response(500 if behaviour == "fail" else 204)
                self.end_headers()
                if behaviour == "take":
                    stamp, _, digest = self.headers["X-Slircd-Signature"].partition(",")
                    signed = stamp.removeprefix("t=").encode() + b"." + body
                    assert digest == "v1=" + hmac.new(SECRET, signed, hashlib.sha256).hexdigest()
                    receiver.events += json.loads(body)["events"]

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def until(self, topic: str) -> None:
        """Wait until an event with this topic has come."""
        deadline = time.monotonic() + DEADLINE_S
        while not any(event["payload"].get("topic") == topic for event in list(self.events)):
            assert time.monotonic() < deadline, [event["event_type"] for event in self.events]
            time.sleep(0.02)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.start()
    yield receiver
    receiver.stop()


def config(folder: Path, receiver: Receiver, *, private: bool = True, scheme: str = "http") -> str:
    (folder / "secret").write_bytes(SECRET)
    return (
        '[[webhooks]]\nname = "staff"\nbatch = 3\ntimeout_s = 1\nsecret_file = "secret"\n'
        f'url = "{scheme}://127.0.0.1:{receiver.port}/hook"\nallow_private = {str(private).lower()}\n'
    )


def test_every_event_at_least_once_in_order(tmp_path: Path, receiver: Receiver) -> None:
    """Failures, a timeout, a redirect, a receiver that restarts and a daemon that is killed lose nothing."""
    with Daemon(tmp_path, more=config(tmp_path, receiver)) as daemon:
        ann = SocketClient(daemon).register("ann")
        ann.sends("JOIN #a", "TOPIC #a :one")
        receiver.until("one")
        receiver.behave = ["fail", "slow", "redirect"]
        ann.sends("TOPIC #a :two")
        receiver.until("two")
        receiver.stop()
        ann.sends("TOPIC #a :three", "TOPIC #a :four")
        ann.synchronise()
        daemon.kill()
    receiver.start()
    with Daemon(tmp_path) as daemon:
        ann = SocketClient(daemon).register("ann")
        ann.sends("JOIN #b", "TOPIC #b :five")
        receiver.until("five")
        sequences = [event["sequence"] for event in receiver.events]
        logged = [event["sequence"] for event in get(daemon, "/admin/events?limit=1000").json]
        first_times = sorted(set(sequences), key=sequences.index)
        assert first_times == sorted(first_times)
        assert first_times == logged[logged.index(first_times[0]) :][: len(first_times)]
        metrics = get(daemon, "/metrics", None).body.decode()
        assert 'slircd_webhook_requests_total{outcome="delivered",webhook="staff"}' in metrics
        assert "secret of this test" not in "".join(daemon.output)


def test_private_addresses_are_refused(tmp_path: Path, receiver: Receiver) -> None:
    """Unless it is allowed, nothing on this machine is asked."""
    with Daemon(tmp_path, more=config(tmp_path, receiver, private=False)) as daemon:
        SocketClient(daemon).register("ann").sends("JOIN #a")
        daemon.wait_for_output("is not a public address")
        assert receiver.tries == 0


def test_certificates_are_verified(tmp_path: Path) -> None:
    """A receiver whose certificate nobody vouches for is not told anything."""
    ensure_self_signed(tmp_path / "hook.crt", tmp_path / "hook.key", "hooks.test", now_utc(time.time()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "hook.crt", tmp_path / "hook.key")
    receiver = Receiver()
    receiver.start(context)
    try:
        with Daemon(tmp_path, more=config(tmp_path, receiver, scheme="https")) as daemon:
            SocketClient(daemon).register("ann").sends("JOIN #a")
            daemon.wait_for_output("certificate is not accepted|certificate verify failed")
            assert receiver.tries == 0
    finally:
        receiver.stop()
