"""`slircd config`: check, show and write configuration."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from slircd.config.example import example as example_text
from slircd.config.example import show as show_text
from slircd.config.load import ConfigError, load, to_plain
from slircd.config.sections import Config


@click.group()
def config() -> None:
    """Check, show and write configuration."""


def _load(path: Path | None) -> Config:
    if path is None:
        return Config()
    try:
        return load(path)
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(1)


_FILE = click.Path(dir_okay=False, path_type=Path)
_named = click.option("-c", "--config", "named", type=_FILE, help="The same as FILE, as other commands take it.")


def _either(file: Path | None, named: Path | None) -> Path | None:
    if file is not None and named is not None:
        raise click.UsageError("name the file once: FILE, or --config FILE")
    return file or named


@config.command()
@click.argument("file", type=_FILE, required=False)
@_named
def check(file: Path | None, named: Path | None) -> None:
    """Say whether FILE (slircd.toml) is right; exit status 1 and one line for each mistake if not."""
    file = _either(file, named) or Path("slircd.toml")
    _load(file)
    click.echo(f"{file}: no mistakes found")


@config.command()
def example() -> None:
    """Print a complete configuration, with every key explained and at its default."""
    click.echo(example_text(), nl=False)


@config.command()
@click.argument("file", type=_FILE, required=False)
@_named
def show(file: Path | None, named: Path | None) -> None:
    """Print the configuration in force with FILE, or the defaults; secrets are masked."""
    click.echo(show_text(to_plain(_load(_either(file, named)))), nl=False)
