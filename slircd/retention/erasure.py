"""Erasure of somebody: who that was in the log, and what takes the place of each of its texts.

Who is meant is one account, nick or host.  Everybody who was logged in to that account, had that nick or came from that
host is the same person, for as long as its UID lived; nicks, hosts, user and real names of those UIDs are its names.
A nick or a host that others had, too, stays theirs: it is replaced only where the UID says whose it was.  A nick that is registered
to another account is that account's, and not replaced at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from slircd.events import types as ev
from slircd.events.row import Row
from slircd.retention.fields import Kind
from slircd.state.model import ServerState
from slircd.wire.casemap import CASEMAPS

ERASED: Final = "erased"
ERASED_TEXT: Final = "[erased]"
PLACEHOLDER: Final = re.compile(r"erased-([0-9]+)", re.ASCII)
LEAST_WORD: Final = 3
"""Characters of a name that is looked for inside of texts; a shorter one is replaced only where it stands alone."""

NOBODYS: Final = frozenset({"", "*", "localhost", "127.0.0.1", "::1", "services"})
"""Hosts that are no person's."""


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who is to be erased: exactly one of these."""

    account: str = ""
    nick: str = ""
    host: str = ""

    @property
    def kind(self) -> str:
        """Which of them it is."""
        return next(name for name in self.__struct_fields__ if getattr(self, name))

    def words(self) -> str:
        """It, in words, for whoever asked."""
        return f"{self.kind} {getattr(self, self.kind)}"


class Plan(msgspec.Struct, kw_only=True):
    """What becomes what.  It holds exactly what is to be erased, so it never outlives the work."""

    uids: list[str]
    names: dict[str, str]
    """Casefolded nicks and account names to placeholders, wherever they stand."""
    own: dict[str, str]
    """The same for nicks that others have, too: only where the UID says whose it was."""
    hosts: dict[str, str]
    """Hosts and addresses in lower case."""
    own_hosts: dict[str, str] = {}
    """The same for those that others came from, too: only where the UID says whose it was."""
    sources: list[str]
    """nick!user@host."""
    realnames: list[str]
    usernames: list[str]
    fingerprints: dict[str, str]
    topics: list[str]
    """Topics that they wrote, to be known again as another's `previous`."""
    casemapping: str
    until: int = 0
    """The last event that the work in small transactions rewrites; later ones are rewritten with the live state."""
    stale: list[int] = []
    """Checkpoints that held something of it, and are made anew."""


class _Somebody:
    """What one UID was."""

    __slots__ = (
        "fingerprints",
        "host",
        "hosts",
        "nick",
        "nicks",
        "realnames",
        "sources",
        "topics",
        "username",
        "usernames",
    )

    def __init__(self, nick: str, username: str, host: str) -> None:
        self.nick, self.username, self.host = nick, username, host
        self.nicks, self.hosts, self.sources = {nick}, {host}, {f"{nick}!{username}@{host}"}
        self.realnames: set[str] = set()
        self.usernames = {username}
        self.fingerprints: set[str] = set()
        self.topics: set[str] = set()

    def is_now(self) -> None:
        """Note what it is called after a change."""
        self.nicks.add(self.nick)
        self.hosts.add(self.host)
        self.usernames.add(self.username)
        self.sources.add(f"{self.nick}!{self.username}@{self.host}")

    def add(self, other: _Somebody) -> None:
        """It is the same person as another."""
        for name in ("nicks", "hosts", "sources", "realnames", "usernames", "fingerprints", "topics"):
            getattr(self, name).update(getattr(other, name))


