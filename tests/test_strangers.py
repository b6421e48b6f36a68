"""What a stranger learns: every query, asked by somebody who may know nothing, compared with what the rules allow."""

from __future__ import annotations

import re
from typing import Any

from slircd.commands.registry import COMMANDS
from slircd.commands.server_info import STATS
from slircd.services.chanserv import chanserv
from slircd.services.nickserv import nickserv
from tests.harness import ServerTestCase, World, make_config
from tests.services.test_accounts import WORD

CAPS = (
    "message-tags batch labeled-response server-time account-tag extended-join away-notify account-notify chghost "
    "multi-prefix userhost-in-names invite-notify extended-monitor draft/metadata-2 draft/chathistory "
    "draft/event-playback draft/read-marker draft/message-redaction draft/channel-rename draft/multiline"
)

ABOUT_CHANNELS = (
    "MODE {0}",
    "MODE {0} b",
    "MODE {0} I",
    "MODE {0} +o eve",
    "MODE {0} +q",
    "TOPIC {0}",
    "TOPIC {0} :mine",
    "NAMES {0}",
    "LIST {0}",
    "LIST {0}*",
    "WHO {0}",
    "WHO {0} %tcuihsnfdlaor,7",
    "PART {0}",
    "PART {0} :bye",
    "KICK {0} ann",
    "KICK {0} eve",
    "INVITE eve {0}",
    "INVITE ann {0}",
    "KNOCK {0}",
    "KNOCK {0} :let me in",
    "RENAME {0} #elsewhere",
    "RELAYMSG {0} far/away :hello",
    "WALLOPS {0}",
    "PRIVMSG {0} :hello",
    "PRIVMSG @{0} :hello",
    "NOTICE {0} :hello",
    "@+typing=active TAGMSG {0}",
    "METADATA {0} LIST",
    "METADATA {0} GET url",
    "METADATA {0} SET url :x",
    "METADATA {0} CLEAR",
    "METADATA {0} SYNC",
    "CHATHISTORY LATEST {0} * 10",
    "CHATHISTORY BEFORE {0} timestamp=2030-01-01T00:00:00.000Z 10",
    "CHATHISTORY AROUND {0} msgid=1-run-0 10",
    "CHATHISTORY TARGETS timestamp=2000-01-01T00:00:00.000Z timestamp=2030-01-01T00:00:00.000Z 50",
    "MARKREAD {0}",
    "REDACT {0} 5-run-0 :mine",
    "REDACT {0} {1} :mine",
    "PRIVMSG *playback :PLAY {0} 0",
    "PRIVMSG *playback :LIST",
    "NPC {0} bilbo x",
    "NPCA {0} bilbo x",
    "SCENE {0} x",
    *(
        f"CS {words}"
        for words in (
            "INFO {0}",
            "LIST {0}",
            "LIST *",
            "STATUS {0}",
            "STATUS {0} ann",
            "WHY {0}",
            "WHY {0} ann",
            "FLAGS {0}",
            "FLAGS {0} eve +o",
            "ACCESS {0} LIST",
            *(f"{word} {{0}} LIST" for word in ("VOP", "HOP", "AOP", "SOP")),
            *(f"{word} {{0}} ann" for word in ("VOICE", "HALFOP", "DEOP", "PROTECT", "DEOWNER")),
            "AKICK {0} LIST",
            "AKICK {0} ADD ann",
            "OP {0}",
            "KICK {0} ann",
            "BAN {0} ann",
            "UNBAN {0}",
            "INVITE {0}",
            "CLEAR {0} USERS",
            "RECOVER {0}",
            "SYNC {0}",
            "TOPIC {0} mine",
            "SET {0} URL x",
            "SET {0} FOUNDER eve",
            "DROP {0} {0}",
            "REGISTER {0}",
            "HISTORY {0}",
            "RESTORE {0} -1h",
        )
    ),
)
"""What can be asked of a channel by its name ({0}), and with the id of a message that was said there ({1})."""

ABOUT_PEOPLE = (
    "WHO {0}",
    "WHO {0} %tcuihsnfdlaor,7",
    "WHO {0} o",
    "WHOIS {0}",
    "WHOWAS {0}",
    "USERHOST {0}",
    "ISON {0}",
    "MONITOR + {0}",
    "METADATA {0} LIST",
    "METADATA {0} SYNC",
    "CHATHISTORY LATEST {0} * 50",
    "REDACT {0} 1-run-0",
    "MARKREAD {0}",
    "NS INFO {0}",
    "NS LIST {0}",
    "NS SENDPASS {0}",
    "NS GHOST {0}",
    "NS REGAIN {0}",
    "NS RELEASE {0}",
    "NS SAREGISTER {0}x sesame12",
    "KILL {0} :out",
    "AWAY {0}",
    "ACCEPT {0}",
)
"""What can be asked of somebody by name."""

