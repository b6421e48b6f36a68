"""The command `slircd-replay`: JSON on stdout and nothing else there; progress and errors on stderr.

Exit status: 0 done, 2 wrong usage, 3 no such database, 4 no log of slircd or a newer schema, 5 a damaged event or
base, 6 a moment before the log, 7 verification failed, or two versions differ, 8 done, but damaged events were skipped.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Final, NoReturn

import click
import msgspec
from sqlalchemy.exc import SQLAlchemyError

from slircd.about import version
from slircd.events import types as ev
from slircd.events.checkpoints import DamagedBase
from slircd.events.clock import format_timestamp, parse_moment
from slircd.events.codec import DecodeError, decode_event
from slircd.events.reader import ForeignSchema, LogReader, NoLog
from slircd.events.row import Row
from slircd.replay.against import CannotCompare, compare
from slircd.replay.blame import blame_channel
from slircd.replay.diff import diff_states
from slircd.replay.document import ServerSnapshot, channel_document, to_document, user_document
from slircd.replay.lineage import Stretch, names_of
from slircd.replay.profile import Profile
from slircd.replay.progress import Progress
from slircd.replay.public import shown_event
from slircd.replay.reconstructor import BeforeTheLog, Damaged, Phase, StateReconstructor, casemap_at
from slircd.replay.schema import json_schema
from slircd.replay.verify import OutOfOrder, verify
from slircd.state.describe import tell
from slircd.state.feed import without_gc
from slircd.state.model import ServerState

NO_DATABASE: Final = 3
DIFFERS: Final = 7
SKIPPED: Final = 8

STATUS: Final[dict[type[Exception], int]] = {
    NoLog: NO_DATABASE,
    SQLAlchemyError: NO_DATABASE,
    sqlite3.Error: NO_DATABASE,
    ForeignSchema: 4,
    Damaged: 5,
    DamagedBase: 5,
    BeforeTheLog: 6,
    OutOfOrder: DIFFERS,
    CannotCompare: NO_DATABASE,
}
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
@click.option("--follow", is_flag=True, help="Print new events (from --at on) as they are written, one JSON a line.")
@click.option("--verify", "verifies", is_flag=True, help="Replay everything twice, and compare with each checkpoint.")
@click.option("--against", metavar="PYTHON", help="Compare with another slircd: its Python, or its environment.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of what the other options print.")
@click.option("--show-keys", is_flag=True, help="Show channel keys (+k), which are masked otherwise.")
@click.option("--skip-damaged", is_flag=True, help="Go on behind events that cannot be read, count them, exit with 8.")
@click.option("--profile", is_flag=True, help="Say on stderr where the time went.")
@click.version_option(version(), prog_name="slircd-replay")
def main(**options: Any) -> None:
    """Shows what an IRC server was like at any moment of its log.

    Times: 2025-01-01, 2025-01-01T12:00:00Z, with an offset, or -15m (s, m, h, d, w).  Without an offset they are UTC.
    """
    try:
        status = _Command(options).run()
        sys.stdout.flush()
    except tuple(STATUS) as error:
        status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
        _fail(str(getattr(error, "orig", None) or error), status)
    except BrokenPipeError:
        # Whoever read has had enough.  Nothing may be flushed at the interpreter's end.
        sys.stderr.close()
        status = 0
    sys.exit(status)


def _fail(text: str, status: int) -> NoReturn:
    click.echo(f"slircd-replay: {text}", err=True)
    sys.exit(status)


def _warn(text: str) -> None:
    click.echo(f"slircd-replay: {text}", err=True)


def _print(document: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))


class _Command:
    """One call of the command."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._skip: bool = options["skip_damaged"]
        self._skipped: dict[int, None] = {}
        self._profile = Profile() if options["profile"] else None
        self._phase: Phase = self._profile.phase if self._profile is not None else nullcontext
        self._check()

    def _check(self) -> None:
        given = [
            name for name in ("between", "blamed", "follow", "verifies", "against", "schema") if self._options[name]
        ]
        if len(given) > 1:
            words = " and ".join(f"--{_OPTION.get(name, name)}" for name in given)
            raise click.UsageError(f"{words} do not go together")
        if self._options["human"] and self._options["between"] is None:
            raise click.UsageError("--human goes with --diff FROM TO")
        if self._options["channel"] is not None and self._options["user"] is not None:
            raise click.UsageError("--channel and --user do not go together")
        if self._options["follow"] and self._options["user"] is not None:
            raise click.UsageError("--follow goes with --channel, not with --user")
        between = self._options["between"]
        if between is not None and between[1] < between[0]:
            raise click.UsageError(f"FROM ({between[0]}) lies after TO ({between[1]})")

    def run(self) -> int:
        """Do what was asked for; the exit status."""
        if self._options["schema"]:
            _print(json_schema())
            return 0
        status = 0
        with LogReader(self._options["db"]) as reader:
            if self._options["follow"]:
                self._follow(reader)
            elif self._options["verifies"]:
                status = self._verify(reader)
            elif self._options["against"]:
                status = self._against(reader)
            elif self._options["blamed"] is not None:
                _print(blame_channel(reader, self._options["blamed"], self._options["at"], skip_damaged=self._skip))
            elif self._options["between"] is not None:
                self._between(reader)
            else:
                # State and document go with the process, so nothing of them is worth looking for.
                with without_gc():
                    self._at(reader)
        if self._profile is not None:
            for line in self._profile.lines():
                click.echo(line, err=True)
        if self._skipped and not status:
            ids = ", ".join(map(str, list(self._skipped)[:10]))
            _warn(f"{len(self._skipped)} damaged events were skipped: {ids}{', …' if len(self._skipped) > 10 else ''}")
            status = SKIPPED
        return status

    # --- a moment -------------------------------------------------------------------------------------------------

    def _at(self, reader: LogReader) -> None:
        at = self._options["at"] or reader.end().timestamp or format_timestamp(0)
        document = self._snapshot(reader, at)
        name = self._options["channel"] or self._options["user"]
        if name is not None and not (document.channels or document.users):
            _warn(f"there was no {'channel' if self._options['channel'] else 'user'} {name} at {at}")
        with self._phase("print"):
            _print(document)

    def _snapshot(self, reader: LogReader, at: str, names: Sequence[Stretch] = ()) -> ServerSnapshot:
        """The document of a moment, narrowed to what was asked for; `names` are those that the channel had."""
        with Progress(reader.end().id) as progress:
            reconstructor = StateReconstructor(
                reader,
                skip_damaged=self._skip,
                each=progress.each,
                phase=self._phase,
                into=self._profile.into if self._profile is not None else None,
            )
            state = reconstructor.state_at(at)
        for text in reconstructor.ignored:
            _warn(text)
        self._skipped.update(dict.fromkeys(reconstructor.skipped))
        with self._phase("make the document"):
            last_id = reconstructor.last_id
            name = next((each.key for each in names if each.after_id <= last_id < each.before_id - 1), None)
            return self._document(state, at, last_id, name or self._options["channel"])

    def _document(self, state: ServerState, at: str, last_id: int, channel: str | None) -> ServerSnapshot:
        show_keys: bool = self._options["show_keys"]
        if channel is not None:
            return channel_document(state, at, last_id, channel, show_keys=show_keys)
        if self._options["user"] is not None:
            return user_document(state, at, last_id, self._options["user"])
        return to_document(state, at, last_id, show_keys=show_keys)

    # --- between two ----------------------------------------------------------------------------------------------

    def _between(self, reader: LogReader) -> None:
        start, end = self._options["between"]
        with without_gc():
            names = self._names(reader, end)
            before, after = self._snapshot(reader, start, names), self._snapshot(reader, end, names)
            if not self._options["human"]:
                _print(diff_states(before, after))
                return
        uids = {user.uid for document in (before, after) for user in document.users}
        fold = casemap_at(reader, end).fold
        for row in self._rows_between(reader, start, end, names):
            event = self._decoded(row)
            if event is None or (self._options["user"] is not None and not self._concerns(event, uids, fold)):
                continue
            words = tell(event)
            if words is not None:
                click.echo(f"{row.timestamp[:19].replace('T', ' ')} {words}")

    def _names(self, reader: LogReader, end: str) -> list[Stretch]:
        """The names that the channel which was asked for had up to a moment; none if all was asked for."""
        name = self._options["channel"]
        if name is None:
            return []
        fold = casemap_at(reader, end).fold
        return names_of(reader, fold, self._decoded, fold(name), reader.last_id(end) + 1)

    @staticmethod
    def _rows_between(reader: LogReader, start: str, end: str, names: list[Stretch]) -> Iterator[Row]:
        if not names:
            yield from reader.rows(since=start, until=end)
        for key, after_id, before_id in names:
            yield from reader.rows(since=start, until=end, target=key, after_id=after_id, before_id=before_id)

    def _decoded(self, row: Row) -> ev.Event | None:
        try:
            return decode_event(row.event_type, row.actor_uid, row.target, row.payload)
        except DecodeError as error:
            if not self._skip:
                raise Damaged(row.id, str(error)) from None
            self._skipped[row.id] = None
            return None

    def _concerns(self, event: ev.Event, uids: set[str], fold: Callable[[str], str]) -> bool:
        """Whether an event is by, or about, the user that was asked for; `uids` are those that it is known by."""
        names = {getattr(event, field, None) for field in ("nick", "new_nick")}
        if isinstance(event, ev.UserConnect | ev.UserNickChange) and fold(self._options["user"]) in {
            fold(name) for name in names if name
        }:
            uids.add(event.target or "")
        return not uids.isdisjoint({event.actor_uid, event.target, getattr(event, "member_uid", None)})

    # --- the rest -------------------------------------------------------------------------------------------------

    def _verify(self, reader: LogReader) -> int:
        last_id = reader.head().id

        @contextmanager
        def watch(about: str) -> Iterator[Callable[[int], None] | None]:
            with Progress(last_id, about) as progress:
                yield progress.each

        found = verify(reader, skip_damaged=self._skip, watch=watch)
        self._skipped.update(dict.fromkeys(found.skipped))
        _print(found)
        for reason in found.reasons:
            _warn(reason)
        return 0 if found.verified else DIFFERS

    def _against(self, reader: LogReader) -> int:
        with Progress(reader.head().id) as progress:
            found = compare(
                self._options["db"], reader, self._options["against"], until=self._options["at"], each=progress.each
            )
        _print(found)
        return 0 if found.equal else DIFFERS

    def _follow(self, reader: LogReader) -> None:
        if reader.is_copy:
            raise click.UsageError("--follow needs write permission beside the log: what is read is a copy")
        at: str | None = self._options["at"]
        last = reader.head().id if at is None else reader.last_id(at, inclusive=False)
        name = self._options["channel"]
        target = casemap_at(reader).fold(name) if name is not None else None
        while True:
            for row in reader.rows(after_id=last, target=target):
                last = row.id
                event = self._decoded(row)
                if event is not None:
                    document = shown_event(row, keys=self._options["show_keys"], texts=True)
                    click.echo(msgspec.json.encode(document))
                if target is not None and isinstance(event, ev.ChannelRename):
                    # The channel is followed, not its name.
                    target = casemap_at(reader).fold(event.new_name)
                    break
            sys.stdout.flush()
            time.sleep(FOLLOW_S)


_OPTION: Final = {"between": "diff", "blamed": "blame", "verifies": "verify"}
"""Where an option's name is not that of its value."""