class Search:
    """Goes through a log, in order, and finds out who is meant."""

    def __init__(self, request: Request, state: ServerState, fold: Callable[[str], str]) -> None:
        """`state` is the state before the first event; `fold` is that of the log's end."""
        self.fold = fold
        self._account = self.fold(request.account)
        self._nick = self.fold(request.nick)
        self._host = request.host.lower()
        self._now: dict[str, _Somebody] = {}
        self._mine: dict[str, _Somebody] = {}
        self._person = _Somebody("", "", "")
        self._account_known = False
        self._account_names: set[str] = {request.account} if request.account else set()
        self._others: set[str] = set()
        self._other_realnames: set[str] = set()
        self._other_hosts: set[str] = set()
        self._first_topics = [each.topic for each in state.channels.values() if each.topic is not None]
        self._registered = {nick for nick, owner in state.nick_owners.items() if owner != self._account}
        """Nicks that are, or were, registered to other accounts."""
        self._number = 0
        self._begin(state)

    def _begin(self, state: ServerState) -> None:
        for user in state.users.values():
            self._came(user.uid, user)
            if user.account:
                self._logged_in(user.uid, user.account)
        for known in state.accounts.values():
            self._count(known.name, *known.nicks.values(), *known.certfps)
        account = state.accounts.get(self._account) if self._account else None
        if account is not None:
            self._account_known = True
            self._account_names |= {account.name, *account.nicks.values()}
            self._person.fingerprints |= set(account.certfps)

    def _came(self, uid: str, user: Any) -> None:
        self._count(user.nick, user.host, user.real_host, user.ip, user.certfp or "")
        somebody = self._now[uid] = _Somebody(user.nick, user.username, user.host)
        somebody.hosts |= {user.real_host, user.ip}
        somebody.realnames.add(user.realname)
        if user.certfp:
            somebody.fingerprints.add(user.certfp)
        self._look(uid)

    def _count(self, *texts: str) -> None:
        for text in texts:
            found = PLACEHOLDER.fullmatch(text)
            if found is not None:
                self._number = max(self._number, int(found[1]))

    def _look(self, uid: str) -> None:
        somebody = self._now[uid]
        if (self._nick and self.fold(somebody.nick) == self._nick) or (
            self._host and self._host in {host.lower() for host in somebody.hosts}
        ):
            self._mine[uid] = somebody

    def _logged_in(self, uid: str, account: str) -> None:
        if self._account and self.fold(account) == self._account and uid in self._now:
            self._mine[uid] = self._now[uid]

    def see(self, event: ev.Event) -> None:
        """The next event; of types that are not TELLING nothing is learnt."""
        handler = _SEEN.get(type(event))
        if handler is not None:
            handler(self, event, event.target or "")

    def _connect(self, event: ev.UserConnect, uid: str) -> None:
        self._came(uid, event)

    def _attach(self, event: ev.UserAttach, uid: str) -> None:
        self._count(event.real_host, event.ip)
        if uid in self._now:
            self._now[uid].hosts |= {event.real_host, event.ip}
            self._look(uid)

    def _disconnect(self, event: ev.UserDisconnect, uid: str) -> None:
        somebody = self._now.pop(uid, None)
        if somebody is not None and uid not in self._mine:
            self._is_another(somebody)

    def _is_another(self, somebody: _Somebody) -> None:
        self._others |= {self.fold(nick) for nick in somebody.nicks}
        self._other_realnames |= somebody.realnames
        self._other_hosts |= {host.lower() for host in somebody.hosts}

    def _nick_change(self, event: ev.UserNickChange, uid: str) -> None:
        self._count(event.nick, event.new_nick)
        somebody = self._now.get(uid)
        if somebody is not None:
            somebody.nick = event.new_nick
            somebody.is_now()
            self._look(uid)

    def _host_change(self, event: ev.UserHostChange, uid: str) -> None:
        self._count(event.host, event.previous_host)
        somebody = self._now.get(uid)
        if somebody is not None:
            somebody.username, somebody.host = event.username, event.host
            somebody.is_now()
            self._look(uid)

    def _realname_change(self, event: ev.UserRealnameChange, uid: str) -> None:
        if uid in self._now:
            self._now[uid].realnames |= {event.realname, event.previous}

    def _account_change(self, event: ev.UserAccount, uid: str) -> None:
        if event.account:
            self._logged_in(uid, event.account)

    def _register(self, event: ev.NickRegister, key: str) -> None:
        self._count(event.account)
        if key and key == self._account:
            self._account_known = True
            self._account_names.add(event.account)
            self._logged_in(event.actor_uid or "", event.account)
        else:
            self._registered.add(key)

    def _group(self, event: ev.NickGroup, key: str) -> None:
        self._count(event.grouped)
        if key and key == self._account:
            self._account_names.add(event.grouped)
        else:
            self._registered.add(self.fold(event.grouped))

    def _cert(self, event: ev.NickCert, key: str) -> None:
        self._count(event.fingerprint)
        if key and key == self._account:
            self._person.fingerprints.add(event.fingerprint)

    def _topic(self, event: ev.ChannelTopicChange, key: str) -> None:
        # Whoever logs in to the account only later is noted all the same: who is meant is known at the end.
        somebody = self._now.get(event.actor_uid or "")
        if somebody is not None and event.topic:
            somebody.topics.add(event.topic)

    @property
    def found(self) -> bool:
        """Whether the log knows anybody who is meant."""
        return bool(self._mine or self._account_known)

    def plan(self, now: ServerState) -> Plan:
        """What becomes what; `now` is the state at the log's end."""
        person = self._person
        for somebody in self._mine.values():
            person.add(somebody)
        for uid, somebody in self._now.items():
            if uid not in self._mine:
                self._is_another(somebody)
        names = {self.fold(name) for name in (*self._account_names, self._nick) if name}
        # User mode r says that a nick belongs to the account of who has it, so what others registered is theirs.
        nicks = {self.fold(nick) for nick in person.nicks if nick} - names - self._registered
        others = self._others | {key for key, uid in now.nicks.items() if uid not in self._mine}
        hosts = {host.lower() for host in person.hosts if host} - NOBODYS
        self._topics_of_the_first_state(person)
        return Plan(
            uids=sorted(self._mine),
            names=self._placeholders(names | (nicks - others)),
            own=self._placeholders(nicks & others),
            hosts=self._placeholders(hosts - self._other_hosts),
            own_hosts=self._placeholders(hosts & self._other_hosts),
            sources=sorted(source for source in person.sources if source != "!@"),
            realnames=sorted(name for name in person.realnames - self._other_realnames if name),
            usernames=sorted(name for name in person.usernames if name),
            fingerprints=self._placeholders(person.fingerprints),
            topics=sorted(person.topics),
            casemapping=now.casemap.name,
        )

    def _topics_of_the_first_state(self, person: _Somebody) -> None:
        person.topics |= {topic.text for topic in self._first_topics if topic.set_by in person.sources}

    def _placeholders(self, texts: set[str]) -> dict[str, str]:
        placeholders: dict[str, str] = {}
        for text in sorted(texts):
            self._number += 1
            placeholders[text] = f"{ERASED}-{self._number}"
        return placeholders