ABOUT_ALL = (
    *("ADMIN", "HELP", "HELPOP", "INFO", "ISUPPORT", "LINKS", "LUSERS", "MAP", "MOTD", "TIME", "TRACE", "VERSION"),
    *("MONITOR S", "NAMES", "LIST", "LIST <1000", "INVITE", "SILENCE", "METADATA * SUB avatar url"),
    *("METADATA *ALL SYNC", "METADATA #hall SYNC", "NS SESSIONS", "NS CLIENTS LIST", "NS CERT LIST"),
)
"""What can be asked without a name."""

SECRETS = ("hushhush", "whispered", "ann@example.org", "198.51.100.", "sesamekey", "Invisible Ivy", "Hidden Hal")
"""What no answer to a stranger may have in it, whatever it asked."""


class Strangers(ServerTestCase):
    config: dict[str, Any] = {
        "history": {"channels": True, "direct": True},
        "cloak": {"enabled": True},
        "limits": {"channels_per_user": 50},
    }

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.client("ann", caps="message-tags", address="198.51.100.1")
        self.ann.sends(f"NS REGISTER {WORD} ann@example.org")
        for name, modes in (("#secret", "+s"), ("#private", "+p"), ("#sunk", "+s"), ("#pit", "+p")):
            self.ann.sends(f"JOIN {name}", f"MODE {name} {modes}", f"TOPIC {name} :hushhush")
            self.ann.sends(f"METADATA {name} SET url :hushhush", f"PRIVMSG {name} :whispered on {name}")
            if name in ("#secret", "#private"):
                self.ann.sends(f"CS REGISTER {name}", f"CS SET {name} ENTRYMSG hushhush")
                self.ann.sends(f"CS SET {name} MLOCK +k sesamekey")
        self.ann.sends("JOIN #open", "CS REGISTER #open", "CS SET #open MLOCK +k sesamekey")
        self.ann.sends("JOIN #hall", "MODE #hall +u")
        self.bob = self.client("bob", address="198.51.100.2")
        self.bob.sends("PRIVMSG ann :whispered to ann", "JOIN #hall")
        self.ann.sends("PRIVMSG bob :whispered to bob")
        self.ivy = self.client("ivy", address="198.51.100.3")
        self.ivy.sends("SETNAME :Invisible Ivy", "MODE ivy +i", "JOIN #cafe", f"NS REGISTER {WORD}")
        self.ivy.sends("METADATA * SET avatar :https://ivy.example")
        self.hal = self.client("hal", address="198.51.100.4")
        self.hal.sends("SETNAME :Hidden Hal", "MODE hal +i", "JOIN #hall", "METADATA * SET avatar :https://hal.example")
        self.said = next(
            f"{row.id:x}-{row.session_id[:10]}" for row in self.world.store.rows if row.target == "#secret"
        )
        self.eve = self.client("eve", caps=CAPS, address="203.0.113.9")
        self.eve.sends(f"NS REGISTER {WORD}", "JOIN #cafe", "PART #cafe", "JOIN #hall")
        self.eve.lines()

    def answers(self, line: str, name: str) -> list[str]:
        """What eve is told, without names of channels and what changes from one question to the next."""
        found = self.eve.asks(line.format(name, self.said))
        return [re.sub(r"time=[^; ]*;?|batch=\S+|BATCH [+-]\S+", "", text).replace(name, "#X") for text in found]

    def test_a_hidden_channel_is_like_none(self) -> None:
        """Whatever is asked of a hidden channel, the answer is the one that a channel gets that is not there."""
        for line in ABOUT_CHANNELS:
            for name in ("#secret", "#private", "#sunk", "#pit"):
                with self.subTest(line, channel=name):
                    self.assertEqual(self.answers(line, name), self.answers(line, "#nowhere"))

    def test_no_secret_is_told(self) -> None:
        """No answer to any query has addresses, e-mail, keys, hidden topics, people, or what others said."""
        people = ("ann", "bob", "ann,bob", "*", "ann*", "*.example.org", "198.51.*", "0")
        queries = [line.format(name, self.said) for line in ABOUT_CHANNELS for name in ("#open", "#secret", "#cafe")]
        queries += [line.format(who) for who in people for line in ABOUT_PEOPLE]
        queries += [f"STATS {letter}" for letter in (*STATS, "?")] + list(ABOUT_ALL)
        for number in range(1, len(self.world.store.rows) + 1):
            queries += [f"REDACT {who} {number:x}-run-0" for who in ("ann", "bob")]
        for query in queries:
            told = "\n".join(self.eve.asks(query))
            for secret in SECRETS:
                self.assertNotIn(secret, told, query)

    def test_who_hides_is_not_listed(self) -> None:
        """Invisible users, and ordinary members of an auditorium, are in no list for those who may not see them."""
        self.eve.sends("METADATA * SUB avatar")
        for query in (
            "NAMES #cafe",
            "WHO #cafe",
            "WHO *",
            "WHO *.9",
            "WHO #hall",
            "NAMES #hall",
            "METADATA #cafe SYNC",
            "METADATA #hall SYNC",
            "METADATA *ALL SYNC",
        ):
            told = " ".join(self.eve.asks(query))
            for nick in ("ivy", "hal"):
                self.assertIsNone(re.search(rf"\b{nick}\b", told.replace("ivy.example", "")), f"{query}: {told}")
        self.ivy.sends("NICK ivory")
        self.assertNotIn("ivory", " ".join(self.eve.asks("NS INFO ivy")))
        self.assertIn("ivory", " ".join(self.ivy.asks("NS INFO ivy")))

    def test_members_are_told(self) -> None:
        """What strangers are not told, those whom it concerns are: the test above would not pass by silence."""
        self.assertIn("hushhush", " ".join(self.ann.asks("TOPIC #secret")))
        self.assertIn("hushhush", " ".join(self.ann.asks("CS INFO #secret")))
        self.ivy.asks("CAP REQ :batch draft/metadata-2", "METADATA * SUB avatar")
        self.assertIn("ivy.example", " ".join(self.ivy.asks("METADATA #cafe SYNC")))

    def test_a_kick_from_an_auditorium_is_not_played_back(self) -> None:
        """History shows who was kicked from an auditorium to those alone who saw it."""
        self.ann.sends("KICK #hall hal :out")
        self.assertNotIn("hal", " ".join(self.eve.lines()))
        self.assertNotIn(" KICK ", " ".join(self.eve.asks("CHATHISTORY LATEST #hall * 50")))


