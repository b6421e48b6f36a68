"""Clients as people use them, against the real daemon: ZNC, The Lounge, a page over WebSocket, Python libraries.

What is not installed is skipped, except in CI, which installs it (.ci/run).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate

from tests.system.daemon import DEADLINE_S, Daemon, SocketClient

pytestmark = pytest.mark.system

CLIENTS = Path(__file__).parents[1] / "clients"
NODE_MODULES = Path(
    os.environ.get("SLIRCD_NODE_MODULES", Path(__file__).parents[2] / "build" / "clients" / "node_modules")
)

WEBSOCKET = """
[[listen]]
port = 0
websocket = true

[[listen]]
port = 0
tls = true
websocket = true
"""


NODE_GLOBALS = "var process = {env: {}, nextTick: (call, ...words) => setTimeout(() => call(...words))};"
"""What a library for Node.js expects to be there."""


def need(present: bool, what: str) -> None:
    """Skip, or fail in CI, what cannot be run here."""
    if not present and "CI" in os.environ:
        pytest.fail(f"CI has to install {what}")
    if not present:
        pytest.skip(f"needs {what}")


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """What the condition gives when it gives something."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("daemon"), more=WEBSOCKET) as running:
        yield running


@pytest.fixture
def peer(daemon: Daemon) -> Iterator[SocketClient]:
    """Somebody else on the channel, who has it as operator."""
    client = SocketClient(daemon).register("peer")
    client.sends("JOIN #meet")
    client.synchronise()
    yield client
    client.sends("QUIT")
    client.until("^ERROR")


# --- Python libraries ---------------------------------------------------------------------------------------------


