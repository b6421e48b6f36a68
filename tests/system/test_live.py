"""The live feed on the real daemon: WebSocket and server-sent events, across a restart."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.daemon import DEADLINE_S, Daemon, SocketClient
from tests.system.test_admin import authorization, get, post
from tests.system.websocket import WebSocket

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("live")) as daemon:
        yield daemon


def until(socket: WebSocket, kind: str) -> Any:
    """Read to the next event of a type."""
    while (event := socket.event())["event_type"] != kind:
        pass
    return event


def test_websocket(daemon: Daemon) -> None:
    """A browser logs in with the subprotocol; the log comes first, then what happens, with nothing between lost."""
    token = post(daemon, "/admin/session").json["token"]
    socket = WebSocket(daemon.ports["admin"], "/admin/live?after=0", {"Sec-WebSocket-Protocol": f"bearer.{token}"})
    assert socket.status == 101
    client = SocketClient(daemon).register("ann")
    client.sends("JOIN #a", "MODE #a +k secret", "PART #a")
    client.until(" PART ")
    seen = []
    while not seen or seen[-1]["event_type"] != "channel.destroy":
        seen.append(socket.event())
    assert [each["sequence"] for each in seen] == list(range(1, len(seen) + 1))
    assert "secret" not in json.dumps(seen)
    later = WebSocket(daemon.ports["admin"], f"/admin/live?after={seen[3]['sequence']}", authorization("admin:sesame"))
    assert [later.event() for _ in seen[4:]] == seen[4:]
    socket.close()
    later.close()


def test_websocket_refusals(daemon: Daemon) -> None:
    """No credentials, wrong ones, a wrong filter: an HTTP answer that says so."""
    port = daemon.ports["admin"]
    for path, headers, status in (
        ("/admin/live", {}, 401),
        ("/admin/live", {"Sec-WebSocket-Protocol": "bearer.nonsense"}, 401),
        ("/admin/live?type=nosuch", authorization("admin:sesame"), 400),
    ):
        socket = WebSocket(port, path, headers)
        assert socket.status == status
        socket.close()
    assert get(daemon, "/admin/live").status == 426


def test_nonsense_from_the_client(daemon: Daemon) -> None:
    """What a client sends is ignored; too much of it ends the connection, not the server."""
    socket = WebSocket(daemon.ports["admin"], "/admin/live?type=channel.*", authorization("admin:sesame"))
    socket.send(1, b"hello")
    SocketClient(daemon).register("bob").sends("JOIN #b")
    assert until(socket, "channel.join")["target"] == "#b"
    socket.socket.sendall(bytes([0x82, 0xFF]) + (1 << 40).to_bytes(8, "big") + b"mask")
    with pytest.raises((EOFError, ConnectionError)):
        until(socket, "no such type")
    socket.close()
    assert get(daemon, "/healthz").status == 200


def test_server_sent_events_across_a_restart(tmp_path: Path) -> None:
    """Who resumes behind its last event after the server was killed gets every event once, in order."""
    seen: list[int] = []
    for run in range(2):
        daemon = Daemon(tmp_path)
        with daemon:
            request = urllib.request.Request(
                f"http://127.0.0.1:{daemon.ports['admin']}/admin/stream?after=0",
                headers={**authorization("admin:sesame"), **({"Last-Event-ID": str(seen[-1])} if seen else {})},
            )
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as stream:
                assert stream.headers["Content-Type"].startswith("text/event-stream")
                SocketClient(daemon).register(f"ann{run}").sends("JOIN #a")
                found = ""
                while '"target":"#a"' not in found or '"channel.join"' not in found:
                    found = stream.readline().decode()
                    if found.startswith("id: "):
                        seen.append(int(found[4:]))
            if run:
                events = get(daemon, "/admin/events?limit=1000").json
    assert seen == [event["sequence"] for event in events][: len(seen)]
    assert len(seen) >= len(events) - 1


def test_a_revoked_token_ends_its_requests(daemon: Daemon) -> None:
    """A session that is ended is refused at once."""
    token = post(daemon, "/admin/session").json["token"]
    assert get(daemon, "/admin/whoami", token).json["name"] == "admin"
    assert get(daemon, "/admin/session", token, method="DELETE").status == 204
    started = time.monotonic()
    assert get(daemon, "/admin/whoami", token).status == 401
    assert time.monotonic() - started < DEADLINE_S