_SEEN: Final[dict[type[ev.Event], Callable[[Search, Any, str], None]]] = {
    ev.UserConnect: Search._connect,
    ev.UserAttach: Search._attach,
    ev.UserDisconnect: Search._disconnect,
    ev.UserNickChange: Search._nick_change,
    ev.UserHostChange: Search._host_change,
    ev.UserRealnameChange: Search._realname_change,
    ev.UserAccount: Search._account_change,
    ev.NickRegister: Search._register,
    ev.NickGroup: Search._group,
    ev.NickCert: Search._cert,
    ev.ChannelTopicChange: Search._topic,
}
TELLING: Final = tuple(cls.event_type for cls in _SEEN)
"""The events that say who was who."""


class Erasure:
    """The Rewriter of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._fold = CASEMAPS[plan.casemapping].fold
        self._uids = frozenset(plan.uids)
        self._sources = frozenset(plan.sources)
        self._topics = frozenset(plan.topics)
        self._own = {**plan.names, **plan.own}
        self._own_hosts = {**plan.hosts, **plan.own_hosts}
        self._realnames = {name.lower() for name in plan.realnames}
        words = {name: ERASED for name in self._realnames if len(name) > LEAST_WORD + 1}
        words |= plan.hosts | plan.fingerprints
        words |= {name: new for name, new in plan.names.items() if len(name) >= LEAST_WORD}
        self._words = {self._fold(word): new for word, new in words.items()}
        self._pattern = _any_of(self._words, self._fold)
        hints = {*self._own, *self._own_hosts, *self._uids, *plan.sources, *plan.topics, *self._words, *self._realnames}
        spelt = [_spelt(json.dumps(hint, ensure_ascii=False)[1:-1], self._fold) for hint in sorted(hints)]
        self._hint = re.compile("|".join(spelt) or r"(?!)", re.IGNORECASE)

    def concerns(self, row: Row) -> bool:
        """Whether a row may have to be rewritten: quick to say, and never wrong when it says no."""
        return (
            row.actor_uid in self._uids
            or row.target in self._uids
            or self._hint.search(row.payload) is not None
            or (row.target is not None and self._hint.search(row.target) is not None)
            or (row.actor_uid is not None and self._hint.search(row.actor_uid) is not None)
        )

    def is_mine(self, uid: str) -> bool:
        """Whether somebody who is meant had this UID."""
        return uid in self._uids

    def is_author(self, source: str) -> bool:
        """Whether nick!user@host, a nick alone or a UID is of somebody who is meant."""
        return source in self._sources or self._fold(source) in self.plan.names or source in self._uids

    def text(self, kind: Kind, value: str, mine: bool) -> str:
        """What takes the place of a text."""
        if mine:
            if kind is Kind.NICK:
                return self._own.get(self._fold(value)) or self._search(value)
            if kind is Kind.HOST:
                return self._own_hosts.get(value.lower()) or self._search(value)
            if kind in (Kind.USERNAME, Kind.REALNAME):
                return ERASED
            if kind is Kind.TEXT:
                return ERASED_TEXT
        if value in self._topics and kind in (Kind.DATA, Kind.TEXT):
            return ERASED_TEXT
        if kind is Kind.SOURCE and value in self._sources:
            nick, _, rest = value.partition("!")
            host = rest.rpartition("@")[2]
            nick = self._own.get(self._fold(nick), ERASED)
            return f"{nick}!{ERASED}@{self._own_hosts.get(host.lower(), host)}"
        if kind not in (Kind.TEXT, Kind.DATA):
            whole = self.plan.names.get(self._fold(value)) or self.plan.hosts.get(value.lower())
            if whole is not None:
                return whole
        return self._search(value)

    def _search(self, value: str) -> str:
        if self._pattern is None:
            return value
        return self._pattern.sub(lambda match: self._words[self._fold(match[0])], value)


_INSIDE: Final = r"[A-Za-z0-9_\[\]\\`^{}|\-]"
"""A character of a nick."""
_HEX: Final = re.compile(r"[0-9a-f]+")


def _any_of(words: Iterable[str], fold: Callable[[str], str]) -> re.Pattern[str] | None:
    """A pattern for any of `words` that stands alone: no character of a nick before or behind it.

    A host, or what could be a part of an IPv6 address, is not looked for in what goes on as a host or an address.
    """
    names: list[str] = []
    addresses: list[str] = []
    for word in sorted(words, key=len, reverse=True):
        is_address = "." in word or ":" in word or _HEX.fullmatch(word)
        (addresses if is_address else names).append(_spelt(word, fold))
    patterns: list[str] = []
    if addresses:
        patterns.append(
            f"(?<!{_INSIDE})(?<!{_INSIDE}[.:])(?:{'|'.join(addresses)})(?!{_INSIDE})(?![.:]{_INSIDE})(?!::)"
        )
    if names:
        patterns.append(f"(?<!{_INSIDE})(?:{'|'.join(names)})(?!{_INSIDE})")
    return re.compile("|".join(patterns), re.IGNORECASE) if patterns else None


def _spelt(word: str, fold: Callable[[str], str]) -> str:
    """A pattern for all spellings of a folded word."""
    pairs = {"{": "{[", "}": "}]", "|": "|\\", "^": "^~"}
    return "".join(
        f"[{re.escape(pairs[letter])}]" if letter in pairs and fold(pairs[letter][1]) == letter else re.escape(letter)
        for letter in word
    )
