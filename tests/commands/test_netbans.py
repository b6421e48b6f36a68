"""Network bans, filters, block lists, server notices."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.names import dns, error

from slircd.config.sections import Dnsbl
from slircd.network.netbans import LOOKED_AT
from slircd.rules.netbans import KINDS, is_wide, parse_duration
from slircd.security.dnsbl import BlockLists, query_name
from slircd.security.filters import FilterSet, check_pattern
from slircd.security.netbans import BanTables, HostTable
from slircd.state.model import Filter, NetworkBan
from slircd.wire.masks import matches_glob, matches_mask
from tests.harness import FakeClient, ServerTestCase, TurnClock, World, make_config, words_of


class Lines(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = self.oper("root", address="203.0.113.1")

    def assertKeptOut(self, address: str, nick: str = "new") -> None:
        client = self.world.connect(address)
        client.sends(f"NICK {nick}", f"USER {nick} 0 * :Real {nick}")
        self.assertIn(" 465 ", " ".join(client.lines()))
        self.assertTrue(client.is_closed)

    def notices(self, line: str) -> str:
        return " ".join(self.root.asks(line))

    def test_each_kind(self) -> None:
        """Whom a line hits is disconnected and kept out; the UN form lets them in again; events say by whom."""
        cases = {
            "KLINE": "*@198.51.100.7",
            "GLINE": "*@198.51.*.7",
            "DLINE": "198.51.100.0/24",
            "ZLINE": "198.51.100.7",
            "RLINE": "Real new",
        }
        for verb, mask in cases.items():
            with self.subTest(verb):
                victim = self.client("new", address="198.51.100.7")
                bystander = self.client("other", address="192.0.2.9")
                word = mask.replace(" ", "?")
                types = self.types_after(
                    lambda verb=verb, word=word: self.root.sends(f"{verb} FORCE {word} spamming|seen on #c")
                )
                self.assertEqual(types, [f"oper.{verb.lower()}", "user.disconnect"])
                self.assertTrue(victim.is_closed)
                self.assertFalse(bystander.is_closed)
                self.assertIn("Banned: spamming", victim.lines()[-1])
                self.assertKeptOut("198.51.100.7")
                self.assertIn("seen on #c", self.notices("STATS k"))
                self.root.sends(f"UN{verb} {word}")
                bystander.sends("QUIT")
                self.client("new", address="198.51.100.7").sends("QUIT")
                self.assertEqual(self.world.state.bans, {})

    def test_thousands_in_turns(self) -> None:
        """A line that hits many keeps them out at once and disconnects one a turn; others are served between."""
        self.world = World(config=make_config({"throttle": {"enabled": False}}), clock=TurnClock())
        root, bystander = self.oper("root", address="203.0.113.1"), self.client("other", address="192.0.2.9")
        many = [self.client(f"u{number}", address="198.51.100.7") for number in range(40)]
        root.protocol.dataReceived(b"GLINE *@198.51.100.7 :flood\r\n")
        self.assertEqual(sum(each.uid in self.world.state.users for each in many), 37)
        self.assertKeptOut("198.51.100.7")
        left = sum(each.uid in self.world.state.users for each in many)
        self.assertGreater(left, 20)
        bystander.protocol.dataReceived(b"PING 1\r\n")
        self.assertReceives(bystander, ":irc.test PONG irc.test :1")
        self.assertEqual(sum(each.uid in self.world.state.users for each in many), left - 1)
        while self.world.server.turns.waiting:
            self.world.turn()
        self.assertEqual(len(self.events_of("user.disconnect")), 40)
        self.assertTrue(all(each.is_closed for each in many))
        self.assertEqual({each.actor_uid for each in self.events_of("user.disconnect")}, {root.uid})
        self.assertFalse(bystander.is_closed)

    def test_taken_off_again(self) -> None:
        """A line that was a mistake stops disconnecting when it is removed."""
        self.world = World(config=make_config({"throttle": {"enabled": False}}), clock=TurnClock())
        root = self.oper("root", address="203.0.113.1")
        many = [self.client(f"u{number}", address="198.51.100.7") for number in range(20)]
        root.protocol.dataReceived(b"GLINE *@198.51.100.7 :oops\r\n")
        for _ in range(5):
            self.world.turn()
        root.sends("UNGLINE *@198.51.100.7")
        left = [each for each in many if each.uid in self.world.state.users]
        self.assertGreater(len(left), 5)
        for _ in range(30):
            self.world.turn()
        self.assertFalse(any(each.is_closed for each in left))

    def test_operator_leaves(self) -> None:
        """Who asks whom a line would hit and leaves before the answer sets nothing."""
        self.world = World(config=make_config({"throttle": {"enabled": False}}), clock=TurnClock())
        root = self.oper("root", address="203.0.113.1")
        for number in range(LOOKED_AT):
            self.client(f"u{number}", address="198.51.100.7")
        root.protocol.dataReceived(b"GLINE *@198.51.100.8 :spam\r\n")
        root.disconnects()
        for _ in range(5):
            self.world.turn()
        self.assertEqual(self.world.state.bans, {})

    def test_shun(self) -> None:
        """The shunned may leave, and nothing else."""
        bob, eve = self.client("bob", address="198.51.100.7"), self.client("eve")
        self.root.sends("SHUN *@198.51.100.7 noise")
        bob.sends("PRIVMSG eve :hello", "JOIN #c", "NICK other")
        self.assertEqual(eve.lines(), [])
        self.assertEqual(self.world.state.users[bob.uid].nick, "bob")
        self.assertEqual(bob.codes("PING x"), ["PONG"])
        self.root.sends("UNSHUN *@198.51.100.7")
        bob.sends("PRIVMSG eve :hello")
        self.assertEqual(len(eve.lines()), 1)

    def test_expiry(self) -> None:
        """A line with a duration is removed by the server, across a restart, too."""
        self.root.sends("KLINE 1h30m *@198.51.100.7 spam", "GLINE 2h *@198.51.100.8 spam")
        self.world.clock.advance(5399)
        self.assertKeptOut("198.51.100.7")
        self.world.clock.advance(2)
        self.client("new", address="198.51.100.7")
        [event] = self.events_of("oper.unkline")
        self.assertEqual(event.actor_uid, "server")
        self.world.server.stopService()
        self.world.clock.advance(3600)
        self.world = self.world.restart(crash=True)
        self.assertEqual(self.world.state.bans, {})

    def test_survive_restart(self) -> None:
        """Lines are enforced by the next run."""
        self.root.sends("KLINE *@198.51.100.7 spam", "FILTER ADD block spamword no spam")
        self.world = self.world.restart(crash=True)
        self.assertKeptOut("198.51.100.7")
        self.assertIsNotNone(self.world.server.bans.filters.match("a spamword here"))

    def test_dry_run_and_force(self) -> None:
        """TEST says whom it would hit; wide ones, and such as hit the operator, need FORCE."""
        self.client("bob", address="198.51.100.7")
        self.assertIn("would hit 1 users: bob", self.notices("KLINE TEST *@198.51.100.7"))
        self.assertEqual(self.world.state.bans, {})
        for line in (
            "KLINE *@* x",
            "KLINE *@*.*.* x",
            "DLINE 0.0.0.0/0 x",
            "DLINE 198.0.0.0/8 x",
            "RLINE * x",
            "KLINE *@203.0.113.1 x",
            "ZLINE 203.0.113.0/24 x",
            "GLINE *@*.de x",
        ):
            with self.subTest(line):
                self.assertIn("FORCE", self.notices(line))
                self.assertEqual(self.world.state.bans, {})
        self.root.sends("KLINE FORCE *@*.de x")
        self.assertEqual(list(self.world.state.bans["kline"]), ["*@*.de"])

    def test_mistakes(self) -> None:
        """Bad masks, repetitions, missing reasons, lines that are not there."""
        self.root.asks("KLINE *@198.51.100.7 spam")
        for line, answer in {
            "KLINE *@198.51.100.7 spam": "already",
            "KLINE nick!u@h.x spam": "without a nick",
            "DLINE nonsense spam": "An address or network",
            "UNKLINE *@198.51.100.9": "no such line",
            "KLINE *@198.51.100.8": "461",
            "KLINE 1d": "461",
            "FILTER ADD block ( x": "Not a usable expression",
            "FILTER ADD block .* x": "matches every message",
            "FILTER ADD eat x y": "One of block",
            "FILTER DEL nosuch": "No such filter",
            "FILTER WHAT": "461",
        }.items():
            with self.subTest(line):
                self.assertEqual(self.types_after(lambda line=line: self.root.sends(line)), [])
                self.assertIn(answer, " ".join(self.root.lines()))
        self.assertRefused(self.client("bob"), "KLINE *@1.2.3.4 x", "481")

    def test_operators_are_not_disconnected(self) -> None:
        """A line that hits an operator keeps nobody's nose from the keyboard."""
        other = self.oper("other", address="198.51.100.7")
        self.root.sends("KLINE *@198.51.100.7 spam")
        self.assertFalse(other.is_closed)

    def test_ban_on_the_cloak(self) -> None:
        """Staff may ban what they see: the cloaked host."""
        cloak = self.world.server.cloak.cloak("198.51.100.7")
        self.root.sends(f"KLINE *@{cloak} spam")
        self.assertKeptOut("198.51.100.7")


