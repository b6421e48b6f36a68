"""CR LF injection: no text, whoever it is from, becomes a line of its own, in a client's stream or in the server's log.

The tables are made from the code: each command, route, function of plugins and key of the configuration is tried, new
ones included.  What is sent is split as the most careless client would: at every CR, LF and NUL.
"""

from __future__ import annotations

import io
import itertools
import re
from base64 import b64encode
from collections.abc import Iterator
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

import msgspec
import pytest
from twisted.logger import LogLevel, formatEventAsClassicLogText

from slircd import logs
from slircd.admin.routes import ROUTES
from slircd.app import read_motd
from slircd.commands.registry import COMMANDS
from slircd.config.load import ConfigError, parse
from slircd.config.sections import Config
from slircd.events import types as ev
from slircd.network.proxy import InvalidHeader, parse_header
from slircd.plugins.functions import FUNCTIONS
from slircd.plugins.interface import PluginError, PluginRefused
from slircd.rules.capabilities import CAPABILITIES
from slircd.security.passwords import hash_now
from slircd.services.accounts import Accounts
from slircd.wire.line import Line, untagged
from slircd.wire.message import MalformedLine
from slircd.wire.message import parse as parse_line
from tests.admin.harness import AdminTestCase
from tests.harness import BASE, ServerTestCase, World, make_config
from tests.plugins.support import PluginTestCase

MARK = "INJECTED"
ENDS = ("\r\n", "\n", "\r", "\0", "\n\r", "\r\r\n")
PAYLOADS = tuple(f"x{end}{MARK} now" for end in ENDS)


def assert_whole(world: World) -> None:
    """No client has been sent a line that somebody else's text begins; looks at everything that was ever sent."""
    world.turn()
    for client in world.clients:
        data = client.transport.value()
        client.received += data.decode().split("\r\n")
        client.transport.clear()
        for line in client.received:
            for part in re.split(r"[\r\n\0]", line):
                assert not part.lstrip(" ").startswith(MARK), line


# --- clients --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\r", "\0"])
@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_no_command_takes_a_line_end(command: str, end: str) -> None:
    """The parser refuses CR and NUL wherever they stand: no handler ever sees one."""
    for line in (f"{command} a{end}b", f"{command} a :b{end}", f"@+a=b{end}c {command} a", f":a{end}b {command}"):
        with pytest.raises(MalformedLine):
            parse_line(line.encode())


class FromClients(ServerTestCase):
    """What a client sends, in every way that is not simply a line."""

    def setUp(self) -> None:
        super().setUp()
        self.root = self.oper("root", caps="message-tags labeled-response batch echo-message standard-replies")
        self.root.sends("MODE root +s bcfknops")

    def tearDown(self) -> None:
        assert_whole(self.world)
        super().tearDown()

    def test_escaped_in_tags(self) -> None:
        """What a tag's value stands for is escaped again when it is passed on: labels, client tags, replies."""
        ann, bob = (
            self.client(nick, caps="message-tags labeled-response batch echo-message") for nick in ("ann", "bob")
        )
        for tag in ("label", "+draft/reply", "+typing", "+x/y"):
            ann.sends(rf"@{tag}=a\r\n{MARK} PRIVMSG bob :hello", rf"@{tag}=a\r\n{MARK} TAGMSG bob")
            ann.sends(rf"@{tag}=a\n{MARK} NOSUCH", rf"@{tag}=a\r{MARK} PRIVMSG nobody :hello")
        self.assertTrue(any(rf"\r\n{MARK}" in line for line in [*ann.lines(), *bob.lines()]))

    def test_log_in(self) -> None:
        """Names in base64 hold any bytes: accounts, mechanisms and messages of SCRAM that do not exist."""
        self.world.server.config = make_config({"accounts": {"sasl_plain_without_tls": True}})
        for payload in PAYLOADS:
            eve = self.world.connect("203.0.113.1")
            eve.sends("CAP REQ :sasl standard-replies", f"NICK eve{len(self.world.clients)}", "USER e 0 * :e")
            for mechanism, texts in (
                ("PLAIN", [f"{payload}\0{payload}\0{payload}"]),
                ("PLAIN", [f"\0root\0{payload}"]),
                ("EXTERNAL", [payload]),
                ("SCRAM-SHA-256", [f"n,a={payload},n={payload},r={payload}", f"c=biws,r={payload},p={payload}"]),
            ):
                eve.sends(f"AUTHENTICATE {mechanism}")
                for text in texts:
                    eve.sends("AUTHENTICATE " + b64encode(text.encode()).decode())
            eve.sends("CAP END", "QUIT")

    def test_web_socket_frames(self) -> None:
        """A frame with line ends in it is the client's own lines, and nobody else's."""
        from slircd.network.websocket import IRCWebSocket

        bob = self.client("bob")
        eve = self.client("eve")
        socket = IRCWebSocket.__new__(IRCWebSocket)
        socket.session = eve.session
        socket.onMessage(f"PRIVMSG bob :a\r{MARK}".encode(), False)
        socket.onMessage(f"PRIVMSG bob :a\r\n{MARK} b".encode(), False)
        socket.onMessage(f"PRIVMSG bob :a\0{MARK}".encode(), False)
        self.assertEqual(bob.lines(), [":eve!~eve@192.0.2.1 PRIVMSG bob :a"])

    def test_mail_addresses(self) -> None:
        """An address with a line end would be headers of the mail: it is none."""
        for payload in PAYLOADS:
            for text in (f"ann@example.org{payload}", f"{payload}@example.org", f"ann@{payload}.org"):
                with pytest.raises(Exception, match="no e-mail address"):
                    Accounts.check_email(text)