def converse(daemon: Daemon, script: str, said: str, peer: SocketClient, nick: str) -> list[str]:
    """Run a library's script; the peer lets it set the topic, and answers it once."""
    peer.sends("MODE #meet -t")
    process = subprocess.Popen(
        [sys.executable, str(CLIENTS / script), str(daemon.ports["plain"])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        peer.until(rf":{nick}!\S+ JOIN #meet$")
        peer.until(rf":{nick}!\S+ PRIVMSG #meet :{said}, ünïcödé$")
        peer.sends("PRIVMSG #meet :hello back 😀")
        output, _ = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == 0, output
    return output.splitlines()


def test_irc(daemon: Daemon, peer: SocketClient) -> None:
    """The library `irc` joins, talks, hears, sets a topic, leaves."""
    pytest.importorskip("irc")
    heard = converse(daemon, "irc_library.py", "hello from the library", peer, "jaraco")
    assert heard[0].startswith("welcome irc.test jaraco Welcome to the TestNet Network, jaraco")
    assert "pubmsg peer!~peer@localhost #meet hello back 😀" in heard
    peer.until(r":jaraco!\S+ TOPIC #meet :a topic of the library$")
    peer.until(r":jaraco!\S+ QUIT :Quit: done$")


def test_pydle(daemon: Daemon, peer: SocketClient) -> None:
    """The library `pydle` negotiates capabilities, joins, talks, asks WHOIS, sets a topic, leaves."""
    pytest.importorskip("pydle")
    heard = converse(daemon, "pydle_library.py", "hello from pydle", peer, "shiz")
    assert "join #meet shiz" in heard
    assert "message #meet peer hello back 😀" in heard
    assert "whois ~peer peer" in heard
    peer.until(r":shiz!\S+ TOPIC #meet :a topic of pydle$")
    peer.until(r":shiz!\S+ QUIT :")


# --- ZNC ----------------------------------------------------------------------------------------------------------

ZNC = """
Version = 1.8.2
<Listener l>
    Port = {listen}
    IPv4 = true
    IPv6 = false
    SSL = false
    Host = 127.0.0.1
</Listener>
<User ann>
    Pass = plain#secret
    Admin = true
    Nick = ann
    AltNick = ann_
    Ident = ann
    RealName = Ann behind ZNC
    Buffer = 50
    AutoClearChanBuffer = true
    <Network test>
        Server = 127.0.0.1 {port}
        <Chan #meet>
        </Chan>
    </Network>
</User>
"""


@pytest.fixture
def znc(daemon: Daemon, tmp_path: Path) -> Iterator[int]:
    need(shutil.which("znc") is not None, "znc")
    (tmp_path / "configs").mkdir()
    listen = free_port()
    (tmp_path / "configs" / "znc.conf").write_text(ZNC.format(listen=listen, port=daemon.ports["plain"]))
    process = subprocess.Popen(
        ["znc", "--foreground", "--allow-root", f"--datadir={tmp_path}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: listens(listen), "znc")
    yield listen
    process.terminate()
    process.wait(DEADLINE_S)


def behind(daemon: Daemon, port: int) -> SocketClient:
    client = SocketClient(daemon, port=port)
    client.sends("CAP REQ :server-time batch", "PASS ann/test:secret", "NICK ann", "USER ann 0 * :Ann", "CAP END")
    return client


def test_znc(daemon: Daemon, peer: SocketClient, znc: int) -> None:
    """Through ZNC one joins and talks; what is said while no client is attached is played back with its time."""
    peer.until(r":ann!\S+ JOIN #meet$")
    first = behind(daemon, znc)
    first.until(r":\S+ 366 ann #meet ")
    assert any(" 005 " in line and "NETWORK=TestNet" in line for line in first.lines)
    first.sends("PRIVMSG #meet :hello through znc")
    peer.until(r":ann!~ann@localhost PRIVMSG #meet :hello through znc$")
    peer.sends("PRIVMSG #meet :hello, bouncer")
    first.until(r"^@time=\S+ :peer!~peer@localhost PRIVMSG #meet :hello, bouncer$")
    first.close()
    peer.sends("PRIVMSG #meet :said meanwhile", "PING x")
    peer.until("PONG")
    second = behind(daemon, znc)
    line = second.until(r"PRIVMSG #meet :.*said meanwhile$")
    assert "time=" in line


# --- in a browser -------------------------------------------------------------------------------------------------


def key_of(certificate: Path) -> str:
    """The SHA-256 of a certificate's public key, in base64, as Chromium takes it."""
    key = load_pem_x509_certificate(certificate.read_bytes()).public_key()
    return b64encode(sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()).decode()


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable[..., Any]]:
    """Starts a browser with some more flags."""
    program = shutil.which("chromium")
    need(program is not None, "chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as engine:
        yield lambda *flags: engine.chromium.launch(executable_path=program, args=["--no-sandbox", *flags])


@pytest.fixture(scope="module")
def browser(daemon: Daemon, launch: Callable[..., Any]) -> Iterator[Any]:
    """A browser that trusts the key of the daemon's own certificate, and no other one."""
    running = launch(f"--ignore-certificate-errors-spki-list={key_of(daemon.folder / 'slircd.crt')}")
    yield running
    running.close()


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and says nothing of it."""

    def log_message(self, *_: Any) -> None:
        """Not on the terminal of the tests."""


@pytest.fixture
def serving() -> Iterator[Callable[[Path, str], str]]:
    """Serves a folder over HTTP; browsers let no page of nowhere connect to loopback."""
    servers: list[ThreadingHTTPServer] = []

    def serve(folder: Path, name: str) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/{name}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with page.html, which has irc-framework in it."""
    folder = tmp_path_factory.mktemp("page")
    esbuild = NODE_MODULES / ".bin" / "esbuild"
    need(esbuild.exists(), "the npm packages of tests/clients")
    subprocess.run(
        [
            str(esbuild),
            str(CLIENTS / "page.js"),
            "--bundle",
            "--platform=browser",
            "--alias:stream=stream-browserify",
            "--define:global=window",
            f"--banner:js={NODE_GLOBALS}",
            f"--outfile={folder / 'page.bundle.js'}",
            "--log-level=error",
        ],
        env={**os.environ, "NODE_PATH": str(NODE_MODULES)},
        check=True,
    )
    (folder / "page.html").write_text('<!doctype html><meta charset="utf-8"><script src="page.bundle.js"></script>')
    return folder


class ChatPage:
    """The page with irc-framework, connected."""

    def __init__(self, browser: Any, address: str, port: int, *, tls: bool) -> None:
        self.page = browser.new_page()
        self.page.goto(address)
        self.page.evaluate("(words) => connect(...words)", ["127.0.0.1", port, "paige", tls])

    def does(self, what: str) -> None:
        self.page.evaluate(f"() => client.{what}")

    def heard(self, **wanted: str) -> Any:
        """The first event with these fields, as soon as there is one."""

        def look() -> Any:
            found = self.page.evaluate("() => window.heard")
            return [event for event in found if all(event.get(key) == value for key, value in wanted.items())]

        return wait_for(look, f"{wanted} in {self.page.evaluate('() => window.heard')}")[0]


@pytest.mark.parametrize("kind", ["websocket", "wss"])
def test_page_with_irc_framework(
    daemon: Daemon, peer: SocketClient, browser: Any, bundle: Path, serving: Callable[[Path, str], str], kind: str
) -> None:
    """A page speaks WebSocket, plain and over TLS: capabilities, messages both ways, topic, nick, kick."""
    chat = ChatPage(browser, serving(bundle, "page.html"), daemon.ports[kind], tls=kind == "wss")
    chat.heard(kind="registered", nick="paige")
    chat.does("join('#meet')")
    chat.heard(kind="join", nick="paige", target="#meet")
    chat.does("say('#meet', 'hello from the page, ünïcödé')")
    peer.until(r":paige!\S+ PRIVMSG #meet :hello from the page, ünïcödé$")
    assert chat.heard(kind="privmsg", nick="paige")["tags"]["msgid"]
    peer.sends("PRIVMSG #meet :hello page 😀", "TOPIC #meet :seen by a browser")
    assert chat.heard(kind="privmsg", nick="peer")["text"] == "hello page 😀"
    chat.heard(kind="topic", text="seen by a browser")
    peer.sends("WHOIS paige")
    peer.until(" 318 ")
    assert any(" 671 peer paige " in line for line in peer.lines) == (kind == "wss")
    chat.does("changeNick('peggy')")
    peer.until(r":paige!\S+ NICK :peggy$")
    peer.sends("KICK #meet peggy :bye")
    chat.heard(kind="kick")
    chat.does("quit('closing')")
    chat.heard(kind="socket close")
    chat.page.close()


def test_a_browser_wants_the_right_certificate(
    daemon: Daemon, launch: Callable[..., Any], bundle: Path, serving: Callable[[Path, str], str]
) -> None:
    """A browser that does not know the certificate does not get as far as to say anything."""
    doubting = launch()
    chat = ChatPage(doubting, serving(bundle, "page.html"), daemon.ports["wss"], tls=True)
    chat.heard(kind="socket close")
    assert [event["kind"] for event in chat.page.evaluate("() => window.heard")] == ["socket close"]
    doubting.close()


LOUNGE = """
module.exports = {{
    public: true, host: "127.0.0.1", port: {port}, prefetch: false, messageStorage: [],
    lockNetwork: false, transports: ["websocket"],
    defaults: {{
        name: "test", host: "127.0.0.1", port: {irc}, password: "", tls: false, rejectUnauthorized: false,
        nick: "lou", username: "lou", realname: "Lou", join: "#meet", leaveMessage: "closing",
    }},
}};
"""


@pytest.fixture
def lounge(daemon: Daemon, tmp_path: Path) -> Iterator[int]:
    package = NODE_MODULES / "thelounge"
    node = next(NODE_MODULES.glob("node-linux-*/bin/node"), None)
    need(package.exists() and node is not None, "the npm packages of tests/clients")
    port = free_port()
    (tmp_path / "config.js").write_text(LOUNGE.format(port=port, irc=daemon.ports["plain"]))
    log = (tmp_path / "lounge.log").open("w")
    process = subprocess.Popen(
        [str(node), str(package / "index.js"), "start"],
        env={**os.environ, "THELOUNGE_HOME": str(tmp_path)},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    wait_for(lambda: listens(port) or process.poll() is not None, "The Lounge")
    assert process.poll() is None, (tmp_path / "lounge.log").read_text()
    yield port
    process.terminate()
    process.wait(DEADLINE_S)
    log.close()


def test_the_lounge(daemon: Daemon, peer: SocketClient, browser: Any, lounge: int) -> None:
    """The Lounge in a browser: connect, the channel with its members and topic, messages both ways."""
    peer.sends("TOPIC #meet :the topic in the lounge")
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{lounge}/")
    page.click("#connect button[type=submit]")
    peer.until(r":lou!\S+ JOIN #meet$")
    page.click("[data-name='#meet']")
    page.wait_for_selector(".userlist .user[data-name=peer]", timeout=DEADLINE_S * 1000)
    wait_for(lambda: "the topic in the lounge" in page.inner_text("#chat .topic"), "the topic")
    page.fill("#input", "hello from the lounge, ünïcödé")
    page.press("#input", "Enter")
    peer.until(r":lou!\S+ PRIVMSG #meet :hello from the lounge, ünïcödé$")
    peer.sends("PRIVMSG #meet :hello lounge 😀")
    wait_for(lambda: "hello lounge 😀" in page.inner_text("#chat .messages"), "the message")
    shown = page.inner_text("#chat .messages")
    assert shown.count("hello from the lounge") == 1, "its own message shows once"
    page.close()
