"""What goes wrong: one function for each kind of fault, which puts things right again at its end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import ssl
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING, NamedTuple

from tests.chaos.clients import Client, Gone
from tests.chaos.place import ATTACKS, Postgresql, children, command_of
from tests.system.daemon import insecure

if TYPE_CHECKING:
    from tests.chaos.run import Run

Do = Callable[["Run"], Awaitable[str | None]]


class Fault(NamedTuple):
    """A kind of fault."""

    name: str
    do: Do
    weight: float
    ends_daemon: bool


FAULTS: dict[str, Fault] = {}
MAX_CLOCK_S = 900


def fault(weight: float = 1.0, *, ends_daemon: bool = False) -> Callable[[Do], Do]:
    """Register a kind of fault, called as its function; the function's words say what it did in particular."""

    def note(do: Do) -> Do:
        FAULTS[do.__name__] = Fault(do.__name__, do, weight, ends_daemon)
        return do

    return note


def is_plugin(pid: int) -> bool:
    """Whether a process is a plugin's."""
    return "plugins/lua/child.py" in command_of(pid)


async def blocking(function: Callable[..., object], *words: object) -> None:
    await asyncio.to_thread(function, *words)


# --- the daemon -----------------------------------------------------------------------------------------------------


@fault(ends_daemon=True)
async def kill(run: Run) -> str | None:
    """SIGKILL, and a start."""
    await run.end_daemon(signal.SIGKILL)
    await run.start_daemon()
    return None


@fault(0.5, ends_daemon=True)
async def restart(run: Run) -> str | None:
    """SIGTERM, and a start."""
    await run.end_daemon(signal.SIGTERM)
    await run.start_daemon()
    return None


@fault(0.5, ends_daemon=True)
async def kill_without_database(run: Run) -> str | None:
    """The database goes away, and the daemon is killed before it is back."""
    async with run.trouble():
        await blocking(run.place.database.stop, "immediate")
        await asyncio.sleep(1 + run.rng.random() * 2)
        await run.end_daemon(signal.SIGKILL)
        await blocking(run.place.database.start)
        await run.start_daemon()
    return None


