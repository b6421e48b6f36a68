"""Export and import: the log as NDJSON, one object a line.

The first line is a header, the last a trailer with the number of events and a SHA-256 over their lines, so that a file
that was cut or changed is found out.  An export of a whole log also says its digest: what the state is at its end.  An
import replays what it reads and must come to the same; it is one transaction, so half of a file never becomes a log.
Payloads are carried byte for byte, in the version that they were written in.  Credentials are in neither.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, insert, select

from slircd.events import checkpoints
from slircd.events.clock import parse_timestamp
from slircd.events.codec import MAX_PAYLOAD, DecodeError, decode_event
from slircd.events.database import private
from slircd.events.reader import LogError, LogReader
from slircd.events.row import Row
from slircd.events.schema import CHECKPOINTS, EVENTS, HEAD_REVISION
from slircd.events.selection import Selection
from slircd.retention.prune import Progress, quiet
from slircd.retention.rules import STATE_FREE
from slircd.state.apply import ApplyError, Stamp, apply
from slircd.state.model import ServerState
from slircd.state.snapshot import digest

FORMAT: Final = 1
BATCH: Final = 5_000
MAX_LINE: Final = 8 * MAX_PAYLOAD
"""Bytes of a line of an event; what is longer is no export."""

MAX_HEADER: Final = 1 << 30
"""Bytes of the first line, which holds a whole state where the log was pruned."""


class ImportFailed(LogError):
    """The file cannot be imported; the text names the line."""


class Base(msgspec.Struct, kw_only=True):
    """The state at the horizon, where a log of which events were pruned begins."""

    event_id: int
    sequence: int
    timestamp: str
    version: int
    digest: str
    checksum: str
    state: bytes
    """As the table `checkpoints` holds it, in base64."""


class Header(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The first line."""

    slircd_export: int
    schema: str
    complete: bool
    """Whether the file is a whole log up to some event, and so can be imported."""
    selection: dict[str, Any] = {}
    base: Base | None = None


