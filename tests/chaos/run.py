"""One run: the place, the load, the faults in random order, and what must hold all the time and at the end."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos.faults import FAULTS, Fault, run_command
from tests.chaos.ledger import Ledger
from tests.chaos.link import BadLink, NoLink
from tests.chaos.load import Bystander, Member, Oper, administer, ask, follow, look_at_metrics
from tests.chaos.place import DidNotStart, Place
from tests.chaos.watch import Life, files_in
from tests.facts import Fact

SETTLE_S = 45.0
"""How long the server has after a fault to be ready again, on a machine that is busy with other things."""

ORPHAN_S = 60.0
"""How long a process that the daemon had started may go on without it."""

EXPECTED = re.compile(r"KeyboardInterrupt")
"""Tracebacks that are nobody's fault."""


class Run:
    """The run; what it finds wrong is in `violations`."""

    def __init__(
        self, folder: Path, *, seconds: float, seed: int, database: str, size: int, rate: float, only: list[str]
    ) -> None:
        """`size` people of the crowd, who do `rate` things a second each; `only` these faults, or all."""
        self.seconds = seconds
        self.seed = seed
        self.rng = Random(seed)
        self.chaos = Random(seed)
        """Decides on faults alone, so that their order does not hang on the load."""
        self.size = size
        self.rate = rate
        self.pause_s = min(max(seconds / 240, 0.5), 6.0)
        self.violations: list[dict[str, Any]] = []
        self.counts: Counter[str] = Counter()
        self.lines_received = 0
        self.accounts: dict[str, str] = {}
        self.metrics = ""
        self.done: list[dict[str, Any]] = []
        self.ending = False
        self.up = False
        self.lives = 0
        self.disturbed = 0
        self.disturbances = 0
        self.skipped: list[str] = []
        self._serial = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._started_s = time.monotonic()
        self._timeline = (folder / "chaos.log").open("w", buffering=1)
        self._daemon_log = (folder / "daemon.log").open("w", buffering=1)
        self._heard_lines: list[str] = []
        self._hearing: list[tuple[re.Pattern[str], asyncio.Event]] = []
        self._trace_lines = 0
        self._trace = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._came_up = asyncio.Event()
        self._comparing = asyncio.Lock()
        self.folder = folder
        self.place = Place(folder / "place", database, self._heard)
        self.skipped += self.place.skipped
        self.ledger = Ledger(self.place.database.url, self.violation)
        try:
            self.link: BadLink | None = BadLink(Random(seed))
        except (NoLink, OSError) as error:
            self.link = None
            self.skipped.append(f"network_delay, network_cut: {error}")
        self.life: Life | None = None
        self.summaries: list[dict[str, float]] = []
        self.only = only
        far = "far" if self.link is not None else "plain"
        kinds: Any = ["plain", "tls", "plain", "websocket", far, "plain", "tls", f"{far}-tls" if self.link else "tls"]
        self.crowd = [Member(self, number, kinds[number % len(kinds)]) for number in range(size)]
        steady: Any = ["plain", "tls", "websocket", "plain", "tls"]
        steady += ["plain", "tls"]
        self.bystanders = [Bystander(self, number, kind, silent=number > 4) for number, kind in enumerate(steady)]
        self.oper = Oper(self, "oper", "tls")

    # --- what is told -------------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """A line of the timeline."""
        line = f"{time.monotonic() - self._started_s:8.1f} {text}"
        print(line, file=self._timeline)
        print(line, flush=True)  # noqa: T201

    def violation(self, kind: str, text: str) -> None:
        """Something does not hold."""
        at_s = round(time.monotonic() - self._started_s, 1)
        self.violations.append({"kind": kind, "text": text, "at_s": at_s})
        if len(self.violations) <= 200:
            self.say(f"VIOLATION {kind}: {text[:2000]}")

    def count(self, what: str, number: int = 1) -> None:
        """One more of something."""
        self.counts[what] += number

    def serial(self) -> int:
        """A number that was not there before."""
        self._serial += 1
        return self._serial

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Do something beside; a mistake of the runner's own is one of the run's violations."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)

        def ended(task: asyncio.Task[Any]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                import traceback

                self.violation("runner", "".join(traceback.format_exception(error)))

        task.add_done_callback(ended)
        return task

    # --- the daemon ---------------------------------------------------------------------------------------------------

    def _heard(self, line: str) -> None:
        """In a thread: a line of the daemon's output."""
        print(line, end="", file=self._daemon_log)
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._consider, line)

    def _consider(self, line: str) -> None:
        for pattern, event in list(self._hearing):
            if pattern.search(line):
                event.set()
        if "Traceback (most recent call last)" in line or "Unhandled" in line:
            if not self._trace_lines:
                self._loop.call_later(0.5, self._report_trace)  # type: ignore[union-attr]
            self._trace_lines = 60
        elif "[critical]" in line.lower() or "is not what the log says" in line:
            self.violation("log line", line.strip())
        if self._trace_lines:
            self._trace_lines -= 1
            self._trace += line

    def _report_trace(self) -> None:
        text, self._trace, self._trace_lines = self._trace, "", 0
        if not EXPECTED.search(text):
            self.violation("traceback", text)

    async def hears(self, pattern: str, number: signal.Signals) -> None:
        """Send the daemon a signal; it says something that matches."""
        entry = (re.compile(pattern), asyncio.Event())
        self._hearing.append(entry)
        try:
            self.place.daemon.signal(number)
            await asyncio.wait_for(entry[1].wait(), 20)
        except TimeoutError:
            self.violation("signal", f"{number.name}: the daemon never said {pattern!r}")
        finally:
            self._hearing.remove(entry)

    async def may_connect(self) -> None:
        """Wait until the daemon is there."""
        await self._came_up.wait()

    async def start_daemon(self) -> None:
        """Start the daemon.  One that does not start because the clock is behind the log gets a better clock."""
        started = time.monotonic()
        try:
            await asyncio.to_thread(self.place.daemon.start)
        except DidNotStart as error:
            if "ahead of this machine's clock" not in str(error):
                self.violation("start", str(error)[-3000:])
                raise
            ahead = int(re.search(r"(\d+) seconds ahead", str(error))[1])  # type: ignore[index]
            self.say(f"the clock is {ahead} s behind the log; the daemon refuses to start, and the clock is set")
            self.count("starts refused for the clock")
            self.place.set_clock(self.place.offset_s + ahead)
            await asyncio.to_thread(self.place.daemon.start)
        self.lives += 1
        self.life = Life(self.place.daemon.pid)
        self.up = True
        self._came_up.set()
        await self.settle()
        self.say(f"life {self.lives}: up after {time.monotonic() - started:.1f} s, process {self.place.daemon.pid}")

    async def end_daemon(self, number: signal.Signals) -> None:
        """End the daemon; all that clients were sent is read and compared before it starts again."""
        daemon, life = self.place.daemon, self.life
        assert life is not None
        self.up = False
        self._came_up.clear()
        life.look()
        summary = life.summary()
        self.summaries.append(summary)
        for text in life.verdict():
            self.violation("memory", text)
        with suppress(ProcessLookupError):
            daemon.signal(number)
        status = await asyncio.to_thread(daemon.wait)
        self.life = None
        if number == signal.SIGTERM and status not in (0, -signal.SIGTERM):
            self.violation("exit", f"status {status} after SIGTERM")
        self.spawn(self._see_off(life))
        await asyncio.sleep(0.2)  # what the kernel still had for the clients, they have read
        for bystander in self.bystanders:
            self.counts["messages compared"] += bystander.check(end=False)

    async def _see_off(self, life: Life) -> None:
        """Processes that a daemon has started end by themselves when it is gone, or when their work is done."""
        for _ in range(int(ORPHAN_S)):
            if not (left := life.left_behind()):
                return
            await asyncio.sleep(1)
        self.violation("processes", f"they survive the daemon by {ORPHAN_S:.0f} s: {left}")

    async def wait_for_readiness(self, status: int, timeout_s: float) -> bool:
        """Whether /readyz comes to answer so."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found, _ = await asyncio.to_thread(ask, self, "/readyz", None, 10)
            if not self.place.daemon.is_running:
                return False
            if found == status:
                return True
            await asyncio.sleep(0.1)
        return False

    async def settle(self) -> None:
        """The server is ready, and takes changes, without having been started again."""
        started = time.monotonic()
        if not await self.wait_for_readiness(200, SETTLE_S):
            self.violation("ready", f"/readyz is not 200 within {SETTLE_S} s")
            return
        path, body = "/admin/actions/topic", {"channel": "#steady", "topic": f"settled {self.serial()}"}
        for _ in range(100):
            status, answer = await asyncio.to_thread(ask, self, path, body, 15)
            if status in (200, 400, 404, 409, 422):
                break
            await asyncio.sleep(0.1)
        else:
            self.violation("ready", f"a topic cannot be set: {status} {answer[:300]!r}")
        self.counts["settled after ms"] += int(1000 * (time.monotonic() - started))

    async def wait_for_plugins(self) -> None:
        """All plugins that the configuration names run."""
        for _ in range(300):
            status, answer = await asyncio.to_thread(ask, self, "/admin/plugins")
            if status == 200:
                states = {each["name"]: each["state"] for each in json.loads(answer)}
                if all(states.get(name) == "running" for name in ("witness", "seen")):
                    return
            await asyncio.sleep(0.1)
        self.violation("plugins", f"they do not run again: {answer[:500]!r}")

    @asynccontextmanager
    async def trouble(self) -> AsyncIterator[None]:
        """Requests over HTTP may fail meanwhile."""
        self.disturbed += 1
        self.disturbances += 1
        try:
            yield
        finally:
            self.disturbed -= 1

    async def command(self, name: str, *words: str) -> tuple[int, str]:
        """A command of slircd's beside the daemon."""
        return await run_command(self, name, *words)

    # --- what always holds ----------------------------------------------------------------------------------------------

    async def compare(self) -> bool:
        """What was seen up to now is in the log; False if that cannot be read at the moment."""
        async with self._comparing:
            seen: list[tuple[Any, list[tuple[Fact, str]]]] = [
                (witness, witness.take()) for witness in self.ledger.witnesses
            ]
            rows = await asyncio.to_thread(self.ledger.read)
            if rows is None:
                for witness, facts in seen:
                    witness._seen = facts + witness._seen
                return False
            self.ledger.take(rows)
            self.ledger.compare(seen)
            self.ledger.compare_followers()
            current = {client.witness for client in [*self.crowd, *self.bystanders, self.oper]}
            self.ledger.forget([w for w, facts in seen if w not in current and not facts and not w._seen])
            return True

    async def _keep_comparing(self) -> None:
        while not self.ending:
            await self.compare()
            if missing := self.ledger.acknowledged - self.ledger.registered:
                await asyncio.sleep(0.2)
                if await self.compare() and (still := missing - self.ledger.registered):
                    self.violation("account", f"acknowledged, and not in the log: {sorted(still)}")
                    self.ledger.acknowledged -= still
            await asyncio.sleep(0.5)

    async def _keep_watching(self) -> None:
        told: set[str] = set()
        while not self.ending:
            if self.life is not None:
                for wrong in self.life.look():
                    key = wrong.split(", more")[-1]
                    if key not in told:
                        told.add(key)
                        self.violation("resources", wrong)
            await asyncio.sleep(1)

    async def _keep_checking(self) -> None:
        while not self.ending:
            await asyncio.sleep(min(10.0, self.seconds / 8))
            for bystander in self.bystanders:
                if self.up:
                    bystander.check(end=False)
                    bystander.check_pings()

    async def _keep_verifying(self) -> None:
        """The state that is served is the whole log, applied: asked for every few minutes."""
        while not self.ending:
            await asyncio.sleep(min(180.0, self.seconds / 4))
            if self.up and not self.ending:
                await self._verify()

    async def _verify(self) -> None:
        life, disturbances = self.lives, self.disturbances
        status, answer = await asyncio.to_thread(ask, self, "/admin/replay/verify", None, 300)
        if status == 200 and answer.strip():
            self.count("verifications")
            if not json.loads(answer)["equal"]:
                self.violation("drift", answer.decode())
        elif (
            life == self.lives
            and self.up
            and disturbances == self.disturbances
            and not self.disturbed
            and not self.ending
        ):
            self.violation("drift", f"cannot be asked for: {status} {answer[:500]!r}")

    # --- the run --------------------------------------------------------------------------------------------------------

    def available(self) -> list[Fault]:
        """The faults of this run; those that this machine cannot have are named in the report."""
        place = self.place
        cannot = set()
        if not place.small_disk:
            cannot.add("disk_full")
        if self.link is None:
            cannot |= {"network_delay", "network_cut"}
        return [
            each for each in FAULTS.values() if each.name not in cannot and (not self.only or each.name in self.only)
        ]

    def _plan(self, faults: list[Fault]) -> list[Fault]:
        """Each kind once, in random order."""
        once = list(faults)
        self.chaos.shuffle(once)
        return once

    async def _do_chaos(self) -> None:
        faults = self.available()
        plan = self._plan(faults)
        end_s = self._started_s + self.seconds
        # The second half of a long run is one life of the daemon, so that its memory can be looked at.
        half_s = self._started_s + self.seconds / 2 if self.seconds >= 1200 else end_s
        beside: set[asyncio.Task[Any]] = set()
        while time.monotonic() < end_s or plan:
            if plan:
                chosen = plan.pop()
            else:
                late = time.monotonic() > half_s
                possible = [each for each in faults if not (late and each.ends_daemon)]
                # Ends of the daemon are rare, so that its lives are long enough to be looked at.
                weights = [each.weight * (0.5 if each.ends_daemon else 1) for each in possible]
                chosen = self.chaos.choices(possible, weights)[0]
            work = self._do(chosen)
            if chosen.name.startswith("network"):
                beside = {task for task in beside if not task.done()}
                if not beside:
                    beside.add(self.spawn(work))
                else:
                    work.close()
            else:
                await work
            await asyncio.sleep(self.pause_s * (0.5 + self.chaos.random()))
        for task in beside:
            await task

    async def _do(self, chosen: Fault) -> None:
        began = time.monotonic()
        self.say(f"{chosen.name} …")
        words = await chosen.do(self)
        took = time.monotonic() - began
        if not self.place.daemon.is_running:
            self.violation("daemon", f"it has ended by itself during {chosen.name}")
            await self.end_daemon(signal.SIGCONT)
            await self.start_daemon()
        self.done.append({"fault": chosen.name, "at_s": round(began - self._started_s, 1), "took_s": round(took, 1)})
        self.say(f"{chosen.name}: {words or 'done'} ({took:.1f} s)")

    async def go(self) -> None:
        """The whole run."""
        self._loop = asyncio.get_running_loop()
        self._started_s = time.monotonic()
        for text in self.skipped:
            self.say(f"SKIPPED {text}")
        if self.link is not None:
            self.link.start()
        try:
            await self.start_daemon()
            for bystander in self.bystanders:
                self.spawn(bystander.live())
            self.spawn(self.oper.live())
            for member in self.crowd:
                self.spawn(member.live())
            self.spawn(follow(self, "feed 1"))
            self.spawn(administer(self))
            self.spawn(look_at_metrics(self))
            self.spawn(self._keep_comparing())
            self.spawn(self._keep_watching())
            self.spawn(self._keep_checking())
            self.spawn(self._keep_verifying())
            await asyncio.sleep(2)
            await self._do_chaos()
            await self._finish()
        except Exception:
            import traceback

            self.violation("runner", traceback.format_exc())
        finally:
            self.ending = True
            self.up = False
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self.link is not None:
                self.link.close()
            self.ledger.close()
            self.report()
            await asyncio.to_thread(self.place.close)
            self._loop = None

    async def _finish(self) -> None:
        """After the last fault: everything is still, and all is compared."""
        self.say("the end: no more faults, then no more load")
        await self.settle()
        await self.wait_for_plugins()
        await asyncio.sleep(3)
        self.ending = True
        for member in [*self.crowd, self.oper]:
            member.leave()
        await asyncio.sleep(2)
        for bystander in self.bystanders:
            self.counts["messages compared"] += bystander.check(end=True)
        for _ in range(20):
            if await self.compare():
                break
            await asyncio.sleep(0.5)
        else:
            self.violation("log", "it cannot be read at the end")
        await self._verify()
        await self._check_accounts()
        summary = await asyncio.to_thread(ask, self, "/metrics")
        self.metrics = summary[1].decode()
        life = self.life
        await self.end_daemon(signal.SIGTERM)
        assert life is not None
        await self.compare()
        status, said = await self.command("slircd-replay", "--db", self.place.database.url, "--verify")
        found = re.search(r'"verified": ?true', said)
        if status or not found:
            self.violation("replay", f"slircd-replay --verify: {status} {said[-1500:]}")
        if (health := await asyncio.to_thread(self.place.database.check)) != "ok":
            self.violation("database", health)
        if left := files_in(str(self.place.temporary)):
            self.violation("files", f"temporary files are left: {left[:10]}")

    async def _check_accounts(self) -> None:
        """Every account that somebody was told is theirs is there."""
        found: set[str] = set()
        offset = 0
        while True:
            status, answer = await asyncio.to_thread(ask, self, f"/admin/moment/accounts?limit=1000&offset={offset}")
            if status != 200:
                self.violation("account", f"the list cannot be had: {status} {answer[:300]!r}")
                return
            page = json.loads(answer)
            items = (
                page["items"]
                if isinstance(page, dict) and "items" in page
                else next(value for value in page.values() if isinstance(value, list))
            )
            found |= {each["name"].lower() for each in items}
            offset += len(items)
            if len(items) < 1000:
                break
        self.counts["accounts found at the end"] = len(found)
        if missing := self.ledger.acknowledged - found:
            self.violation("account", f"acknowledged, and not there: {sorted(missing)[:20]}")

    def report(self) -> None:
        """What happened, in words and as JSON."""
        faults = Counter(each["fault"] for each in self.done)
        report = {
            "seed": self.seed,
            "database": self.place.database.kind,
            "seconds": round(time.monotonic() - self._started_s),
            "faults": dict(sorted(faults.items())),
            "skipped": self.skipped,
            "counts": dict(sorted(self.counts.items())),
            "lines_received": self.lines_received,
            "events": self.ledger.events,
            "events_by_type": dict(sorted(self.ledger.types.items())),
            "facts_compared": self.ledger.facts,
            "feed_events": sum(each.total for each in self.ledger.followers),
            "packets": None if self.link is None else {"passed": self.link.passed, "lost": self.link.lost},
            "lives": self.summaries,
            "violations": self.violations,
        }
        (self.folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
        (self.folder / "metrics.txt").write_text(self.metrics)
        self.say(f"faults: {sum(faults.values())} of {len(faults)} kinds: {dict(faults)}")
        self.say(f"events {self.ledger.events}, facts compared {self.ledger.facts}, counts {dict(self.counts)}")
        for number, life in enumerate(self.summaries, 1):
            self.say(f"life {number}: {life}")
        self.say(f"{len(self.violations)} violations" if self.violations else "every invariant held")