@fault()
async def freeze(run: Run) -> str | None:
    """The daemon stands still for some seconds, as on a machine that is moved."""
    seconds = 1 + run.rng.random() * 3
    async with run.trouble():
        os.kill(run.place.daemon.pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(run.place.daemon.pid, signal.SIGCONT)
        await run.settle()
    return f"{seconds:.1f} s"


@fault()
async def worker_kill(run: Run) -> str | None:
    """A process that the server has started, to replay or to read the log, is killed."""
    victims: list[int] = []
    for _ in range(50):
        victims = [pid for pid in children(run.place.daemon.pid) if not is_plugin(pid)]
        if victims:
            break
        await asyncio.sleep(0.1)
    async with run.trouble():
        for pid in victims[:2]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(1)
    return f"{len(victims[:2])} processes"


# --- the database ---------------------------------------------------------------------------------------------------


@fault()
async def database_restart(run: Run) -> str | None:
    """The database is away for some seconds."""
    seconds = 0.5 + run.rng.random() * 4
    async with run.trouble():
        await blocking(run.place.database.stop, "fast")
        await asyncio.sleep(seconds)
        await blocking(run.place.database.start)
        await run.settle()
    return f"{seconds:.1f} s"


@fault()
async def database_crash(run: Run) -> str | None:
    """The database crashes: SIGKILL, or what PostgreSQL calls immediate."""
    how = run.rng.choice(["immediate", "kill"])
    async with run.trouble():
        await blocking(run.place.database.stop, how)
        await blocking(run.place.database.start)
        await run.settle()
    return how


@fault()
async def database_stall(run: Run) -> str | None:
    """The database answers nothing for longer than the server waits before it refuses changes."""
    seconds = 1 + run.rng.random() * 4
    database = run.place.database
    async with run.trouble():
        if isinstance(database, Postgresql):
            await blocking(database.freeze, seconds)
        else:
            await blocking(database.stop, "fast")
            await asyncio.sleep(seconds)
            await blocking(database.start)
        await run.settle()
    return f"{seconds:.1f} s"


@fault()
async def disk_full(run: Run) -> str | None:
    """The disk of the log is full for some seconds."""
    async with run.trouble():
        await blocking(run.place.fill_disk)
        try:
            degraded = await run.wait_for_readiness(503, 8)
            await asyncio.sleep(run.rng.random() * 4)
        finally:
            await blocking(run.place.free_disk)
        # PostgreSQL gives up when its journal cannot be written; who runs it starts it again.
        await blocking(run.place.database.start)
        await run.settle()
    return "changes were refused" if degraded else "there was nothing to write"


@fault(0.5)
async def prune_and_erase(run: Run) -> str | None:
    """An operator prunes by hand, and erases somebody who was there."""
    name = f"gone{run.serial()}"
    victim = Client(run, name, "plain")
    try:
        await victim.connect()
        await victim.asks(" REGISTER SUCCESS |FAIL REGISTER", f"REGISTER * * secret-{name}")
        victim.send("JOIN #r1", f"PRIVMSG #r1 :{name} was here", "QUIT :bye")
        await asyncio.sleep(0.5)
    except Gone:
        return "nobody came"
    finally:
        victim.leave()
    await asyncio.sleep(1)
    done = []
    async with run.trouble():
        for words in (["redact", "--account", name], ["prune"]):
            # What was seen is compared before names in the log are rewritten.
            await run.compare()
            status, text = await run.command("slircd", "events", *words)
            done.append(f"{words[0]} {status}")
            if status and not re.search(r"nobody|no account|working|busy|locked", text):
                run.violation("retention", f"{words} failed: {text[-600:]}")
    run.ledger.acknowledged.discard(name)
    return ", ".join(done)


# --- plugins --------------------------------------------------------------------------------------------------------


@fault(2)
async def plugin_fault(run: Run) -> str | None:
    """A plugin that loops, eats memory, floods, or forges frames is loaded, called and unloaded."""
    name = run.rng.choice(ATTACKS)
    oper = run.oper
    with suppress(*Gone):
        await oper.asks(rf"{name}.*(is loaded|cannot|failed|refused)|TEMPORARILY| 481 ", f"PLUGIN LOAD {name}")
        answer = await oper.asks(
            rf"plugin {name} failed|NOTICE \S+ :contained| 421 |NOTICE \S+ :.*{name}", f"ATTACK_{name.upper()}"
        )
        await oper.asks(rf"{name}.*(is unloaded|is not|cannot)|TEMPORARILY| 481 ", f"PLUGIN UNLOAD {name}")
        return f"{name}: {answer.partition(' :')[2][:60]}"
    return f"{name}: no answer"


@fault()
async def plugin_process(run: Run) -> str | None:
    """The process of a plugin that is in use is killed, or stands still."""
    await run.wait_for_plugins()
    pids = [pid for pid in children(run.place.daemon.pid) if is_plugin(pid)]
    how = run.rng.choice([signal.SIGKILL, signal.SIGSTOP])
    if not pids:
        return "none runs"
    pid = run.rng.choice(pids)
    with suppress(ProcessLookupError):
        os.kill(pid, how)
    await asyncio.sleep(1)
    await run.wait_for_plugins()
    return how.name


@fault()
async def plugin_reload(run: Run) -> str | None:
    """A plugin's code is loaded again while it is in use."""
    with suppress(*Gone):
        answer = await run.oper.asks(r"witness.*loaded|witness.*cannot|TEMPORARILY| 481 ", "PLUGIN RELOAD witness")
        return answer.partition(" :")[2][:60]
    return "no answer"


# --- configuration, certificates --------------------------------------------------------------------------------------


@fault()
async def rehash(run: Run) -> str | None:
    """The configuration is read again: first one that is wrong, then one that is right."""
    place = run.place
    what = run.rng.choice(["[nonsense]\nkey = 1\n", "[[[\n", "[limits]\nnicklen = 1000000\n"])
    motd = f"motd {run.serial()}"
    place.write_config("never shown", what)
    await run.hears(r"rehash: nothing is changed", signal.SIGHUP)
    place.write_config(motd)
    await run.hears(r"configuration read again", signal.SIGHUP)
    with suppress(*Gone):
        found = await run.oper.asks(r" 372 ", "MOTD")
        if motd not in found:
            run.violation("rehash", f"the message of the day is not {motd!r}: {found}")
    return None


@fault()
async def certificate(run: Run) -> str | None:
    """The certificate is renewed: first a file that is none, then a good pair; connections stay."""
    place = run.place
    good = (place.folder / "slircd.crt").read_bytes()
    (place.folder / "slircd.crt").write_text("nonsense\n")
    await run.hears(r"the certificate in use stays", signal.SIGHUP)
    (place.folder / "slircd.crt").write_bytes(good)
    await blocking(place.renew_certificate)
    wanted = ssl.PEM_cert_to_DER_cert((place.folder / "slircd.crt").read_text())
    await run.hears(r"configuration read again", signal.SIGHUP)
    try:
        opening = asyncio.open_connection("127.0.0.1", place.ports["tls"], ssl=insecure(), server_hostname="irc.test")
        _, writer = await asyncio.wait_for(opening, 10)
    except Gone as error:
        run.violation("certificate", f"no connection after it was renewed: {error!r}")
        return None
    found = writer.get_extra_info("ssl_object").getpeercert(True)
    writer.transport.abort()
    if found != wanted:
        run.violation("certificate", f"{sha256(found).hexdigest()} is shown, not {sha256(wanted).hexdigest()}")
    return None


# --- the clock --------------------------------------------------------------------------------------------------------


@fault()
async def clock_forward(run: Run) -> str | None:
    """The clock is set forward by up to ten minutes."""
    return await step(run, run.rng.randrange(30, 600))


@fault()
async def clock_back(run: Run) -> str | None:
    """The clock is set back by up to ten minutes."""
    return await step(run, -run.rng.randrange(30, 600))


async def step(run: Run, seconds: int) -> str | None:
    offset = run.place.offset_s + seconds
    if abs(offset) > MAX_CLOCK_S:
        offset, seconds = 0, -run.place.offset_s
    run.place.set_clock(offset)
    await asyncio.sleep(2)
    await run.settle()
    return f"{seconds:+d} s, so {offset:+d} s"


# --- the network ------------------------------------------------------------------------------------------------------


@fault()
async def network_delay(run: Run) -> str | None:
    """Packets of those far away take long, overtake each other, and get lost."""
    link = run.link
    assert link is not None
    kept = link.delay_s, link.jitter_s, link.loss
    link.delay_s, link.jitter_s, link.loss = run.rng.random() * 0.4, run.rng.random() * 0.3, run.rng.random() * 0.15
    shown = f"{link.delay_s * 1000:.0f}-{(link.delay_s + link.jitter_s) * 1000:.0f} ms, {link.loss:.0%} lost"
    await asyncio.sleep(run.pause_s + run.rng.random() * 2 * run.pause_s)
    link.delay_s, link.jitter_s, link.loss = kept
    return shown


@fault()
async def network_cut(run: Run) -> str | None:
    """Nothing passes between those far away and the server, for shorter or longer than its patience."""
    assert run.link is not None
    seconds = min(run.rng.choice([2.0, 5.0, 15.0, 50.0]), 10 * run.pause_s)
    run.link.cut = True
    await asyncio.sleep(seconds)
    run.link.cut = False
    return f"{seconds:.0f} s"


@fault()
async def slow_readers(run: Run) -> str | None:
    """Clients ask for much and read nothing, until the server cuts them; it does not grow by more than they may owe."""
    slow = [Client(run, f"slow{number}x{run.serial()}", "tls" if number % 2 else "plain") for number in range(4)]
    for client in slow:
        with suppress(*Gone):
            await client.connect()
            client.send("JOIN #r0,#r1,#r2,#r3,#steady")
            if client.wire is not None:
                client.wire.pause()
                client.send(*["HELP", "WHO #r0", "NAMES #r1", "ISUPPORT", "HELPOP CMODES"] * 60)
    await asyncio.sleep(run.pause_s)
    for client in slow:
        client.leave()
    return None


@fault()
async def mass_disconnect(run: Run) -> str | None:
    """Many come, join, and are gone at the same moment, with a reset."""
    crowd = [Client(run, f"mass{number}x{run.serial()}", "tls" if number % 4 == 0 else "plain") for number in range(40)]

    async def come(client: Client) -> None:
        with suppress(*Gone):
            await client.connect()
            client.send("JOIN #r0,#r1", "PRIVMSG #r0 :hello")

    await asyncio.gather(*(come(client) for client in crowd))
    await asyncio.sleep(0.5)
    for client in crowd:
        if client.wire is not None:
            socket = client.wire._writer.get_extra_info("socket")
            with suppress(OSError):
                socket.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        client.leave()
    return None


@fault(0.5)
async def crowd_leaves(run: Run) -> str | None:
    """The whole crowd loses its connections at once, and comes back at once."""
    for member in run.crowd:
        member.leave()
    await asyncio.sleep(1)
    return None


async def run_command(run: Run, name: str, *words: str) -> tuple[int, str]:
    """A command of slircd's beside the daemon: its exit status, and what it said."""
    command = [str(Path(sys.executable).with_name(name)), *words]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=run.place.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **run.place.environ, "PYTHONPATH": os.getcwd()},
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode(errors="replace")
