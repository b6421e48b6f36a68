"""The load: people who do a bit of everything, people who are never disturbed, and those who read the admin API."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from tests.chaos.clients import Client, Gone, Kind
from tests.chaos.ledger import Follower

if TYPE_CHECKING:
    from tests.chaos.run import Run

ROOMS = 8
ACCOUNTS = 120
"""Accounts that the crowd may register, so that the state has an end."""

PING_S = 50.0
"""How long the server may wait before it asks somebody who is silent: the interval is 20 s, and the machine is busy."""

AUTHORIZATION = "Basic " + b64encode(b"admin:sesame").decode()


class Member(Client):
    """One of the crowd."""

    caps = "server-time message-tags away-notify setname batch labeled-response account-tag extended-join metadata-2"

    def __init__(self, run: Run, number: int, kind: Kind) -> None:
        super().__init__(run, f"m{number}", kind)
        self.caps = type(self).caps if number % 3 else ""
        self.number = number
        self.serial = 0

    async def live(self) -> None:
        """Come, do things, lose the connection, come again."""
        rng = self.run.rng
        while not self.run.ending:
            try:
                await self.run.may_connect()
                await self.connect()
                self.send("JOIN #" + ",#".join(f"r{number}" for number in rng.sample(range(ROOMS), 3)))
                while self.wire is not None and not self.run.ending:
                    self.act()
                    await asyncio.sleep(rng.expovariate(self.run.rate))
            except Gone:
                self.leave()
            await asyncio.sleep(0.2 + rng.random())

    def act(self) -> None:
        """Do something."""
        rng = self.run.rng
        self.serial += 1
        mark = f"x{self.number}z{self.connections}n{self.serial}"
        room, other = f"#r{rng.randrange(ROOMS)}", f"m{rng.randrange(self.run.size)}"
        deeds = [
            (f"JOIN {room}",),
            (f"JOIN #{mark}", f"PART #{mark} :bye"),
            (f"PART {room} :{mark}",),
            (f"PRIVMSG {room} :{mark}", f"NOTICE {room} :{mark}"),
            (f"PRIVMSG {room} :{mark} " + "long " * rng.randrange(60),),
            (f"PRIVMSG {other} :{mark}",),
            (f"TOPIC {room} :{mark}",),
            (f"TOPIC {room} :{mark}", f"NAMES {room}"),
            (f"MODE {room} +b {mark}!*@*", f"MODE {room} -b {mark}!*@*"),
            (f"MODE {room} +o {other}", f"MODE {room} +v {other}"),
            (f"MODE {room} +l {self.serial + 1000}",),
            (f"MODE {room} +m", f"MODE {room} -m"),
            (f"KICK {room} {other} :{mark}",),
            (f"NICK {mark}", f"NICK m{self.number}"),
            (f"NICK m{self.number}",),
            (f"AWAY :{mark}", "AWAY"),
            (f"SETNAME :{mark}",),
            (f"INVITE {other} {room}",),
            (f"WHO {room}", f"WHOIS {other}", f"WHOWAS {other}", "LUSERS"),
            ("LIST", f"NAMES {room}", "MONITOR + m1,m2,m3", "MONITOR L", "MONITOR C"),
            (f"CHATHISTORY LATEST {room} * 20",),
            (f"METADATA * SET color :{mark}", f"METADATA {room} SET url :{mark}", f"METADATA {other} LIST"),
            (f"TAGMSG {room}",),
            (f"NS INFO {self.wanted}", f"CS INFO {room}", "NS IDENTIFY wrong password"),
            (f"CS REGISTER {room}", f"CS FLAGS {room} {other} +v", f"CS TOPIC {room} {mark}"),
            (f"WITNESS {mark}", f"SEEN {other}", "HELP JOIN", "ISON m1 m2"),
            ("NS LOGOUT",),
        ]
        if rng.random() < 0.02:
            deeds = [(f"QUIT :{mark}",)]
        elif rng.random() < 0.02 and len(self.run.accounts) < ACCOUNTS:
            self.run.accounts[mark] = f"secret-{mark}"
            deeds = [(f"REGISTER {mark} * secret-{mark}",)]
        self.send(*rng.choice(deeds))

    def heard(self, line: str) -> None:
        if " REGISTER SUCCESS " in line[:60]:
            name = line.split()[3]
            self.run.ledger.acknowledged.add(name.lower())
            self.run.count("accounts acknowledged")


class Bystander(Client):
    """Somebody to whom nothing is done: keeps the connection, and talks to the others with numbers."""

    caps = "server-time echo-message message-tags"

    def __init__(self, run: Run, number: int, kind: Kind, *, silent: bool) -> None:
        super().__init__(run, f"by{number}", kind)
        self.epoch = 0
        self.number = 0
        self.echoed: dict[str, list[int]] = {}
        """Numbers by target, in this life of the daemon, that the server has sent on."""
        self.heard_of: dict[str, list[int]] = {}
        """The same as others' came, by target and sender."""
        self.refused = 0
        self.on_channel = False
        self.password = f"steady-{number}"
        self.made = False
        self.life = -1
        self.silent = silent
        """Whether it never says a word, so that the server has to ask whether it is still there."""
        self.asked_s = 0.0

    async def live(self) -> None:
        """Come once in every life of the daemon, and stay."""
        while not self.run.ending:
            try:
                await self.run.may_connect()
                self.life = self.run.lives
                self.echoed, self.heard_of = {}, {}
                self.on_channel = False
                await self.connect((self.wanted, self.password) if self.made else None)
                if not self.made and self.kind != "far":
                    answer = await self.asks(r" REGISTER SUCCESS |FAIL REGISTER", f"REGISTER * * {self.password}")
                    self.made = " SUCCESS " in answer
                    if self.made:
                        self.run.ledger.acknowledged.add(self.wanted)
                while not self.on_channel and self.wire is not None:  # asked again each time
                    # A change is refused while the log cannot be written; then it is asked for again.
                    self.send("JOIN #steady")
                    await asyncio.sleep(0.5)
                self.asked_s = time.monotonic()
                while self.wire is not None and not self.run.ending:
                    if not self.silent:
                        self.talk()
                    await asyncio.sleep(0.5)
            except Gone as error:
                if (
                    self.run.up
                    and self.life == self.run.lives
                    and not self.run.ending
                    and self.run.place.daemon.is_running
                ):
                    self.run.violation(
                        "bystander", f"{self.wanted} could not come or stay: {error!r} {self.last_error}"
                    )
                self.leave()
            await asyncio.sleep(0.5)

    def logged_in(self, answer: str) -> None:
        if " 903 " in answer:
            self.run.count("logged in after a restart")
        elif "TEMPORARILY" not in answer:
            self.run.violation("account", f"{self.wanted} cannot log in any more: {answer}")

    def talk(self) -> None:
        """Say the next number to the channel and to one of the others."""
        self.number += 1
        others = [one.wanted for one in self.run.bystanders if one is not self and one.on_channel]
        for target in ["#steady", *others[self.number % max(len(others), 1) :][:1]]:
            self.send(f"PRIVMSG {target} :n {self.number}")

    def heard(self, line: str) -> None:
        head, _, text = line.partition(" :")
        words = head.split()
        if words[1:2] == ["366"] and words[3:4] == ["#steady"]:
            self.on_channel = True
        if words[1:2] != ["PRIVMSG"] or not text.startswith("n "):
            return
        sender, number = words[0][1:].partition("!")[0], int(text.split()[1])
        found = self.echoed if sender == self.nick else self.heard_of
        key = words[2] if sender == self.nick else f"{sender} {words[2]}"
        numbers = found.setdefault(key, [])
        if numbers and number <= numbers[-1]:
            self.run.violation("message", f"{self.wanted} got {line!r} behind number {numbers[-1]}")
        numbers.append(number)

    def ended(self, why: str) -> None:
        self.on_channel = False
        if self.run.up and self.life == self.run.lives and not self.run.ending and self.run.place.daemon.is_running:
            self.run.violation("bystander", f"{self.wanted} ({self.kind}) was disconnected: {why} {self.last_error}")

    def pinged(self) -> None:
        self.asked_s = time.monotonic()

    def check_pings(self) -> None:
        """The server's timers go, whatever its clock does: who is silent is asked whether it is there."""
        if self.silent and self.on_channel and time.monotonic() - self.asked_s > PING_S:
            self.run.violation("timers", f"{self.wanted} is silent and was not asked for {PING_S:.0f} s")
            self.asked_s = time.monotonic()

    def check(self, *, end: bool) -> int:
        """Nothing that others heard confirmed is missing here; `end`: nor at the end.  How many were compared."""
        count = 0
        for other in self.run.bystanders:
            if other is self or other.life != self.life:
                continue
            for target in ("#steady", self.wanted):
                sent, got = other.echoed.get(target, []), self.heard_of.get(f"{other.wanted} {target}", [])
                if not got:
                    continue
                wanted = [number for number in sent if got[0] <= number and (end or number <= got[-1])]
                extra = [number for number in got if number <= (sent[-1] if sent else 0)]
                if missing := set(wanted) - set(got):
                    self.run.violation("message", f"{self.wanted} never got {sorted(missing)[:5]} of {other.wanted}")
                if more := set(extra) - set(sent):
                    self.run.violation(
                        "message", f"{self.wanted} got {sorted(more)[:5]} that {other.wanted} never sent"
                    )
                count += len(wanted)
        return count


