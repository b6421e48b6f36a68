"""The `slircd` command: a thin place; each group of commands stands where its subject does.

`slircd FILE` runs the server as `twistd slircd` does.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Final, NoReturn

import click

from slircd.about import version

GROUPS: Final[dict[str, tuple[str, str]]] = {
    "admin": ("slircd.admin.cli:admin", "Tokens of the admin API."),
    "config": ("slircd.config.cli:config", "Check, show and write configuration."),
    "health": ("slircd.health:health", "Ask the running server how it is."),
    "plugin": ("slircd.plugins.cli:plugin", "Write and test plugins."),
    "events": ("slircd.retention.cli:events", "Prune, redact, export, import the event log; its figures."),
}
"""Groups by name: where they are, and what the help says of them.  They are imported when they are used."""


class _Groups(click.Group):
    """A group whose subgroups are imported when they are called, and in which a configuration file is a command, too."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of `args`; a word that is none but looks like a file stands for `run FILE`."""
        if args[0] not in self.list_commands(ctx) and ("/" in args[0] or args[0].endswith(".toml")):
            args = ["run", *args]
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *GROUPS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in GROUPS:
            return super().get_command(ctx, cmd_name)
        module, _, name = GROUPS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any group."""
        rows = [(name, text) for name, (_, text) in GROUPS.items()]
        rows += [(name, command.get_short_help_str(80)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(sorted(rows))


@click.group(cls=_Groups, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version(), prog_name="slircd")
def main() -> None:
    """Runs and looks after an slircd server.

    `slircd FILE` is short for `slircd run FILE`, which is `twistd -n slircd --config FILE`.
    """


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
def run(file: Path | None) -> NoReturn:
    """Run the server in the foreground with the configuration FILE (default: slircd.toml, if there is one)."""
    from twisted.scripts.twistd import run as run_twistd

    sys.argv = ["twistd", "--nodaemon", "--pidfile=", "slircd", *(["--config", str(file)] if file is not None else [])]
    run_twistd()
    sys.exit()


@main.command("hash-password")
def hash_password() -> None:
    """Read a password from the terminal or standard input, print its hash for the configuration."""
    from slircd.security.passwords import hash_now

    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    if not password:
        click.echo("no password given", err=True)
        sys.exit(1)
    click.echo(hash_now(password))
