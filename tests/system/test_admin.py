"""The admin API on the real daemon, as curl sees it."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from slircd.security.certificates import ensure_self_signed, now_utc
from slircd.security.passwords import hash_now
from tests.system.daemon import DEADLINE_S, Daemon, SocketClient, insecure

pytestmark = pytest.mark.system

ADMIN = "admin:sesame"
READER = f'[admin.users.eve]\npassword_hash = "{hash_now("reading", "minimum")}"\nrole = "read"\n'


class Answer:
    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A server on which something has happened."""
    with Daemon(tmp_path_factory.mktemp("admin"), more=READER) as daemon:
        ann, bob = SocketClient(daemon).register("ann"), SocketClient(daemon, tls=True).register("bob")
        ann.sends("JOIN #c", "MODE #c +k secret", "TOPIC #c :first")
        ann.until("TOPIC #c")
        bob.sends("JOIN #c secret")
        ann.until("JOIN #c")
        ann.sends("TOPIC #c :second")
        ann.until("second")
        yield daemon


def authorization(who: str) -> dict[str, str]:
    """The header for NAME:PASSWORD, or for a token."""
    basic = "Basic " + b64encode(who.encode()).decode()
    return {"Authorization": basic if ":" in who else f"Bearer {who}"}


def get(
    daemon: Daemon,
    path: str,
    who: str | None = ADMIN,
    *,
    method: str = "GET",
    body: bytes | None = None,
    **headers: str,
) -> Answer:
    request = urllib.request.Request(f"http://127.0.0.1:{daemon.ports['admin']}{path}", data=body, method=method)
    if who is not None:
        headers.update(authorization(who))
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as response:
            return Answer(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


def post(daemon: Daemon, path: str, body: Any = None, who: str = ADMIN) -> Answer:
    """POST a document."""
    data = b"" if body is None else json.dumps(body).encode()
    return get(daemon, path, who, method="POST", body=data, Content_Type="application/json")


def test_health_and_metrics_need_no_log_in(daemon: Daemon) -> None:
    """200 without credentials; the metrics are Prometheus' text, with what has happened."""
    assert get(daemon, "/healthz", None).json["status"] == "ok"
    assert get(daemon, "/readyz", None).json == {"status": "ready"}
    families = {each.name: each for each in text_string_to_metric_families(get(daemon, "/metrics", None).body.decode())}
    values = {sample.labels.get("type"): sample.value for sample in families["slircd_events"].samples}
    assert values["channel.join"] == 2
    assert families["slircd_users"].samples[0].value == 4
    assert families["slircd_commit_seconds"].samples
    assert {sample.labels["tls"] for sample in families["slircd_connections"].samples} == {"yes", "no"}


def test_everything_else_does(daemon: Daemon) -> None:
    """401 without or with wrong credentials, 403 for too little, and an unknown path says nothing before that."""
    for path in (
        "/admin/events",
        "/admin/replay",
        "/admin/diff?from=-0s",
        "/admin/blame?channel=%23c",
        "/admin/users",
        "/admin/channels",
        "/admin/replay/verify",
    ):
        for who in (None, "admin:wrong", "nobody:sesame"):
            refused = get(daemon, path, who)
            assert refused.status == 401, path
            assert refused.headers["WWW-Authenticate"].startswith("Basic")
            if who is not None:
                break
        assert get(daemon, path, "eve:reading").status == 200
    assert get(daemon, "/admin/replay?keys=show", "eve:reading").status == 403


def test_events(daemon: Daemon) -> None:
    """An array with filters and a cursor; payloads are JSON."""
    found = get(daemon, "/admin/events?type=channel.topic_change").json
    assert [each["payload"]["topic"] for each in found] == ["first", "second"]
    assert found[0]["target"] == "#c"
    first = get(daemon, "/admin/events?limit=2")
    assert len(first.json) == 2
    link = first.headers["Link"]
    assert link.endswith('rel="next"')
    second = get(daemon, link[1 : link.index(">")])
    assert second.json[0]["id"] == first.json[-1]["id"] + 1
    assert get(daemon, "/admin/events?from=-0s&to=-0s").json == []
    joins = get(daemon, f"/admin/events?target=%23c&type=channel.join&actor={found[0]['actor_uid']}").json
    assert len(joins) == 1
    lines = get(daemon, "/admin/events", Accept="application/x-ndjson").body.splitlines()
    assert [json.loads(line)["id"] for line in lines] == list(range(1, len(lines) + 1))


def test_the_past(daemon: Daemon) -> None:
    """Replay, differences and blame; keys are masked, and shown to admins who ask."""
    topics = get(daemon, "/admin/events?type=channel.topic_change").json
    early = get(daemon, f"/admin/replay?at={topics[0]['timestamp']}").json
    assert early["channels"][0]["topic"]["text"] == "first"
    assert early["channels"][0]["params"] == {"k": "*"}
    assert get(daemon, "/admin/replay?keys=show").json["channels"][0]["params"] == {"k": "secret"}
    changes = get(daemon, f"/admin/diff?from={topics[0]['timestamp']}").json["changes"]
    assert ["channels", "#c", "topic", "text"] in [each["path"] for each in changes]
    blamed = {each["what"]: each["by"] for each in get(daemon, "/admin/blame?channel=%23C").json}
    assert blamed["topic"] == "ann"
    assert get(daemon, "/admin/replay/verify").json["equal"] is True
    assert get(daemon, "/admin/replay?at=2020-01-01").status == 404
    assert get(daemon, "/admin/replay?at=2999-01-01").json["channels"][0]["topic"]["text"] == "second"


def test_now(daemon: Daemon) -> None:
    """Users and channels as they are."""
    assert {each["nick"] for each in get(daemon, "/admin/users").json} == {"ann", "bob", "NickServ", "ChanServ"}
    assert [each["name"] for each in get(daemon, "/admin/channels").json] == ["#c"]


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/admin/events?from=yesterday", "from"),
        ("/admin/events?limit=0", "limit"),
        ("/admin/events?limit=99999", "limit"),
        ("/admin/events?limit=1e9", "limit"),
        ("/admin/events?type=no.such", "type"),
        ("/admin/events?nosuch=1", "nosuch"),
        ("/admin/events?limit=1&limit=2", "limit"),
        ("/admin/events?target=%ff", "target"),
        ("/admin/events?after=-1", "after"),
        ("/admin/diff", "from"),
        ("/admin/diff?from=-1h&to=-2h", "to"),
        ("/admin/blame", "channel"),
        ("/admin/replay?at=99999999999999999999", "at"),
        ("/admin/replay?keys=maybe", "keys"),
    ],
)
def test_bad_requests(daemon: Daemon, path: str, parameter: str) -> None:
    """400 with JSON that says which parameter, what was given and what is allowed."""
    refused = get(daemon, path)
    assert refused.status == 400
    assert refused.headers["Content-Type"].startswith("application/problem+json")
    assert refused.json["parameter"] == parameter
    assert refused.json["allowed"]


