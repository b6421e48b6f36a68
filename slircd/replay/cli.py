"""The command `slircd-replay`: JSON on stdout and nothing else there; progress and errors on stderr.

Exit status: 0 done, 2 wrong usage, 3 no such database, 4 no log of slircd or a newer schema, 5 a damaged event,
6 a moment before the log, 7 verification failed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn

import click
import msgspec

from slircd.about import version
from slircd.events.checkpoints import DamagedBase
from slircd.events.clock import format_timestamp, parse_moment
from slircd.events.codec import DecodeError, decode_event
from slircd.events.reader import ForeignSchema, LogReader, NoLog
from slircd.events.row import Row
from slircd.replay.blame import blame
from slircd.replay.diff import diff_states
from slircd.replay.document import ServerSnapshot, json_schema
from slircd.replay.reconstructor import BeforeTheLog, Damaged, Replayed, StateReconstructor, replay
from slircd.state.describe import tell
from slircd.state.snapshot import digest

STATUS: Final[dict[type[Exception], int]] = {
    NoLog: 3,
    ForeignSchema: 4,
    Damaged: 5,
    DamagedBase: 5,
    DecodeError: 5,
    BeforeTheLog: 6,
}
VERIFY_FAILED: Final = 7
FOLLOW_S: Final = 0.2
"""How often --follow looks for new events."""


class _Moment(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return parse_moment(str(value), time.time())
        except ValueError as error:
            self.fail(str(error), param, ctx)


MOMENT: Final = _Moment()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--db", default="slircd.db", show_default=True, help="The log: a path, or a database URL.")
@click.option("--at", type=MOMENT, help="The server at this moment; default: the end of the log.")
@click.option("--diff", "between", type=(MOMENT, MOMENT), metavar="FROM TO", help="What differs between two moments.")
@click.option("--human", is_flag=True, help="With --diff: what happened, in words.")
@click.option("--channel", help="Only this channel.")
@click.option("--user", help="Only the user with this nick, UID or account.")
@click.option("--blame", "blamed", metavar="CHANNEL", help="Who set each mode, ban, topic and flag of a channel.")
@click.option("--follow", is_flag=True, help="Print new events as they are written, one JSON object a line.")
@click.option("--verify", is_flag=True, help="Replay everything, twice, and compare digests.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of what --at prints.")
@click.option("--show-keys", is_flag=True, help="Show channel keys (+k), which are masked otherwise.")
@click.option("--skip-damaged", is_flag=True, help="Go on behind events that cannot be read, and count them.")
@click.option("--profile", is_flag=True, help="Say on stderr how long it took.")
@click.version_option(version(), prog_name="slircd-replay")
def main(**options: Any) -> None:
    """Shows what an IRC server was like at any moment of its log.

    Times: 2025-01-01, 2025-01-01T12:00:00Z, with an offset, or -15m (s, m, h, d, w).  Without an offset they are UTC.
    """
    started = time.monotonic()
    try:
        _run(options)
    except tuple(STATUS) as error:
        _fail(str(error), STATUS[type(error)])
    except BrokenPipeError:
        sys.stderr.close()
    if options["profile"]:
        click.echo(f"{time.monotonic() - started:.3f} s", err=True)


def _fail(text: str, status: int) -> NoReturn:
    click.echo(f"slircd-replay: {text}", err=True)
    sys.exit(status)


def _run(options: dict[str, Any]) -> None:
    if options["human"] and options["between"] is None:
        raise click.UsageError("--human goes with --diff FROM TO")
    if options["schema"]:
        _print(json_schema())
        return
    with LogReader(options["db"]) as reader:
        if options["follow"]:
            _follow(reader)
        elif options["verify"]:
            _verify(reader, options)
        elif options["blamed"] is not None:
            until = options["at"]
            _print(msgspec.to_builtins(blame(reader.rows(target=options["blamed"].lower(), until=until))))
        elif options["between"] is not None:
            _between(reader, options)
        else:
            at = options["at"] or reader.head().timestamp or format_timestamp(0)
            _print(_narrow(_snapshot(reader, at, options), options))


def _snapshot(reader: LogReader, at: str, options: dict[str, Any]) -> ServerSnapshot:
    with _Progress(reader.head().id) as progress:
        reconstructor = StateReconstructor(
            reader, skip_damaged=options["skip_damaged"], each=progress.each if progress.shown else None
        )
        snapshot = reconstructor.reconstruct_at(at, show_keys=options["show_keys"])
    if reconstructor.skipped:
        ids = ", ".join(map(str, reconstructor.skipped[:10]))
        click.echo(f"slircd-replay: {len(reconstructor.skipped)} damaged events were skipped: {ids}", err=True)
    return snapshot


def _narrow(snapshot: ServerSnapshot, options: dict[str, Any]) -> Any:
    """The document, or the one channel or user of it that was asked for."""
    if options["channel"] is not None:
        name = options["channel"].lower()
        found: list[Any] = [each for each in snapshot.channels if each.name.lower() == name]
    elif options["user"] is not None:
        name = options["user"].lower()
        found = [
            each
            for each in snapshot.users
            if name in (each.nick.lower(), each.uid.lower(), (each.account or "").lower())
        ]
    else:
        return snapshot
    return {"version": snapshot.version, "at": snapshot.at, "position": snapshot.position, "found": found}


def _between(reader: LogReader, options: dict[str, Any]) -> None:
    start, end = options["between"]
    if end < start:
        raise click.UsageError(f"FROM ({start}) lies after TO ({end})")
    if options["human"]:
        target = options["channel"].lower() if options["channel"] is not None else None
        for line in _in_words(reader.rows(since=start, until=end, target=target)):
            click.echo(line)
        return
    before, after = (_snapshot(reader, moment, options) for moment in (start, end))
    difference = diff_states(before, after)
    for option, section in (("channel", "channels"), ("user", "users")):
        wanted = options[option]
        if wanted is not None:
            names = {wanted.lower()}
            names |= {each.uid.lower() for each in (*before.users, *after.users) if each.nick.lower() == wanted.lower()}
            difference.changes = [
                change for change in difference.changes if change.path[0] == section and change.path[1].lower() in names
            ]
    _print(difference)


def _in_words(rows: Iterator[Row]) -> Iterator[str]:
    for row in rows:
        words = tell(decode_event(row.event_type, row.actor_uid, row.target, row.payload))
        if words is not None:
            yield f"{row.timestamp[:19].replace('T', ' ')} {words}"


def _verify(reader: LogReader, options: dict[str, Any]) -> None:
    digests: list[str] = []
    for _ in range(2):
        start = reader.start(only_base=True)
        into = Replayed(start.state)
        with _Progress(reader.head().id) as progress:
            each = progress.each if progress.shown else None
            replay(
                _in_order(reader.raw_rows(after_id=start.position.id)),
                into,
                skip_damaged=options["skip_damaged"],
                each=each,
            )
        digests.append(digest(into.state))
    last = reader.head()
    if digests[0] != digests[1]:
        _fail(f"two replays differ: {digests[0]} and {digests[1]}", VERIFY_FAILED)
    _print({"version": 1, "last_id": last.id, "digest": digests[0], "verified": True})


def _in_order(rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The rows, as long as sequence and timestamp rise."""
    sequence, timestamp = 0, ""
    for row in rows:
        if row[2] <= sequence or row[1] < timestamp:
            _fail(f"event {row[0]} is out of order", VERIFY_FAILED)
        sequence, timestamp = row[2], row[1]
        yield row


def _follow(reader: LogReader) -> None:
    last = reader.head().id
    encode = msgspec.json.encode
    while True:
        for row in reader.rows(after_id=last):
            last = row.id
            document = {**row._asdict(), "payload": msgspec.Raw(row.payload.encode())}
            click.echo(encode(document))
        sys.stdout.flush()
        time.sleep(FOLLOW_S)


def _print(document: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))


class _Progress:
    """A line on stderr with events a second and time left, on a terminal, when it takes over a second."""

    def __init__(self, total: int) -> None:
        self.shown = sys.stderr.isatty()
        self._total = total
        self._started = time.monotonic()
        self._next = self._started + 1.0
        self._drawn = False
        self.each: Callable[[int], None] = self._each

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            click.echo("\r\x1b[K", err=True, nl=False)

    def _each(self, event_id: int) -> None:
        if event_id & 0x3FFF:
            return
        now = time.monotonic()
        if now >= self._next:
            self._next = now + 0.2
            self._drawn = True
            rate = event_id / (now - self._started)
            left = max(self._total - event_id, 0) / rate if rate else 0.0
            text = f"\r{event_id:,} of {self._total:,} events, {rate:,.0f}/s, {left:.0f} s left\x1b[K"
            click.echo(text, err=True, nl=False)
