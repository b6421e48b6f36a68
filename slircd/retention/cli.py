"""`slircd events`: what is kept of a log, what goes, and how it is carried elsewhere.

Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no such database, 4 no log of slircd or a newer schema, 5 a
damaged event or base, 6 a moment before the horizon.
"""

from __future__ import annotations

import getpass
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import click
import msgspec

from slircd.config.load import DEFAULT_FILE, ConfigError, read_config
from slircd.config.sections import Config
from slircd.events.checkpoints import BeforeHorizon, DamagedBase
from slircd.events.reader import ForeignSchema, LogError, LogReader, NoLog
from slircd.events.types import SERVER
from slircd.replay.cli import MOMENT
from slircd.state.feed import Damaged

TABLE_WIDTH: Final = 200

F = TypeVar("F", bound=Callable[..., Any])

STATUS: Final[tuple[tuple[type[Exception], int], ...]] = (
    (NoLog, 3),
    (ForeignSchema, 4),
    (Damaged, 5),
    (DamagedBase, 5),
    (BeforeHorizon, 6),
    (LogError, 1),
    (ConfigError, 1),
    (OSError, 1),
)


@click.group()
def events() -> None:
    """Prune, redact, export and import the event log, and show its figures.

    All but `import` may run while the server runs.
    """


class Where:
    """The log that a command works on, and the configuration that says so."""

    def __init__(self, config_file: str | None, db: str | None) -> None:
        self.config: Config = read_config(config_file)[0]
        self.location = db or self.config.database.url


def on_a_log(function: F) -> F:
    """A command with --config and --db, whose first argument is the Where; errors become words and an exit status."""

    @click.option("-c", "--config", "config_file", help=f"Configuration file.  [default: {DEFAULT_FILE}, if there]")
    @click.option("--db", help="The log: a path, or a database URL.  [default: database.url of the configuration]")
    @wraps(function)
    def command(*arguments: Any, config_file: str | None, db: str | None, **options: Any) -> Any:
        try:
            return function(Where(config_file, db), *arguments, **options)
        except BrokenPipeError:
            sys.stderr.close()
        except tuple(kind for kind, _ in STATUS) as error:
            _fail(_words(error), next(status for kind, status in STATUS if isinstance(error, kind)))

    return command  # type: ignore[return-value]


def _words(error: Exception) -> str:
    """What went wrong; of a file its name (where one was moved to) and the system's reason, without the number of the error."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename2 or error.filename}: {error.strerror}"
    return str(error)


def _fail(text: str, status: int) -> NoReturn:
    click.echo(f"slircd events: {text}", err=True)
    sys.exit(status)


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Something that shows how far it is: one line on stderr, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    last = [0.0]

    def show(text: str) -> None:
        now = time.monotonic()
        if now - last[0] > 0.1:
            last[0] = now
            click.echo(f"\r{text}\x1b[K", err=True, nl=False)

    try:
        yield show
    finally:
        if last[0]:
            click.echo("\r\x1b[K", err=True, nl=False)


def print_json(document: Any) -> None:
    """A document on standard output."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))


def thousands(number: int) -> str:
    """A number for people."""
    return f"{number:,}"


# --- stats --------------------------------------------------------------------------------------------------------