class Filters(ServerTestCase):
    def test_actions(self) -> None:
        """block refuses, warn only tells staff, kill ends; staff hear of each, operators are exempt."""
        root = self.oper("root")
        root.asks("MODE root +s s")
        ann, bob = self.on_channel("#c", "@ann", "bob", caps="standard-replies")
        root.sends(
            "FILTER ADD block buy.+pills no pills", "FILTER ADD warn hmm suspicious", "FILTER ADD kill worm\\d+ worms"
        )
        root.lines()
        self.assertIn("MESSAGE_BLOCKED", bob.asks("PRIVMSG #c :BUY cheap PILLS")[0])
        self.assertEqual(ann.lines(), [])
        bob.sends("PRIVMSG #c :hmm", "NOTICE ann :buy my pills")
        self.assertEqual(len(ann.lines()), 1)
        self.assertEqual(len(root.lines()), 3)
        bob.sends("PART #c :buy pills")
        self.assertReceives(ann, ":bob!~bob@192.0.2.1 PART #c")
        bob.sends("PRIVMSG ann :worm42")
        self.assertTrue(bob.is_closed)
        self.assertIn("3 filters", root.asks("FILTER LIST")[-1])
        self.assertEqual(root.codes("PRIVMSG ann :buy pills"), [])
        root.sends("FILTER DEL hmm")
        self.assertEqual(len(self.world.state.filters), 2)

    def test_services_are_not_filtered(self) -> None:
        """What is said to a service is nobody's business."""
        root = self.oper("root")
        root.sends("FILTER ADD kill .*password.* x")
        ann = self.client("ann")
        ann.sends("PRIVMSG NickServ :IDENTIFY password1")
        self.assertFalse(ann.is_closed)