class Oper(Client):
    """The operator: keeps the crowd from locking itself out, and does what faults ask for."""

    caps = "server-time"

    async def live(self) -> None:
        """Come, be operator, look after the rooms."""
        rng = self.run.rng
        while not self.run.ending:
            try:
                await self.run.may_connect()
                await self.connect()
                while "381" not in await self.asks(r" 381 | 491 | 464 |TEMPORARILY", "OPER admin sesame"):  # noqa: ASYNC110  # asked again
                    await asyncio.sleep(0.5)
                self.send("MODE oper +s p")
                while self.wire is not None and not self.run.ending:
                    room, other = f"#r{rng.randrange(ROOMS)}", f"m{rng.randrange(self.run.size)}"
                    self.send(
                        *rng.choice(
                            [
                                (f"SAMODE {room} -lm", f"SAMODE {room} +o {other}"),
                                (f"SAJOIN {other} {room}",),
                                ("KLINE FORCE 1m *@192.0.2.1 :never here", "STATS k"),
                                ("UNKLINE *@192.0.2.1",),
                                (f"SAPART {other} {room}",),
                                (f"KILL {other} :chaos",),
                                ("WALLOPS :hello", "STATS u", "STATS o"),
                                ("FILTER ADD block ^never-said$ spam", "FILTER DEL ^never-said$"),
                            ]
                        )
                    )
                    await asyncio.sleep(0.5 + rng.random())
            except Gone:
                self.leave()
            await asyncio.sleep(0.3)