class Gateways(ServerTestCase):
    """Who says who somebody else is."""

    def setUp(self) -> None:
        entries = [{"hosts": ["192.0.2.80/32"], "password_hash": hash_now("hunter2", "minimum")}]
        self.world = World(config=make_config(self.config, webirc=entries))
        self.root = self.oper("root")
        self.root.sends("MODE root +s bcfknops")

    def test_webirc(self) -> None:
        """Gateway, host and options cannot hold one; what is no host is not shown."""
        for word in (f"h\r{MARK}", f"h\0{MARK}", f"{MARK}", "-", "h.example.org:"):
            for line in (
                f"WEBIRC hunter2 {word} h.example.org 198.51.100.3",
                f"WEBIRC hunter2 gw {word} 198.51.100.3",
                f"WEBIRC hunter2 gw h.example.org 198.51.100.3 :{word}",
            ):
                client = self.world.connect("192.0.2.80")
                client.sends(line, f"NICK w{len(self.world.clients)}", "USER w 0 * :w", "QUIT :x")
        assert_whole(self.world)

    def test_proxy_header(self) -> None:
        """An address that is none is no header."""
        for payload in ("1.2.3.4\n", f"1.2.3.4\r{MARK}", f"\n{MARK}", "1.2.3.4\0"):
            with pytest.raises(InvalidHeader):
                parse_header(f"PROXY TCP4 {payload} 1.2.3.4 1 2\r\n".encode())

    def test_forwarded(self) -> None:
        """Nor does X-Forwarded-For give anything but an address."""
        from slircd.network.websocket import client_address

        for payload in PAYLOADS:
            self.assertEqual(client_address("192.0.2.1", payload, ["192.0.2.0/24"]), "192.0.2.1")


# --- the admin API --------------------------------------------------------------------------------------------------