def test_other_paths_and_methods(daemon: Daemon) -> None:
    """404 and 405 are JSON, too."""
    assert get(daemon, "/nosuch").json["status"] == 404
    request = urllib.request.Request(f"http://127.0.0.1:{daemon.ports['admin']}/healthz", data=b"x", method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=DEADLINE_S)
    with caught.value as error:
        assert error.code == 405


def test_guessing_is_limited_and_locks_nobody_out(tmp_path: Path) -> None:
    """After ten wrong passwords an address is told to wait; a request without credentials counts as none."""
    with Daemon(tmp_path) as daemon:
        for _ in range(20):
            assert get(daemon, "/admin/users", None).status == 401
        statuses = [get(daemon, "/admin/users", "admin:wrong").status for _ in range(11)]
        assert statuses == [401] * 10 + [429]
        assert "sesame" not in "".join(daemon.output)


def test_metrics_follow(daemon: Daemon) -> None:
    """What happens next is counted; a client does not wait for the one who asks."""
    client = SocketClient(daemon).register("new")
    client.sends("JOIN #d")
    client.until(" 366 ")
    deadline = time.monotonic() + DEADLINE_S
    while b'slircd_events_total{type="channel.create"} 2.0' not in get(daemon, "/metrics", None).body:
        assert time.monotonic() < deadline


def test_tls(tmp_path: Path) -> None:
    """HTTPS with the server's certificate; another one is in use after SIGHUP, and who is connected stays so."""
    ensure_self_signed(tmp_path / "admin.crt", tmp_path / "admin.key", "irc.test", now_utc(time.time()))
    with Daemon(tmp_path, more='tls = true\ncertificate = "admin.crt"\nprivate_key = "admin.key"\n') as daemon:
        port = daemon.ports["admin"]
        before = ssl.get_server_certificate(("127.0.0.1", port))
        kept = http.client.HTTPSConnection("127.0.0.1", port, timeout=DEADLINE_S, context=insecure())
        kept.request("GET", "/admin/whoami", headers=authorization(ADMIN))
        answer = kept.getresponse()
        assert json.loads(answer.read())["name"] == "admin"
        for name in ("admin.crt", "admin.key"):
            (tmp_path / name).unlink()
        ensure_self_signed(tmp_path / "admin.crt", tmp_path / "admin.key", "irc.test", now_utc(time.time()))
        daemon.signal(signal.SIGHUP)
        daemon.wait_for_output("configuration read again")
        assert ssl.get_server_certificate(("127.0.0.1", port)) != before
        kept.request("GET", "/healthz")
        assert kept.getresponse().read()
        kept.close()


def test_a_token_beside_the_running_server(tmp_path: Path) -> None:
    """Made and revoked by the command, good and good no longer without a restart."""
    with Daemon(tmp_path) as daemon:
        command = [str(Path(sys.executable).with_name("slircd")), "admin", "token", "--config", str(daemon.config)]

        def run(*words: str) -> str:
            done = subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
            return done.stdout.strip()

        token = run("create", "ci")
        assert get(daemon, "/admin/whoami", token).json == {"name": "token.ci", "role": "read"}
        run("revoke", "ci")
        deadline = time.monotonic() + DEADLINE_S
        while get(daemon, "/admin/whoami", token).status != 401:
            assert time.monotonic() < deadline


def test_a_reader_that_does_not_read(tmp_path: Path) -> None:
    """It holds up nobody: others are answered, clients are served, and memory does not grow with the log."""
    with Daemon(tmp_path) as daemon:
        ann = SocketClient(daemon).register("ann")
        for number in range(400):
            ann.sends(f"JOIN #c{number % 20}", f"TOPIC #c{number % 20} :{'x' * 300}", f"PART #c{number % 20}")
        ann.synchronise()
        slow = []
        for _ in range(5):
            head = f"Authorization: {authorization(ADMIN)['Authorization']}\r\nAccept: application/x-ndjson\r\n"
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", daemon.ports["admin"]))
            connection.sendall(f"GET /admin/events HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
            slow.append(connection)
        assert get(daemon, "/admin/whoami").status == 200
        ann.synchronise()
        lines = get(daemon, "/admin/events", Accept="application/x-ndjson").body.splitlines()
        assert [json.loads(line)["id"] for line in lines] == list(range(1, len(lines) + 1))
        for connection in slow:
            connection.close()
