"""A network's life as decisions: people come, join, talk about topics, get banned, change nicks, and go.

Everything is decided by the rules that the server runs, against the state that the decisions make, so a log of it is
one that a server could have written.  Popular channels are popular as on real networks (Zipf), and so are nicks that
come back day after day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, islice
from random import Random

from slircd.events import types as ev
from slircd.rules import account, channel, modes, netbans, oper, user
from slircd.rules.account import AccountError
from slircd.rules.modes import ModeLimits
from slircd.rules.registration import decide_chan_register, decide_flags
from slircd.state.model import ServerState
from slircd.wire.modes import Change
from slircd.wire.numerics import NumericError, StandardReply

NODE = "001"
LIMITS = ModeLimits(list_entries=200, key_bytes=32)
WORDS = [
    "release",
    "patch",
    "tomorrow",
    "deploy",
    "broken",
    "fixed",
    "thanks",
    "rotating",
    "logs",
    "kernel",
    "weekend",
    "meeting",
    "python",
    "twisted",
]


def later(minutes: int) -> str:
    """The expiry of a timed ban: none is made here, because nobody would remove it."""
    raise AssertionError(minutes)


class Traffic:
    """Decisions without end; `state` must be what they make of it before the next one is asked for.

    `online` is how many people are there when all is as usual, `channels` how many channels have a name.
    """

    def __init__(self, state: ServerState, rng: Random, *, online: int = 3_000, channels: int = 5_000) -> None:
        self.state = state
        self.rng = rng
        self.online = online
        self._names = [f"#{rng.choice(WORDS)}-{number}" for number in range(channels)]
        self._zipf = list(accumulate(1 / (rank + 3) for rank in range(channels)))
        self._number = 0
        self._uids: list[str] = []
        acts: dict[Callable[[], Iterable[ev.Event]], float] = {
            self._come: 14,
            self._go: 12,
            self._join: 26,
            self._part: 12,
            self._nick: 4,
            self._away: 9,
            self._prefix: 8,
            self._flag: 2,
            self._ban: 2.5,
            self._unban: 2,
            self._topic: 3,
            self._kick: 1,
            self._invite: 0.7,
            self._login: 2.5,
            self._register: 0.15,
            self._chan_register: 1,
            self._access: 2,
            self._oper: 0.1,
            self._line: 0.05,
        }
        self._acts = list(acts)
        self._weights = list(accumulate(acts.values()))

    def start(self) -> list[ev.Event]:
        """The server starts; whom it had are gone."""
        self._uids.clear()
        return [
            ev.ServerStart(
                actor_uid=ev.SERVER,
                target=NODE,
                node=NODE,
                name="irc.example.org",
                version="0",
                casemapping="ascii",
                channel_modes="nt",
            )
        ]

    def stop(self) -> list[ev.Event]:
        """The server stops in order, but leaves its users to the next start, as a crash would."""
        return [
            ev.ServerStop(actor_uid=ev.SERVER, target=NODE, node=NODE, name="irc.example.org", reason="Maintenance")
        ]

    def decision(self) -> list[ev.Event]:
        """What happens next: the events of one decision."""
        while True:
            if len(self._uids) < self.online * 0.9:
                act = self._come if len(self._uids) < 10 or self.rng.random() < 0.6 else self._join
            elif len(self._uids) > self.online * 1.1:
                act = self._go
            else:
                act = self.rng.choices(self._acts, cum_weights=self._weights)[0]
            try:
                events = list(act())
            except (NumericError, StandardReply, AccountError):
                continue
            if events:
                return events

    # --- who, and where -------------------------------------------------------------------------------------------

    def _uid(self) -> str:
        """Somebody who is online; those who were killed on the way are forgotten when they are met."""
        uids, users = self._uids, self.state.users
        while True:
            index = int(self.rng.random() * len(uids))
            uid = uids[index]
            if uid in users:
                return uid
            uids[index] = uids[-1]
            uids.pop()

    def _name(self) -> str:
        return self.rng.choices(self._names, cum_weights=self._zipf)[0]

    def _place(self) -> tuple[str, str]:
        """Somebody, and a channel that this one is on."""
        while True:
            uid = self._uid()
            keys = list(self.state.memberships[uid])
            if keys:
                return uid, self.rng.choice(keys)

    def _operator(self) -> tuple[str, str]:
        """An operator of a channel, and the channel."""
        while True:
            uid, key = self._place()
            if "o" in self.state.channels[key].members[uid]:
                return uid, key
            if self.rng.random() < 0.05:
                raise NumericError(channel.ERR_CHANOPRIVSNEEDED, key)

    def _member(self, key: str) -> str:
        """The nick of somebody on a channel: among the first, so that this is quick on a large one."""
        members = list(islice(self.state.channels[key].members, 10))
        return self.state.users[self.rng.choice(members)].nick

    def _free_nick(self) -> str:
        while True:
            nick = f"{self.rng.choice(WORDS)}{int(self.rng.paretovariate(0.6)) % 200_000}"
            if self.state.user_by_nick(nick) is None:
                return nick

    # --- what -----------------------------------------------------------------------------------------------------

    def _come(self) -> Iterator[ev.Event]:
        self._number += 1
        rng, uid = self.rng, f"{NODE}{self._number:06d}"
        address = f"198.{rng.randrange(18, 20)}.{rng.randrange(256)}.{rng.randrange(256)}"
        new = user.NewUser(
            uid=uid,
            number=self._number,
            node=NODE,
            nick=self._free_nick(),
            username="~" + rng.choice(WORDS),
            host=f"{rng.getrandbits(32):08x}.{rng.getrandbits(32):08x}.ip",
            real_host=address,
            ip=address,
            realname=" ".join(rng.choices(WORDS, k=2)),
            modes="x",
            secure=rng.random() < 0.8,
            certfp=None,
        )
        self._uids.append(uid)
        return user.decide_connect(self.state, new)

    def _go(self) -> Iterator[ev.Event]:
        uid = self._uid()
        return user.decide_disconnect(self.state, uid, uid, self.rng.choice(("Quit: bye", "Ping timeout: 120 seconds")))

    def _join(self) -> Iterator[ev.Event]:
        return channel.decide_join(self.state, self._uid(), self._name(), "", max_channels=50, max_length=64)

    def _part(self) -> Iterator[ev.Event]:
        uid, key = self._place()
        return channel.decide_part(self.state, uid, key, "")

    def _nick(self) -> Iterator[ev.Event]:
        uid = self._uid()
        return user.decide_nick(self.state, uid, uid, self._free_nick(), 30)

    def _away(self) -> Iterator[ev.Event]:
        uid = self._uid()
        return user.decide_away(self.state, uid, "" if self.state.users[uid].away else "gone for lunch")

    def _modes(self, uid: str, key: str, *changes: Change) -> list[ev.Event]:
        return modes.decide_channel_modes(self.state, uid, self.state.channels[key], changes, LIMITS, later).events

    def _prefix(self) -> Iterable[ev.Event]:
        uid, key = self._operator()
        rng = self.rng
        return self._modes(uid, key, Change(rng.choice("++-"), rng.choice("ov"), self._member(key)))

    def _flag(self) -> Iterable[ev.Event]:
        uid, key = self._operator()
        return self._modes(uid, key, Change(self.rng.choice("+-"), self.rng.choice("mcCs")))

    def _ban(self) -> Iterable[ev.Event]:
        uid, key = self._operator()
        mask = f"*!*@{self.rng.getrandbits(32):08x}.*"
        return self._modes(uid, key, Change("+", self.rng.choice("bbbbeI"), mask))

    def _unban(self) -> Iterable[ev.Event]:
        uid, key = self._operator()
        for mode, entries in self.state.channels[key].lists.items():
            return self._modes(uid, key, Change("-", mode, next(iter(entries.values())).mask))
        return ()

    def _topic(self) -> Iterator[ev.Event]:
        uid, key = self._operator()
        return channel.decide_topic(self.state, uid, key, " ".join(self.rng.choices(WORDS, k=9)), 390)

    def _kick(self) -> Iterator[ev.Event]:
        uid, key = self._operator()
        return channel.decide_kick(self.state, uid, key, self._member(key), "no flooding")

    def _invite(self) -> Iterator[ev.Event]:
        uid, key = self._operator()
        return channel.decide_invite(self.state, uid, self.state.users[self._uid()].nick, key)

    def _register(self) -> Iterator[ev.Event]:
        who = self.state.users[self._uid()]
        if who.account is None:
            yield from account.decide_register(self.state, who, who.nick, verified=True)
            yield from account.login_events(self.state, who.uid, who.nick, who.nick, "password")

    def _login(self) -> Iterator[ev.Event]:
        who = self.state.users[self._uid()]
        if who.account is not None:
            yield from account.decide_logout(self.state, who.uid)
        elif self.state.accounts:
            name = self.state.accounts[self.rng.choice(tuple(islice(self.state.accounts, 500)))].name
            yield from account.login_events(self.state, who.uid, who.nick, name, "PLAIN")

    def _chan_register(self) -> Iterator[ev.Event]:
        uid, key = self._operator()
        who = self.state.users[uid]
        owner = self.state.account_of(who)
        if owner is not None:
            yield from decide_chan_register(self.state, who, owner, key, 20)

    def _access(self) -> Iterator[ev.Event]:
        uid, key = self._place()
        names = tuple(islice(self.state.accounts, 500))
        if self.state.channels[key].registration is not None and names:
            flags = self.rng.choice(("+V", "+O", "-*"))
            who = self.state.users[uid]
            yield from decide_flags(self.state, who, key, self.rng.choice(names), flags, override=True)

    def _oper(self) -> Iterator[ev.Event]:
        return oper.decide_oper(self.state, self._uid(), "admin", "netadmin", None)

    def _line(self) -> Iterator[ev.Event]:
        opers = [uid for uid in self._uids[:200] if uid in self.state.users and self.state.users[uid].is_oper]
        if opers:
            mask = f"*@198.18.{self.rng.randrange(256)}.{self.rng.randrange(256)}"
            line = netbans.NewLine("kline", mask, "spam", "", None)
            hit = [user for user in self.state.users.values() if netbans.hits(self.state, "kline", mask, user)]
            yield from netbans.decide_line(self.state, opers[0], line, hit, force=True)