# --- HTTP -----------------------------------------------------------------------------------------------------------


def ask(run: Run, path: str, body: Any = None, timeout_s: float = 60) -> tuple[int, bytes]:
    """An answer of the admin API, blocking; status 0 if there is none."""
    request = urllib.request.Request(f"http://127.0.0.1:{run.place.ports['admin']}{path}")
    request.add_header("Authorization", AUTHORIZATION)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except (OSError, ValueError, EOFError):
        return 0, b""
    except Exception as error:
        # http.client's own, when a connection ends in the middle of an answer
        return 0, repr(error).encode()


async def administer(run: Run) -> None:
    """Read and act over HTTP, without end."""
    rng = run.rng
    while not run.ending:
        room = urllib.parse.quote(f"#r{rng.randrange(ROOMS)}")
        name = f"#r{rng.randrange(ROOMS)}"
        nick = f"m{rng.randrange(run.size)}"
        path, body = rng.choice(
            [
                ("/metrics", None),
                ("/admin/events?from=-1m&limit=200", None),
                (f"/admin/events?target={room}&limit=50", None),
                ("/admin/replay?at=-30s", None),
                ("/admin/diff?from=-40s&to=-10s", None),
                (f"/admin/blame?channel={room}", None),
                ("/admin/replay/verify?from=checkpoint", None),
                ("/admin/moment/users?limit=50", None),
                ("/admin/moment/channels?at=-20s&sort=members", None),
                ("/admin/search?q=m1", None),
                (f"/admin/story?kind=channel&key={room}", None),
                ("/admin/timeline?buckets=50", None),
                ("/admin/plugins", None),
                ("/admin/actions/topic", {"channel": name, "topic": f"set over HTTP {run.lines_received}"}),
                ("/admin/actions/mode", {"channel": name, "modes": f"+v {nick}"}),
                ("/admin/actions/wallops", {"text": "hello"}),
                ("/admin/actions/kick", {"channel": name, "nick": nick, "reason": "over HTTP"}),
                ("/admin/actions/restore", {"channel": name, "at": "-20s", "dry_run": rng.random() < 0.5}),
                ("/admin/actions/kline", {"mask": "*@192.0.2.9", "reason": "never", "duration": "1m", "force": True}),
                ("/admin/actions/unkline", {"mask": "*@192.0.2.9"}),
            ]
        )
        life, faults = run.lives, run.disturbances
        status, answer = await asyncio.to_thread(ask, run, path, body)
        run.count(f"HTTP {status // 100}xx" if status else "HTTP without an answer")
        undisturbed = run.up and life == run.lives and faults == run.disturbances and not run.disturbed
        if (status >= 500 or not status) and undisturbed and not run.ending:
            run.violation("http", f"{path}: {status} {answer[:300]!r}")
        await asyncio.sleep(rng.expovariate(2.0))