@events.command()
@on_a_log
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def stats(where: Where, *, as_json: bool) -> None:
    """Show rows, bytes and age by family and type."""
    from slircd.retention.stats import collect

    with LogReader(where.location) as reader:
        found = collect(reader)
    if as_json:
        print_json(found)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name, justify in (("type", "left"), ("rows", "right"), ("bytes", "right"), ("first", "left"), ("last", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("kept")
    for family in found.families:
        members = [each for each in found.types if each.name.partition(".")[0] == family.name]
        for each, style in ((family, "bold"), *((each, "") for each in members)):
            name = f"{each.name}.*" if each is family else f"  {each.name}"
            kept = "" if each is family else "own rule" if each.state_free else "with the state"
            numbers = (thousands(each.rows), thousands(each.bytes), each.first[:19], each.last[:19])
            table.add_row(name, *numbers, kept, style=style)
    total = found.total
    table.add_row(
        "total", thousands(total.rows), thousands(total.bytes), total.first[:19], total.last[:19], style="bold"
    )
    # As wide as the table needs: on a narrow terminal, or in a pipe, rich would cut the times.
    console = Console(soft_wrap=True, highlight=False, width=TABLE_WIDTH)
    console.print(table)
    if found.horizon is not None:
        console.print(f"the log begins at {found.horizon.timestamp[:19]}, behind event {found.horizon.event_id}")
    states = found.checkpoints
    console.print(f"checkpoints: {thousands(states.rows)}, {thousands(states.bytes)} bytes")
    console.print(f"on disk: {thousands(found.disk_bytes)} bytes")


# --- prune --------------------------------------------------------------------------------------------------------


def by(function: F) -> F:
    """An option that says who asks for something, for the log."""
    return click.option(
        "--by", default=getpass.getuser, help="Who asks for it, as the log will say.  [default: your user name]"
    )(function)


def actor_of(name: str) -> str:
    """The actor of what a command does."""
    return SERVER if name == SERVER else f"admin:{name}"


@events.command()
@on_a_log
@by
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def prune(where: Where, *, by: str, dry_run: bool) -> None:
    """Delete what the rules in [retention] do not keep, and give old addresses pseudonyms where they say so.

    The server does the same by itself, every retention.check_hours.
    """
    from slircd.retention.work import prune_all
    from slircd.secrets import read_pseudonym_key

    config = where.config
    key = read_pseudonym_key(Path(config.secrets_file)) if config.retention.pseudonymise_days else b""
    with progress() as show:
        done = prune_all(
            where.location,
            where.config.retention,
            actor=actor_of(by),
            now_s=time.time(),
            pseudonym_key=key,
            dry_run=dry_run,
            progress=show,
        )
    verb = "would be pruned" if dry_run else "pruned"
    for name, count in done.families.items():
        click.echo(f"{name}: {count:,} {verb}")
    if done.horizon is not None:
        click.echo(f"events that change the state: {done.horizon.pruned:,} {verb}")
        begins = "would begin" if dry_run else "begins"
        click.echo(f"the log {begins} at {done.horizon.timestamp}, with the state behind event {done.horizon.event_id}")
    if done.pseudonyms is not None and done.pseudonyms.events:
        click.echo(f"old addresses became pseudonyms in {done.pseudonyms.events:,} events")
    elif not done.families and done.horizon is None:
        click.echo("nothing to prune: the rules in [retention] keep all that there is")


# --- redact -------------------------------------------------------------------------------------------------------


@events.command()
@on_a_log
@by
@click.option("--account", help="Erase the owner of this account, and drop it.")
@click.option("--nick", help="Erase whoever had this nick, which is registered to nobody.")
@click.option("--host", help="Erase whoever came from this host or address.")
@click.option("--dry-run", is_flag=True, help="Only say how much would be rewritten.")
def redact(where: Where, *, by: str, dry_run: bool, **wanted: str | None) -> None:
    """Erase somebody from the log, for good.

    Names, addresses, and what they wrote are replaced by `erased-1` and the like, everywhere: in events, in the base and
    in checkpoints, and in what the server has in memory.  They are disconnected; credentials are deleted.
    """
    from slircd.retention.erasure import Request
    from slircd.retention.work import redact as do

    given = {name: value for name, value in wanted.items() if value}
    if len(given) != 1:
        raise click.UsageError("exactly one of --account, --nick and --host says who is to be erased")
    request = Request(**given)
    with progress() as show:
        done = do(where.location, request, actor=actor_of(by), now_s=time.time(), dry_run=dry_run, progress=show)
    verb = "would be rewritten" if dry_run else "rewritten"
    for name, count in sorted(done.types.items()):
        click.echo(f"{name}: {count:,} {verb}")
    click.echo(f"{done.events:,} events {verb}, {done.checkpoints:,} checkpoints made anew")
    if not dry_run:
        click.echo("exports and backups from before still have it")


# --- export and import --------------------------------------------------------------------------------------------


@events.command("export")
@on_a_log
@click.argument("file", default="-")
@click.option("--from", "since", type=MOMENT, help="Only events from this moment on.")
@click.option("--to", "until", type=MOMENT, help="Only events up to this moment.")
@click.option("--type", "event_type", help="Only events of this type.")
@click.option("--target", help="Only events that happened to this: a casefolded channel, a UID, an account, a mask.")
@click.option("--actor", help="Only events that this UID, or server, caused.")
@click.option("--proof/--no-proof", default=True, help="Whether to replay a whole log, for the digest of its end.")
def export_command(where: Where, file: str, *, proof: bool, **selection: str | None) -> None:
    """Write events to FILE as NDJSON, compressed where it ends in .gz; standard output by default.

    A whole log, or one up to a moment (--to), can be imported elsewhere.  Credentials (password hashes, e-mail
    addresses) are never in an export.
    """
    from slircd.retention.transfer import export_lines, writing

    count = -2
    with LogReader(where.location) as reader, writing(file) as out, progress() as show:
        for line in export_lines(reader, selection, prove=proof):  # type: ignore[arg-type]  # the options are its keys
            out.write(line + b"\n")
            count += 1
            if count % 10_000 == 0:
                show(f"{count:,} events")
    if file != "-":
        click.echo(f"{count:,} events are in {file}", err=True)


@events.command("import")
@on_a_log
@click.argument("file")
def import_command(where: Where, file: str) -> None:
    """Make a log of an export: FILE is what `slircd events export` wrote, `-` for standard input.

    The database must be empty, or not be there yet.  It is all or nothing: what is wrong with the file is said with
    the number of its line, and leaves the database empty.  Accounts come without their passwords: an export has none.
    """
    from slircd.retention.newlog import new_log
    from slircd.retention.transfer import import_lines, reading

    with reading(file) as lines, new_log(where.location) as connection, progress() as show:
        done = import_lines(lines, connection, progress=show)
    click.echo(f"{done.events:,} events are imported; the state at their end has the digest {done.digest}")
    click.echo("accounts have no passwords and no e-mail addresses now: credentials are in no export")