class FromAdmins(AdminTestCase):
    VALID = {"nick": "bob", "new_nick": "rob", "channel": "#c", "modes": "+n", "mask": "x@y.z", "pattern": "spam[0-9]"}
    VALID |= {
        "kind": "kline",
        "action": "block",
        "host": "a.b",
        "name": "hook",
        "at": "-1m",
        "days": "1",
        "role": "read",
    }

    def test_every_field_of_every_route(self) -> None:
        """A text with a line end is refused, or is in one line; the log has none either."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        root = self.oper("root")
        root.sends("MODE root +s bcfknops")
        tried = 0
        for route in ROUTES.values():
            if route.body is None:
                continue
            hints = get_type_hints(route.body)
            texts = [name for name, hint in hints.items() if hint is str or str in get_args(hint)]
            for name in texts:
                for payload in PAYLOADS[:2]:
                    body = {each: self.VALID.get(each, "valid") for each in texts} | {name: payload}
                    path = re.sub(r"<(?:path:)?\w+>", "valid", route.path)
                    answer = self.ask(path, method=route.method, body=body)
                    self.assertIn(answer.status, (400, 404, 409), (route.path, name, payload, answer.body))
                    tried += 1
        self.assertGreater(tried, 60)
        for client in (ann, bob, root):
            self.assertFalse(client.is_closed)
        assert_whole(self.world)
        for row in self.world.store.rows:
            self.assertNotRegex(row.payload, r"\\[rn]|\\u000[0ad]")

    def test_paths_queries_and_headers(self) -> None:
        """What comes back of a request (Link, X-Request-ID, problems) is one header or JSON."""
        for payload in ("%0d%0aINJECTED:+1", "%0aINJECTED", "%00", "%0d"):
            for path in (
                f"/admin/events?limit=1&type={payload}",
                f"/admin/events?limit=1&target={payload}",
                f"/admin/channels/{payload}",
                f"/{payload}",
            ):
                answer = self.ask(path, X_Request_ID="a b")
                self.assertFalse(any(name.upper().startswith(MARK) for name in answer.headers), path)
                self.assertNotIn(b"\n" + MARK.encode(), answer.body)


# --- plugins --------------------------------------------------------------------------------------------------------


class FromPlugins(PluginTestCase):
    grants: ClassVar[Any] = {"probe": list(CAPABILITIES)}

    def test_every_function(self) -> None:
        """No function of the API lets a plugin's text become a line."""
        self.on_channel("#c", "@ann", "bob")
        refused: list[str] = []

        def begin(api: Any) -> None:
            for name, entry in FUNCTIONS.items():
                for at, parameter in enumerate(entry.parameters):
                    if parameter.python is not str or parameter.lua.raw:
                        continue
                    for payload in PAYLOADS:
                        arguments = ["valid" if each.python is str else None for each in entry.parameters]
                        arguments[at] = payload
                        with pytest.raises((PluginError, PluginRefused)):
                            api.invoke(name, arguments)
                    refused.append(name)
            for payload in PAYLOADS:
                api.invoke("log", [payload])

        self.load("probe", begin)
        self.assertGreater(len(set(refused)), 12)
        self.assertEqual([row.event_type for row in self.world.store.rows[-1:]], ["plugin.load"])

    def test_replies_and_help(self) -> None:
        """Answers of commands and services, and texts of HELP: each line end begins another line of the server's, or is none."""

        def begin(api: Any) -> None:
            def answer(ctx: Any, args: list[str]) -> None:
                for payload in PAYLOADS:
                    ctx.reply(payload)

            api.invoke("register_command", ["hear", answer, {"help": f"Hears.\r\n{MARK}\r{MARK}"}])
            api.invoke("register_service", ["Helper", answer])

        self.load("probe", begin)
        ann = self.client("ann")
        answers = ann.asks("HEAR x", "HELP HEAR", "PRIVMSG Helper :x", "WHOIS Helper", "HELP")
        self.assertGreater(sum(" NOTICE ann :" in line for line in answers), len(PAYLOADS))
        assert_whole(self.world)

    def test_faults(self) -> None:
        """What a plugin dies of is told to operators in one line."""
        root = self.oper("root")
        root.sends("MODE root +s p")

        def begin(api: Any) -> None:
            def fails(ctx: Any, args: list[str]) -> None:
                raise RuntimeError(PAYLOADS[0])

            api.invoke("register_command", ["BREAK", fails])

        self.load("probe", begin)
        self.client("ann").sends("BREAK x")
        root.sends("PLUGIN LIST", "PLUGIN INFO probe")
        assert_whole(self.world)


# --- configuration --------------------------------------------------------------------------------------------------