class Trailer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The last line."""

    end: bool
    events: int
    sha256: str
    last_id: int
    digest: str | None = None
    """Of the state at the end of a complete export."""


class _Line(msgspec.Struct):
    id: int
    timestamp: str
    sequence: int
    event_type: str
    actor_uid: str | None
    target: str | None
    payload: msgspec.Raw
    session_id: str


class Done(NamedTuple):
    """What was exported or imported."""

    events: int
    last_id: int
    digest: str | None


# --- export -------------------------------------------------------------------------------------------------------


def export_lines(reader: LogReader, selection: Selection, *, prove: bool = True) -> Iterator[bytes]:
    """The lines of an export, without their line ends; `prove` replays a complete one for its digest."""
    encode = msgspec.json.Encoder().encode
    narrowing = {key: value for key, value in selection.items() if value}
    complete = not narrowing.keys() - {"until"}
    header = Header(slircd_export=FORMAT, schema=HEAD_REVISION, complete=complete, selection=narrowing)
    state: ServerState | None = None
    horizon = 0
    if complete:
        start = reader.start(only_base=True, until=selection.get("until"))
        header.base = _base(reader)
        horizon = 0 if header.base is None else header.base.event_id
        state = start.state if prove else None
    yield encode(header)
    checksum = hashlib.sha256()
    count = last = 0
    for row in reader.rows(**selection):
        if row.id <= horizon and row.event_type not in STATE_FREE:
            continue  # left over by a pruning that was killed
        last = row.id
        count += 1
        line = encode(_Line(*row[:6], msgspec.Raw(row.payload.encode()), row.session_id))
        checksum.update(line + b"\n")
        yield line
        if state is not None:
            _apply(state, row)
    proof = None if state is None else digest(state)
    yield encode(Trailer(end=True, events=count, sha256=checksum.hexdigest(), last_id=last, digest=proof))


def _base(reader: LogReader) -> Base | None:
    if not reader.checkpoints():  # which a log of an old version has no table for
        return None
    columns = [CHECKPOINTS.c[name] for name in Base.__struct_fields__]
    found = reader.select(select(*columns).where(CHECKPOINTS.c.kind == checkpoints.BASE))
    return Base(**found[0]._mapping) if found else None


def _apply(state: ServerState, row: Row) -> None:
    event = decode_event(row.event_type, row.actor_uid, row.target, row.payload)
    apply(state, event, Stamp(row.id, row.sequence, row.timestamp, row.session_id))


@contextmanager
def writing(path: str) -> Iterator[IO[bytes]]:
    """Where an export goes: `-` is standard output, `.gz` is compressed, a file appears when it is complete."""
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    temporary = Path(f"{path}.part")
    temporary.unlink(missing_ok=True)
    try:
        with open(temporary, "xb", opener=private) as file:
            if path.endswith(".gz"):
                with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as compressed:
                    yield compressed  # type: ignore[misc]  # it is a file of bytes all the same
            else:
                yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


# --- import -------------------------------------------------------------------------------------------------------


@contextmanager
def reading(path: str) -> Iterator[IO[bytes]]:
    """The file of an import: `-` is standard input, gzip is recognised by its first bytes."""
    if path == "-":
        yield sys.stdin.buffer
        return
    with Path(path).open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if compressed:
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield unpacked  # type: ignore[misc]
        else:
            yield file


def import_lines(lines: IO[bytes], connection: Connection, *, progress: Progress = quiet) -> Done:
    """Read an export into the empty log of `connection`, in its transaction.

    Raises ImportFailed, with the number of the line, for whatever is wrong with the file; roll back then.
    """
    reader = _Reader(lines)
    header = reader.header()
    state = ServerState() if header.base is None else _write_base(connection, header.base, reader)
    batch: list[dict[str, Any]] = []
    for row in reader.events():
        try:
            _apply(state, row)
        except (DecodeError, ApplyError) as error:
            raise reader.failed(str(error)) from None
        batch.append(row._asdict())
        if len(batch) == BATCH:
            connection.execute(insert(EVENTS), batch)
            batch.clear()
            progress(f"{reader.count:,} events")
    if batch:
        connection.execute(insert(EVENTS), batch)
    proof = digest(state)
    if reader.trailer.digest not in (None, proof):
        raise ImportFailed(f"the events replay to the digest {proof}, the export says {reader.trailer.digest}")
    return Done(reader.count, reader.last.id, proof)


def _write_base(connection: Connection, base: Base, reader: _Reader) -> ServerState:
    packed = checkpoints.Packed(kind=checkpoints.BASE, **msgspec.structs.asdict(base))
    checkpoints.write(connection, packed)
    try:
        state = checkpoints.newest(connection, only_base=True).state
    except checkpoints.DamagedBase as error:
        raise reader.failed(str(error)) from None
    if digest(state) != base.digest:
        raise reader.failed("the base has another digest than it says: it was changed behind the export")
    return state


class _Reader:
    """The lines of an export, checked one by one."""

    def __init__(self, lines: IO[bytes]) -> None:
        self._lines = self._numbered(lines)
        self._number = 0
        self.count = 0
        self.last = Row(0, "", 0, "", None, None, "", "")
        self.trailer = Trailer(end=False, events=0, sha256="", last_id=0)

    def _numbered(self, lines: IO[bytes]) -> Iterable[bytes]:
        try:
            while line := lines.readline(MAX_LINE if self._number else MAX_HEADER):
                self._number += 1
                if not line.endswith(b"\n"):
                    raise self.failed("the file is cut off here" if len(line) < MAX_LINE else "the line is too long")
                yield line
        except (OSError, EOFError) as error:
            raise self.failed(f"the file cannot be read: {error}") from None

    def failed(self, why: str) -> ImportFailed:
        """What is wrong with the line that was read last."""
        return ImportFailed(f"line {self._number}: {why}")

    def header(self) -> Header:
        """The first line."""
        line = next(iter(self._lines), None)
        if line is None:
            raise ImportFailed("the file is empty")
        try:
            header = msgspec.json.decode(line, type=Header)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise self.failed("this is no export of slircd: the header is missing") from None
        if header.slircd_export != FORMAT:
            raise self.failed(f"the format is {header.slircd_export}, this slircd reads {FORMAT}")
        if not header.complete:
            raise self.failed("this export is a selection of a log: it cannot be replayed, so it cannot be imported")
        return header

    def events(self) -> Iterator[Row]:
        """The rows; when they end, the trailer has been found to be right."""
        decode = msgspec.json.Decoder(_Line).decode
        checksum = hashlib.sha256()
        for line in self._lines:
            if line.startswith(b'{"end":'):
                self._end(line, checksum.hexdigest())
                return
            checksum.update(line)
            try:
                found = decode(line)
                payload = bytes(found.payload).decode()
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise self.failed(f"this is no event: {error}") from None
            row = Row(
                found.id,
                found.timestamp,
                found.sequence,
                found.event_type,
                found.actor_uid,
                found.target,
                payload,
                found.session_id,
            )
            self._check(row)
            self.last = row
            self.count += 1
            yield row
        raise ImportFailed(f"the file ends behind line {self._number}, without its last line: it is cut off")

    def _check(self, row: Row) -> None:
        try:
            parse_timestamp(row.timestamp)
        except ValueError:
            raise self.failed(f"{row.timestamp!r} is no timestamp of a log") from None
        for name in ("id", "sequence", "timestamp"):
            before, now = getattr(self.last, name), getattr(row, name)
            if now < before or (now == before and name != "timestamp"):
                raise self.failed(f"out of order: {name} {now} behind {before}")

    def _end(self, line: bytes, checksum: str) -> None:
        try:
            self.trailer = msgspec.json.decode(line, type=Trailer)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self.failed(f"the last line is damaged: {error}") from None
        if self.trailer.events != self.count:
            raise self.failed(f"{self.count} events were read, {self.trailer.events} were exported")
        if self.trailer.sha256 != checksum:
            raise self.failed("the checksum is another: events were changed behind the export")
        for _ in self._lines:
            raise self.failed("there is something behind the last line")
