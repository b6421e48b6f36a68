"""Lines that a client might send, made from the usage that HELP shows: `KICK <channel>{,<channel>} <nick> [<reason>]`.

A command that is added tomorrow is part of it at once; what its usage does not say is in TEMPLATES.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from slircd.commands import families as families  # fills the registry
from slircd.commands.registry import COMMANDS
from slircd.services.directory import SERVICES
from slircd.wire.capabilities import CAPABILITIES
from slircd.wire.modes import CHANNEL_MODES, USER_MODES
from tests.fuzz import odd
from tests.fuzz.choices import Choices

LEFT_OUT = frozenset({"DIE"})
"""Commands that end the run."""

PASSWORDS = ["password1", "password2", "sesame", "x"]
NICKS = ["ann", "bob", "eve", "Ann", "zoe[", "é", "ann_"]
CHANNELS = ["#a", "#b", "#A", "#c,d", "#é", "#" + "x" * 40]
MASKS = ["*!*@*", "ann!*@*", "*!*@192.0.2.0/24", "*@192.0.2.1", "~m:bob", "~t:1:ann", "~a:ann", "~U", "~n:~a:ann", "~r:R*",
         "*!*@*.x", "~t:0:x", "~z", "~c:#a", "~m:~m:x", "**!?@*", "192.0.2.3", "::/0", "2001:db8::/32", "e*@*"]  # fmt: skip
TEXTS = ["hello", "two words", "\x01ACTION waves\x01", "\x01VERSION\x01", "\x02bold\x0304red", "", "spam", "!x", ":-)", "é" * 200,
         "x" * 460, "\x01", " ", "\U0001f600 \u200b", "a\u0308" * 60]  # fmt: skip
WORDS: Mapping[str, Sequence[str]] = {
    "text": TEXTS, "reason": TEXTS, "message": TEXTS, "topic": TEXTS, "realname": TEXTS, "real name": TEXTS,
    "server": ["irc.test", "*", "services.test", "nosuch.test", "ann"], "location": ["irc.test"],
    "duration": ["1", "1d", "30s", "0", "2w", "x", "99999999d"], "time": ["-30s", "-1d", "2025-06-15", "now", "x"],
    "since": ["-1m", "2025-06-15"], "number": ["1", "2", "0", "-1", "50", "x"], "count": ["1", "-1", "x"],
    "limit": ["0", "1", "10", "100", "999", "-1", "x"], "flags": ["AOP", "VOP", "+F", "-*", "+oO", "=b", "+q", "x"],
    "changes": ["AOP", "VOP", "+F", "-*", "+oO", "=b", "SOP", "-F"], "setting": ["GUARD", "MLOCK", "KEEPTOPIC", "FOUNDER",
    "HISTORY", "PRIVATE", "RESTRICTED", "SECURE", "ENTRYMSG", "URL", "SUCCESSOR", "x"],
    "value": ["ON", "OFF", "+m-l", "+k x", "ann", "JOINED", "", "text of some length", "+nt-s"],
    "regular expression": ["spam", "(a+)+$", "[", "\\d{3}", "^h"], "user@host": ["*@192.0.2.2", "ann@*", "*@*", "eve@host"],
    "address or network": ["192.0.2.3", "192.0.2.0/28", "2001:db8::/32", "x", "0.0.0.0/0"], "real name glob": ["R*", "*"],
    "pattern": ["*", "a*", "#*", "?"], "query": list("uoklmcPtpx"), "key": ["k", "key", "x" * 30, ","], "email": ["a@x.example"],
    "e-mail": ["a@x.example", "*", "x"], "code": ["123456", "x"], "fingerprint": ["a" * 64, "x"], "subject": ["JOIN", "SNOMASKS"],
    "name": ["root", "nosuch", "welcome"], "character": ["Bard", "x y", "*"], "capabilities": ["sasl", "-batch", "nosuch"],
    "username": ["u", "~x", "a@b", ""], "user name": ["u", "~u", "!"], "host": ["a.host", "x", "vanity/ann", "-", "1.2.3.4"],
    "hostname": ["h.example.org"], "gateway": ["gw"], "address": ["198.51.100.4", "::1", "x"], "options": [":secure", "x=y"],
    "mechanism": ["PLAIN", "SCRAM-SHA-256", "EXTERNAL"], "token": ["x", "y" * 300], "fields": ["tcuhnfar", "%"], "command": ["HELP"],
    "subcommand": ["x"], "private reason": ["why"], "string": ["x"], "new name": [*CHANNELS, "nochannel"], "reference": ["1", "2", ""],
    "base64": [b64encode(f"\0{nick}\0{word}".encode()).decode() for nick in ("ann", "bob") for word in PASSWORDS[:2]],
    "server-time": ["2025-06-15T15:06:40.000Z", "2030-01-01T00:00:00.000Z", "x"], "condition": [">1", "<5", "C<10", "T>1", "U<2"],
}  # fmt: skip

TEMPLATES = [
    "MODE <channel> <modes> <parameter> <parameter> <parameter>", "MODE <channel> +<prefix> <nick>", "MODE <channel> -<prefix> <nick>",
    "MODE <channel> <list> <mask>", "MODE <nick> <own modes> <snomask>", "MODE <channel> b", "MODE <nick> +s <snomask>",
    "CHATHISTORY LATEST <target> <point> <limit>", "CHATHISTORY BEFORE <target> <point> <limit>",
    "CHATHISTORY AFTER <target> <point> <limit>", "CHATHISTORY AROUND <target> <point> <limit>",
    "CHATHISTORY BETWEEN <target> <point> <point> <limit>", "CHATHISTORY TARGETS <point> <point> <limit>",
    "METADATA <subject of metadata> SET <metadata key> :<text>", "METADATA <subject of metadata> GET <metadata key> <metadata key>",
    "METADATA <subject of metadata> LIST", "METADATA <subject of metadata> CLEAR", "METADATA * SUB <metadata key> <metadata key>",
    "METADATA * UNSUB <metadata key>", "METADATA * SUBS", "METADATA <channel> SYNC", "METADATA <channel> SET <metadata key>",
    "BATCH +1 draft/multiline <target>", "BATCH -1", "BATCH +2 draft/multiline <channel>", "CAP REQ :<capability> <capability>",
    "CAP REQ :-<capability>", "CAP LS 302", "PRIVMSG NickServ :<service command>", "NS <service command>", "CS <channel command>", "CS <channel command>",
    "PRIVMSG ChanServ :<channel command>", "NS IDENTIFY <nick> <password>", "NS REGISTER <password>", "CS REGISTER <channel>",
    "OPER root sesame", "OPER root sesame", "PRIVMSG *playback :PLAY <target> 0", "PRIVMSG *playback :LIST", "JOIN <channel>",
    "JOIN <channel>", "PRIVMSG <channel> :<text>", "PRIVMSG <nick> :<text>", "NOTICE <channel> :<text>", "TAGMSG <channel>",
    "PRIVMSG @<channel> :<text>", "PRIVMSG $* :<text>", "NICK <nick>", "AWAY :<text>", "AWAY", "TOPIC <channel> :<text>",
    "KICK <channel> <nick> :<text>", "INVITE <nick> <channel>", "RENAME <channel> <channel> :<text>", "REDACT <target> <msgid> :<text>",
    "NS SET ALWAYS-ON ON", "NS SET MULTICLIENT ON", "NS SET ENFORCE ON", "NS SET AUTOREPLAY-LINES 5", "NS GROUP", "NS LOGOUT",
    "NS SET <option> <value>", "CS SET <channel> <setting> <value>", "CS FLAGS <channel> <nick> <changes>",
    "CS ACCESS <channel> ADD <nick> AOP", "CS AKICK <channel> ADD <mask> <reason>", "CS RESTORE <channel> -30s CONFIRM",
    "SILENCE +<mask>", "MONITOR + <nick>,<nick>", "MONITOR - <nick>", "MONITOR C", "MONITOR L", "MONITOR S", "WHO <channel> %<fields>",
    "KLINE FORCE <duration> <user@host> :<text>", "SHUN FORCE <user@host> :<text>", "FILTER ADD block <regular expression> :<text>",
    "WHO <mask> o", "USERHOST <nick> <nick>", "SAJOIN <nick> <channel>", "SAMODE <channel> <modes> <nick> <mask>",
    "RELAYMSG <channel> <nick>/x :<text>", "MARKREAD <target> timestamp=<server-time>", "AUTHENTICATE PLAIN", "AUTHENTICATE <base64>",
    "REGISTER * * <password>", "SETNAME :<text>", "PART <channel> :<text>", "VHOST <nick> <host>", "REHASH", "LIST <condition>",
    "STATS <query>", "NAMES <channel>", "WHOIS <nick>", "MODE <channel>", "PING <token>",
]  # fmt: skip
OPTIONS = [
    "PASSWORD",
    "EMAIL",
    "HIDEMAIL",
    "PRIVATE",
    "NOHISTORY",
    "NEVEROP",
    "ALWAYS-ON",
    "MULTICLIENT",
    "AUTO-AWAY",
    "x",
]
METADATA_KEYS = ["url", "avatar", "x.y/z", "Bad", "", "a" * 40]
SNOMASKS = ["+cdfknp", "-c", "+X", "*"]

_TOKEN = re.compile(r"<[^<>]*>|[\[\]{}|]|[^<>\[\]{}|]+")


@cache
def usages() -> list[str]:
    """The usage of each command, and of each command of the services."""
    found = [entry.help.partition("\n")[0] for name, entry in sorted(COMMANDS.items()) if name not in LEFT_OUT]
    for service in SERVICES.values():
        lines = [entry.help.partition("\n")[0] for entry in service.commands.values()]
        found += [f"{'NS' if service.nick == 'NickServ' else 'CS'} {line}" for line in sorted(set(lines))]
    return [usage.partition("  (")[0] for usage in found]


class Lines:
    """Makes lines for a world: its nicks, channels and messages are among what is named."""

    def __init__(self, choices: Choices, world: Any) -> None:
        self._choices = choices
        self.world = world
        self.msgids: list[str] = []
        """Those that were seen, the newest last."""

    def line(self) -> str:
        """Any line."""
        choices = self._choices
        kind = choices.number(16)
        if kind < 10:
            text = self._expand(choices.pick(TEMPLATES))
        elif kind < 14:
            text = self._expand(self._alternative(choices.pick(usages())))
        elif kind == 14:
            words = [odd.text(choices) for _ in range(choices.number(5))]
            text = " ".join([choices.pick(sorted(COMMANDS.keys() - LEFT_OUT)), *words])
        else:
            text = choices.text(60)
        return self._tags() + re.sub("[\r\n]", " ", text)

    def _alternative(self, usage: str) -> str:
        """One of the forms between bars; all but the first leave out the command."""
        forms = [""]
        depth = 0
        for character in usage:
            depth += (character in "[{<") - (character in "]}>")
            if character == "|" and depth == 0:
                forms.append("")
            else:
                forms[-1] += character
        form = self._choices.pick(forms).strip()
        words = usage.split()
        head = " ".join(words[:2]) if words[0] in ("NS", "CS") else words[0]
        return form if form.startswith(words[0]) else f"{head} {form}"

    def _expand(self, usage: str) -> str:
        tokens = _TOKEN.findall(usage)
        text, _ = self._sequence(tokens, 0)
        return text

    def _sequence(self, tokens: list[str], at: int) -> tuple[str, int]:
        """What the tokens from `at` on stand for, up to a bracket that closes."""
        choices = self._choices
        text = ""
        while at < len(tokens) and tokens[at] not in ("]", "}"):
            token = tokens[at]
            if token in ("[", "{"):
                inner, end = self._sequence(tokens, at + 1)
                if choices.number(2):
                    text += inner
                    if token == "{" and choices.number(3) == 0:
                        text += inner
                at = end + 1
                continue
            if token == "|":
                if choices.number(2):
                    text = ""
            elif token.startswith("<"):
                text += self._word(token[1:-1], last=at == len(tokens) - 1)
            else:
                text += token
            at += 1
        return text, at

    def _word(self, name: str, *, last: bool) -> str:
        choices = self._choices
        if choices.chance(10):
            return odd.text(choices)
        if " | " in name:
            name = choices.pick(name.split(" | "))
        elif " or " in name and name not in WORDS:
            name = choices.pick(name.split(" or "))
        found = self._value(name)
        # Mostly as a client sends it: a text with spaces behind a colon.
        return f":{found}" if last and (" " in found or not found) and choices.number(8) else found

    def _value(self, name: str) -> str:
        choices, state = self._choices, self.world.state
        # Mostly what is there, and few of it, so that people meet.
        if name == "channel":
            there = [channel.name for channel in state.channels.values()]
            return choices.pick(CHANNELS) if not there or choices.number(8) == 0 else choices.pick(there[:4])
        if name in ("nick", "account"):
            there = [user.nick for user in state.users.values() if not user.is_service or choices.number(8) == 0]
            return choices.pick(NICKS) if not there or choices.number(8) == 0 else choices.pick(there)
        if name in ("nickname", "new nick"):
            return choices.pick(NICKS)
        if name in ("target", "subject of metadata"):
            return self._value(choices.pick(["channel", "nick"])) if choices.number(6) else "*"
        if name in ("mask", "user@host"):
            return choices.pick(MASKS)
        if name == "password":
            return choices.pick(PASSWORDS)
        if name == "msgid":
            return choices.pick([*self.msgids[-8:], "x", "1-run-0", f"{choices.number(400):x}-run-0"])
        if name == "point":
            forms = [f"msgid={self._value('msgid')}", f"timestamp={self._value('server-time')}", "*"]
            return choices.pick(forms)
        if name == "modes":
            return self._modes(CHANNEL_MODES.letters)
        if name == "own modes":
            return self._modes(USER_MODES.letters)
        if name == "prefix":
            return choices.pick("qaohv")
        if name == "list":
            return choices.pick("+-") + choices.pick("beIq")
        if name == "parameter":
            return self._value(choices.pick(["nick", "mask", "number", "key"])) if choices.number(4) else "3:10"
        if name == "snomask":
            return choices.pick(SNOMASKS)
        if name == "metadata key":
            return choices.pick(METADATA_KEYS)
        if name == "option":
            return choices.pick(OPTIONS)
        if name == "capability":
            return choices.pick([*CAPABILITIES, "nosuch"])
        if name in ("service command", "channel command"):
            prefix = "NS " if name == "service command" else "CS "
            usage = choices.pick([usage for usage in usages() if usage.startswith(prefix)])
            return self._expand(self._alternative(usage)).removeprefix(prefix)
        return choices.pick(WORDS.get(name, [name]))

    def _modes(self, letters: str) -> str:
        choices = self._choices
        return "".join(choices.pick("+-") + choices.pick(letters) for _ in range(1 + choices.number(4)))

    def _tags(self) -> str:
        """The tags in front, if there are any."""
        choices = self._choices
        if not choices.chance(40):
            return ""
        tags = [
            choices.pick(["label=a", "label=", f"label={'l' * 70}", "batch=1", "batch=2;draft/multiline-concat", "+typing=active",
                          f"+draft/reply={self._value('msgid')}", "+draft/react=\\:)", "x=y", "+a\\s=b", "=", "+x=" + "y" * 600])
            for _ in range(1 + choices.number(3))
        ]  # fmt: skip
        return f"@{';'.join(tags)} "
