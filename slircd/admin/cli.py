"""`slircd admin`: tokens for programs that use the admin API, made and revoked beside a running server."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click
from sqlalchemy.exc import SQLAlchemyError

from slircd.admin.tables import SideTables
from slircd.admin.tokens import DEFAULT_DAYS, MAX_DAYS, NAME, new_token
from slircd.config.load import DEFAULT_FILE, ConfigError, read_config
from slircd.events.clock import format_timestamp
from slircd.events.reader import LogError


@click.group()
def admin() -> None:
    """The admin API: tokens."""


@admin.group()
@click.option("-c", "--config", "config_file", help=f"Configuration file.  [default: {DEFAULT_FILE}, if there]")
@click.option("--db", help="The log: a path, or a database URL.  [default: database.url of the configuration]")
@click.pass_context
def token(ctx: click.Context, config_file: str | None, db: str | None) -> None:
    """Tokens for programs: make, list, revoke."""
    try:
        ctx.obj = db or read_config(config_file)[0].database.url
    except ConfigError as error:
        _fail(str(error))


def _fail(text: str) -> NoReturn:
    click.echo(f"slircd admin: {text}", err=True)
    sys.exit(1)


@contextmanager
def _tables(location: str) -> Iterator[SideTables]:
    try:
        tables = SideTables(location)
        tables.check()
        yield tables
        tables.close()
    except (LogError, SQLAlchemyError) as error:
        _fail(str(getattr(error, "orig", None) or error))


@token.command()
@click.argument("name")
@click.option("--role", type=click.Choice(["read", "admin"]), default="read", show_default=True, help="What it may do.")
@click.option(
    "--days", type=click.IntRange(1, MAX_DAYS), default=DEFAULT_DAYS, show_default=True, help="How long it is good."
)
@click.pass_obj
def create(location: str, name: str, role: str, days: int) -> None:
    """Make a token called NAME, and print it; it cannot be shown again."""
    if NAME.fullmatch(name) is None:
        raise click.BadParameter("1 to 32 letters, digits, dots, dashes or underscores", param_hint="NAME")
    shown, row = new_token(name, role, days, time.time())
    with _tables(location) as tables:
        if not tables.add_token(row):
            _fail(f"there is a token called {name}; revoke it first")
    click.echo(shown)
    click.echo(f"The token {name} ({role}) is good until {row.expires_at[:10]}.", err=True)


@token.command("list")
@click.pass_obj
def list_(location: str) -> None:
    """Print the tokens, without what they prove themselves with."""
    now = format_timestamp(time.time())
    with _tables(location) as tables:
        rows = tables.tokens()
    click.echo(f"{'NAME':32} {'ROLE':6} {'CREATED':20} {'EXPIRES':20} LAST USED")
    for row in rows:
        expires = "expired" if row.expires_at <= now else row.expires_at[:19]
        used = row.last_used_at[:19] if row.last_used_at else "never"
        click.echo(f"{row.name:32} {row.role:6} {row.created_at[:19]:20} {expires:20} {used}")


@token.command()
@click.argument("name")
@click.pass_obj
def revoke(location: str, name: str) -> None:
    """Make the token called NAME good no longer; a running server knows within two seconds."""
    with _tables(location) as tables:
        if not tables.remove_token(name):
            _fail(f"there is no token called {name}")
    click.echo(f"The token {name} is revoked.")