OWN = {
    *("AUTHENTICATE", "BATCH", "CAP", "NICK", "OPER", "PASS", "PING", "PONG", "QUIT", "STATS", "USER", "VERIFY"),
    *("CHANSERV", "JOIN", "NICKSERV", "REGISTER", "SETNAME", "WEBIRC"),
}
"""What a client does and tells of itself (to JOIN is to learn whether there is a channel, as everywhere); STATS, which is asked letter by letter, and the long names of NS and CS."""

OF_NICKSERV = {"DROP", "GROUP", "IDENTIFY", "LOGOUT", "REGISTER", "RESETPASS", "SAREGISTER", "SET", "UNGROUP", "VERIFY"}
OF_CHANSERV = {"DEHALFOP", "DEOP", "DEPROTECT", "DEVOICE", "FLAGLIST", "OWNER"}
"""What one tells NickServ of oneself, or as an operator; what ChanServ answers with a table of its own, or as the ones beside it."""


def test_nothing_is_left_out() -> None:
    """A new command, for people who are no operators, is asked above, or is no question about others."""
    asked = [line.split(" ") for line in (*ABOUT_CHANNELS, *ABOUT_PEOPLE, *ABOUT_ALL)]
    commands = {words[words[0].startswith("@")] for words in asked}
    assert {name for name, each in COMMANDS.items() if each.privilege is None} - commands - OWN == set()
    for prefix, service, own in (("NS", nickserv, OF_NICKSERV), ("CS", chanserv, OF_CHANSERV)):
        words = {words[1] for words in asked if words[0] == prefix}
        assert {each.name for each in service.commands.values()} - words - own == set()


def test_a_world_with_other_settings_is_as_silent() -> None:
    """Without cloaks a stranger sees hosts, which is what the operator chose, and still no secret of a channel."""
    world = World(config=make_config())
    ann = world.client("ann")
    ann.sends("JOIN #secret", "MODE #secret +s", f"NS REGISTER {WORD}", "CS REGISTER #secret")
    ann.sends("CS SET #secret MLOCK +k sesamekey")
    assert "sesamekey" not in " ".join(world.client("eve").asks("CS INFO #secret", "CS LIST *", "MODE #secret"))
