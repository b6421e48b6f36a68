"""Who a client is, as a gateway tells (IRCv3 webirc), and whether it is to come by TLS (IRCv3 sts)."""

from typing import Any, ClassVar

from slircd.network.listeners import ListenerInfo
from slircd.security.passwords import hash_now
from tests.harness import FakeClient, ServerTestCase, World, make_config

GATEWAY = "192.0.2.80"


class Webirc(ServerTestCase):
    config: ClassVar[dict[str, Any]] = {"throttle": {"connections": 2, "attempts": 3}}

    def setUp(self) -> None:
        entries = [{"hosts": [f"{GATEWAY}/32"], "password_hash": hash_now("hunter2", "minimum")}]
        self.world = World(config=make_config(self.config, webirc=entries))

    def comes(self, line: str, *, address: str = GATEWAY, tls: bool = False) -> FakeClient:
        client = self.world.connect(address, tls=tls)
        client.sends(line, "NICK web", "USER web 0 * :web")
        return client

    def test_client_behind_a_gateway(self) -> None:
        """It has the address and host that the gateway tells, and is secure only if both ways are."""
        for options, tls, secure in (("", True, False), (" :secure x=y", True, True), (" secure=1", False, False)):
            client = self.comes(f"WEBIRC hunter2 gw host.example.org 198.51.100.3{options}", tls=tls)
            user = self.world.state.user_by_nick("web")
            self.assertEqual((user.ip, user.real_host, user.host), ("198.51.100.3", *["host.example.org"] * 2))
            self.assertEqual(user.secure, secure)
            client.sends("QUIT")

    def test_host_that_is_none(self) -> None:
        """What is no host name is not shown; the address is."""
        self.comes("WEBIRC hunter2 gw -bad- 2001:db8::3")
        self.assertEqual(self.world.state.user_by_nick("web").host, "2001:db8::3")

    def test_an_address_has_one_form(self) -> None:
        """No other way to write it is another client to limits and bans."""
        self.comes("WEBIRC hunter2 gw -bad- 0:0:0:0:0:FFFF:c633:6403")
        self.assertEqual(self.world.state.user_by_nick("web").ip, "198.51.100.3")

    def test_refused(self) -> None:
        """Wrong password, wrong place, no address, or too late: the connection is closed."""
        for line, address in (
            ("WEBIRC wrong gw h.example.org 198.51.100.3", GATEWAY),
            ("WEBIRC hunter2 gw h.example.org 198.51.100.3", "192.0.2.81"),
            ("WEBIRC hunter2 gw h.example.org nonsense", GATEWAY),
            ("WEBIRC hunter2 gw h.example.org :2001:db8::3%a b", GATEWAY),
        ):
            with self.subTest(line=line, address=address):
                client = self.comes(line, address=address)
                self.assertTrue(client.is_closed)
                self.assertIsNone(self.world.state.user_by_nick("web"))
        late = self.world.connect(GATEWAY)
        late.sends("CAP LS", "WEBIRC hunter2 gw h.example.org 198.51.100.3")
        self.assertTrue(late.is_closed)
        self.assertEqual(self.client("ann").codes("WEBIRC hunter2 gw h.example.org 198.51.100.3"), ["462"])

    def test_limits_are_the_clients_own(self) -> None:
        """The gateway may bring many clients; each address behind it has its own limits and bans."""
        for number in range(5):
            client = self.world.connect(GATEWAY)
            client.sends(f"WEBIRC hunter2 gw x 198.51.100.{number}", f"NICK w{number}", "USER w 0 * :w")
            self.assertFalse(client.is_closed)
        same = [self.world.connect(GATEWAY) for _ in range(3)]
        for client in same:
            client.sends("WEBIRC hunter2 gw x 203.0.113.1")
        self.assertEqual([client.is_closed for client in same], [False, False, True])
        self.oper("root").sends("DLINE 203.0.113.9 :no")
        banned = self.world.connect(GATEWAY)
        self.assertIn("465", banned.codes("WEBIRC hunter2 gw x 203.0.113.9"))
        self.assertTrue(banned.is_closed)
        for client in self.world.clients:
            client.disconnects()
        self.assertEqual(self.world.server.throttle.total, 0)

    def test_gateway_for_itself(self) -> None:
        """A client that comes from a gateway's address without WEBIRC is one like any other."""
        clients = [self.world.connect(GATEWAY) for _ in range(3)]
        for number, client in enumerate(clients):
            client.sends(f"NICK n{number}", "USER n 0 * :n")
        self.assertEqual([client.is_closed for client in clients], [False, False, True])


class Named:
    """What stands for the OpenSSL connection of a client that named the server."""

    def __init__(self, name: bytes | None) -> None:
        self._name = name

    def get_servername(self) -> bytes | None:
        return self._name

    def get_certificate(self) -> None:
        return None


class StrictTransportSecurity(ServerTestCase):
    config: ClassVar[dict[str, Any]] = {
        "sts": {"enabled": True, "port": 6698, "duration_s": 86_400, "preload": True, "hosts": ["irc.example.org"]}
    }

    def offered(self, *, tls: bool = False, name: bytes | None = None, version: str = " 302") -> str:
        client = self.world.connect(tls=tls)
        if tls:
            client.transport._tlsConnection = Named(name)  # type: ignore[attr-defined]
        words = " ".join(client.asks(f"CAP LS{version}")).split()
        return next((word for word in words if word.startswith("sts")), "")

    def test_policy(self) -> None:
        """In plain text where to go; by TLS, under a name that is meant, how long to remember it."""
        self.assertEqual(self.offered(), "sts=port=6698")
        self.assertEqual(self.offered(tls=True, name=b"IRC.example.org"), "sts=duration=86400,preload")
        self.assertEqual(self.offered(tls=True, name=b"other.example.org"), "")
        self.assertEqual(self.offered(tls=True), "")
        self.assertEqual(self.offered(version=""), "")

    def test_websocket(self) -> None:
        """Who came over WebSocket cannot go to a port that speaks IRC; a certificate is not asked for there either."""
        client = self.world.connect()
        client.session.listener = ListenerInfo("ws", False, True)
        self.assertNotIn("sts=", " ".join(client.asks("CAP LS 302")))
        client = self.world.connect(tls=True)
        client.session.listener = ListenerInfo("wss", True, True)
        client.transport._tlsConnection = Named(b"irc.example.org")
        listed = " ".join(client.asks("CAP LS 302"))
        self.assertIn("sts=duration=86400,preload", listed)
        self.assertNotIn("EXTERNAL", listed)

    def test_cannot_be_asked_for(self) -> None:
        """It has no use but its value."""
        client = self.world.connect()
        client.sends("CAP LS 302")
        self.assertIn(" NAK ", client.asks("CAP REQ sts")[0])

    def test_switched_off(self) -> None:
        """It is never taken away by CAP DEL: the policy ends by a duration of 0."""
        client = self.world.connect()
        client.sends("CAP LS 302")
        client.lines()
        self.world.server.use_config(make_config())
        self.assertReceives(client, ":irc.test CAP * NEW :sts=duration=0")