class ServerNotices(ServerTestCase):
    def test_letters(self) -> None:
        """+s with letters, for operators only; each sort is heard by who wants it; -s and -o end it."""
        root = self.oper("root")
        self.assertIn("MODE root +s bcfknops", root.asks("MODE root +s")[0])
        self.assertIn("MODE root +s cko", root.asks("MODE root +s -bfnps")[0])
        ann = self.client("ann")
        self.assertIn("*** ann!~ann@192.0.2.1 has come", root.lines()[0])
        ann.sends("NICK anna")
        self.assertEqual(root.lines(), [])
        ann.asks("OPER root wrong")
        self.assertIn("failed to become operator root", root.lines()[0])
        root.sends("KILL anna :x")
        self.assertIn("*** root killed anna: x", " ".join(root.lines()))
        root.sends("MODE root -o")
        self.assertEqual(self.world.state.users[root.uid].snomask, "")
        self.assertEqual(self.types_after(lambda: root.sends("MODE root +s")), [])


class FakeResolver:
    """Answers as it is told."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.silent = False

    def lookupAddress(self, name: str, timeout: Any = None) -> Deferred[Any]:
        self.asked.append(name)
        if self.silent:
            return Deferred()
        if name not in self.answers:
            return fail(error.DNSNameError(None))
        return succeed(([dns.RRHeader(name, dns.A, payload=dns.Record_A(self.answers[name]))], [], []))


class Blocklists(ServerTestCase):
    def use(self, answers: dict[str, str], **options: Any) -> FakeResolver:
        resolver = FakeResolver(answers)
        lists = [Dnsbl(zone="bl.test", reason="%a is listed", **options)]
        self.world.server.blocklists = BlockLists(lists, resolver, self.world.clock)
        return resolver

    def enter(self, address: str) -> FakeClient:
        client = self.world.connect(address)
        client.sends("NICK new", "USER new 0 * :x")
        return client

    def test_listed(self) -> None:
        """A listed address is turned away with the reason; the answer is remembered; loopback is not asked for."""
        resolver = self.use({"8.8.8.8.bl.test": "127.0.0.2"})
        for _ in range(2):
            client = self.enter("8.8.8.8")
            self.assertIn("8.8.8.8 is listed", " ".join(client.lines()))
            self.assertTrue(client.is_closed)
        self.assertEqual(resolver.asked, ["8.8.8.8.bl.test"])
        self.assertTrue(self.enter("9.9.9.9").uid)
        self.world.clients[-1].sends("QUIT")
        self.assertTrue(self.enter("127.0.0.1").uid)
        self.assertEqual(len(resolver.asked), 2)

    def test_replies_that_count(self) -> None:
        """Only the configured answers, and only those within 127.0.0.0/8."""
        self.use({"8.8.8.8.bl.test": "127.0.0.9", "7.7.7.7.bl.test": "10.0.0.2"}, replies=[2])
        self.assertTrue(self.enter("8.8.8.8").uid)
        self.world.clients[-1].sends("QUIT")
        self.use({"7.7.7.7.bl.test": "10.0.0.2"})
        self.assertTrue(self.enter("7.7.7.7").uid)

    def test_silence_blocks_nobody(self) -> None:
        """Registration waits for the answer, but not for ever."""
        self.use({}).silent = True
        client = self.enter("8.8.8.8")
        self.assertEqual(client.uid, "")
        self.world.clock.advance(6)
        self.world.turn()
        self.assertTrue(client.uid)


def test_query_names() -> None:
    """IPv4 and IPv6 by RFC 5782; private addresses are not asked for."""
    assert query_name("8.8.4.4", "bl.test") == "4.4.8.8.bl.test"
    assert query_name("2600::1", "bl.test") == "1." + "0." * 27 + "0.0.6.2.bl.test"
    assert query_name("10.0.0.1", "bl.test") is query_name("x", "bl.test") is None


HOSTS = st.lists(st.sampled_from(["a", "b", "*", "?", "example", "org"]), min_size=1, max_size=3).map(".".join)
USERS = st.sampled_from(["*", "u", "~u", "?u"])


@given(st.sets(st.tuples(USERS, HOSTS), max_size=8), st.sampled_from(["u", "~u"]), HOSTS)
def test_tables_find_what_a_scan_finds(masks: set[tuple[str, str]], user: str, host: str) -> None:
    """The indexed tables agree with trying every mask, and forget what is removed."""
    host = host.replace("*", "a").replace("?", "b")
    table = HostTable()
    bans = {f"{left}@{right}": NetworkBan(f"{left}@{right}", "", "", "", "") for left, right in masks}
    for mask, ban in bans.items():
        table.add(mask, ban)
    expected = any(matches_mask(f"*!{mask}", "n", user, (host,), "", str.lower) for mask in bans)
    assert (table.find(user, (host,), "") is not None) == expected
    for mask in bans:
        table.remove(mask)
    assert not table


@given(st.sets(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)), max_size=10), st.integers(0, 2**32 - 1))
def test_addresses_by_longest_prefix(networks: set[tuple[int, int]], address: int) -> None:
    """D-lines agree with ipaddress."""
    from ipaddress import ip_address, ip_network

    tables = BanTables(str.lower)
    texts = {str(ip_network((number, prefix), strict=False)) for number, prefix in networks}
    for text in texts:
        tables.add("dline", NetworkBan(text, "", "", "", ""))
    ip = str(ip_address(address))
    found = tables.for_address(ip)
    assert (found is not None) == any(ip_address(ip) in ip_network(text) for text in texts)
    for text in texts:
        tables.remove("dline", text)
    assert tables.for_address(ip) is None


def test_many_lines_stay_fast() -> None:
    """With 100,000 lines a look-up tries a handful of masks, not all of them: counted, not timed."""
    rng = Random(1)
    table = HostTable()
    for number in range(100_000):
        host = rng.choice(
            [f"h{number}.example.org", f"*.net{number}.example", f"10.{number % 250}.{number // 250 % 250}.0/24"]
        )
        mask = f"*@{host}"
        table.add(mask, NetworkBan(mask, "", "", "", ""))
    assert len(list(table._candidates(("h5.net7.example", "x.y.z"), "10.3.2.1"))) < 10
    assert table._others == {}


def test_durations_and_width() -> None:
    """1d12h, 0, and what is none; what is wide."""
    assert parse_duration("1d12h") == 36 * 3600
    assert parse_duration("0") == 0
    assert parse_duration("90") is parse_duration("1y") is parse_duration("*@x") is None
    assert all(is_wide(kind, mask) for kind, mask in (("kline", "*@*"), ("dline", "10.0.0.0/8"), ("rline", "*a*")))
    assert not any(
        is_wide(kind, mask)
        for kind, mask in (
            ("kline", "*@example.org"),
            ("kline", "spammer@*"),
            ("dline", "10.1.0.0/16"),
            ("rline", "spam bot"),
        )
    )
    assert set(KINDS) == {"kline", "gline", "dline", "zline", "rline", "shun"}


def test_filters_take_linear_time() -> None:
    """A pattern that would ruin a backtracking engine is matched at once, and bad ones are explained."""
    filters = FilterSet()
    filters.use([Filter("(a+)+$", "block", "", "", ""), Filter("spam", "warn", "", "", "")])
    assert filters.match("a" * 400 + "!") is None
    assert filters.match("SPAM").action == "warn"
    assert check_pattern("ok") is None
    assert all(check_pattern(bad) for bad in ("(", "", "a|", "x" * 400))
    assert not matches_glob("a", "b")


def test_stats_are_for_staff() -> None:
    """STATS k shows lines with both reasons, to who may."""
    from tests.harness import World

    world = World()
    root = world.oper("root")
    root.sends("KLINE *@example.org public|private")
    assert words_of(root.asks("STATS k"), "216")[0][-1] == "public|private"
    assert world.client("ann").codes("STATS k") == ["481"]


def test_block_list_over_real_dns() -> None:
    """Twisted's own resolver and server on loopback: listed, not listed, and a server that is not there."""
    import subprocess
    import sys

    code = """
import socket
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred, fail, succeed
from twisted.names import client, common, dns, error, server
from slircd.config.sections import Dnsbl
from slircd.security.dnsbl import BlockLists

class Zone(common.ResolverBase):
    def query(self, query, timeout=None):
        if query.name.name == b"8.8.8.8.bl.test":
            return succeed(([dns.RRHeader(query.name.name, dns.A, ttl=60, payload=dns.Record_A("127.0.0.4"))], [], []))
        return fail(error.DomainError(query.name.name))

async def main():
    protocol = dns.DNSDatagramProtocol(server.DNSServerFactory(clients=[Zone()]))
    port = reactor.listenUDP(0, protocol, interface="127.0.0.1")
    resolver = client.Resolver(servers=[("127.0.0.1", port.getHost().port)])
    lists = BlockLists([Dnsbl(zone="bl.test", reason="listed: %a")], resolver, reactor)
    print(await lists.check("8.8.8.8"), await lists.check("9.9.9.9"))
    await port.stopListening()

ensureDeferred(main()).addErrback(print).addBoth(lambda _: reactor.stop())
reactor.run()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "listed: 8.8.8.8 None", done.stderr