async def follow(run: Run, name: str) -> None:
    """A live feed by server-sent events that resumes where it was, without end."""
    follower = Follower(name)
    run.ledger.followers.append(follower)
    newest: int | None = None
    while not run.ending:
        await run.may_connect()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", run.place.ports["admin"], limit=1 << 20)
            after = run.ledger.last.sequence if newest is None else newest
            writer.write(
                f"GET /admin/stream?after={after} HTTP/1.1\r\nHost: localhost\r\n"
                f"Authorization: {AUTHORIZATION}\r\n\r\n".encode()
            )
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                if b" 200 " not in head.partition(b"\r\n")[0]:
                    raise EOFError
                while line := await reader.readline():
                    if line.startswith(b"id: "):
                        newest = int(line[4:])
                        if follower.last is None and not follower.given:
                            follower.last = after
                        follower.given.append(newest)
                    if run.ending:
                        break
            finally:
                writer.transport.abort()
        except Gone:
            pass
        await asyncio.sleep(0.5)


async def look_at_metrics(run: Run) -> None:
    """The server's own opinion: nothing drifts."""
    while not run.ending:
        status, answer = await asyncio.to_thread(ask, run, "/metrics")
        if status == 200:
            for line in answer.decode().splitlines():
                if line.startswith("slircd_replay_drift ") and float(line.split()[1]):
                    run.violation("drift", line)
                if line.startswith("slircd_reactor_lag_seconds_bucket"):
                    continue
            run.metrics = answer.decode()
        started = time.monotonic()
        while time.monotonic() - started < 5 and not run.ending:  # noqa: ASYNC110  # ends with the run
            await asyncio.sleep(0.2)