def texts_of(section: type[msgspec.Struct], at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of each key whose value is a text."""
    for field in msgspec.structs.fields(section):
        hint = _bare(field.type)
        path = (*at, field.encode_name)
        if hint is str:
            yield path
        elif isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            yield from texts_of(hint, path)
        elif get_origin(hint) in (list, dict):
            inner = _bare(get_args(hint)[-1])
            more = "[]" if get_origin(hint) is list else "{}"
            if inner is str:
                yield (*path, more)
            elif isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                yield from texts_of(inner, (*path, more))


def _bare(hint: Any) -> Any:
    while hasattr(hint, "__metadata__"):
        hint = get_args(hint)[0]
    kinds = [each for each in get_args(hint) if each is not type(None)]
    return _bare(kinds[0]) if type(None) in get_args(hint) and len(kinds) == 1 else hint


def changed(path: tuple[str, ...], value: str) -> dict[str, Any]:
    """A configuration with one text replaced."""
    data: dict[str, Any] = {key: dict(table) for key, table in BASE.items()}
    place: Any = data
    for step, following in itertools.pairwise(path):
        empty: Any = [] if following == "[]" else {}
        if step == "[]":
            place.append(empty)
            place = place[-1]
        else:
            place = place.setdefault("one" if step == "{}" else step, empty)
    if path[-1] == "[]":
        place.append(value)
    else:
        place["one" if path[-1] == "{}" else path[-1]] = value
    return data


@pytest.mark.parametrize("path", sorted(texts_of(Config)), ids=".".join)
def test_configuration(path: tuple[str, ...]) -> None:
    """A text with a line end is refused when the file is read; the message of the day alone may have several lines."""
    for payload in PAYLOADS:
        if path == ("server", "motd"):
            config = parse(changed(path, payload), "test.toml")
            world = World(config=config)
            world.server.motd = read_motd(config)
            world.client("ann").sends("MOTD")
            assert_whole(world)
        else:
            with pytest.raises(ConfigError):
                parse(changed(path, payload), "test.toml")


# --- the last gate, and the server's own log ------------------------------------------------------------------------


@pytest.mark.parametrize("end", ENDS)
def test_no_line_has_an_end_inside(end: str) -> None:
    """Whatever a line was made of, its bytes have one end."""
    line = Line(f":irc.test NOTICE ann :a{end}{MARK}", client_tags={"+a": f"b{end}c"}, msgid="m", timestamp="")
    for caps in (0, (1 << 32) - 1):
        data = line.encoded(caps)
        assert data.endswith(b"\r\n")
        assert not re.search(rb"[\r\n\0]", data[:-2])
    assert untagged(f"a{end}{MARK}").count(MARK.encode()) == 1
    assert not re.search(rb"[\r\n\0]", untagged(f"a{end}{MARK}")[:-2])


class Rendered(ServerTestCase):
    def test_events_from_elsewhere(self) -> None:
        """A log that was written by something else, with line ends in a topic or a reason, is shown in whole lines."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        for payload in PAYLOADS[:3]:
            self.world.server.bus.emit(
                [
                    ev.ChannelTopicChange(
                        actor_uid=ann.uid, target="#c", nick="ann", topic=payload, set_by=payload, previous=""
                    )
                ]
            )
            self.world.server.bus.emit([ev.UserAway(actor_uid=ann.uid, target=ann.uid, nick="ann", message=payload)])
        bob.sends("TOPIC #c", "WHOIS ann", "PRIVMSG ann :hello", "LIST")
        assert_whole(self.world)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_log_of_the_process(payload: str) -> None:
    """A text in a log line does not begin another one, for people or for collectors."""
    event = {"log_format": "{who} said", "who": payload, "log_time": 0.0, "log_level": LogLevel.info, "log_system": "x"}
    out = io.StringIO()
    logs.JSONLines(out)(event)
    assert out.getvalue().count("\n") == 1
    text = formatEventAsClassicLogText(event) or ""
    assert not any(part.startswith(MARK) for part in re.split(r"[\n]", text))
