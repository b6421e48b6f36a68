"""`slircd plugin`: write a plugin, test it, and read what it may do."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from slircd.commands.extensions import ManagerError


@click.group()
def plugin() -> None:
    """Write and test plugins."""


@plugin.command()
@click.argument("name")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default="plugins",
    show_default=True,
    help="Folder of the plugins.",
)
def new(name: str, folder: Path) -> None:
    """Write a new plugin NAME, with its configuration and a test."""
    from slircd.plugins.scaffold import new_plugin

    try:
        written = new_plugin(name, folder)
    except ManagerError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    for path in written:
        click.echo(f"wrote {path}")
    click.echo(f"Test it:  slircd plugin test {folder / name}")
    click.echo(f"Load it:  /PLUGIN LOAD {name}")


@plugin.command()
@click.argument("name")
def test(name: str) -> None:
    """Run the tests of the plugin NAME (a folder, or the name of one that would be found): its test*.lua.

    The plugin runs on a server in memory, with all capabilities that its config.toml asks for.  Exit status 1 if a test
    fails.
    """
    from slircd.plugins.tester import Result, run_tests

    results: list[Result] = []

    def report(result: Result) -> None:
        results.append(result)
        click.echo(f"{'ok' if result.problem is None else 'FAILED'}  {result.name}")
        if result.problem is not None:
            click.echo("".join(f"    {line}\n" for line in result.problem.splitlines()), nl=False)

    try:
        run_tests(_folder(name), report)
    except ManagerError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    failed = sum(result.problem is not None for result in results)
    click.echo(f"{len(results) - failed} passed, {failed} failed")
    sys.exit(1 if failed or not results else 0)


def _folder(name: str) -> Path:
    from slircd.plugins.manifest import shipped_folder

    shipped = shipped_folder()
    for folder in [Path(name), Path("plugins") / name, *([shipped / name] if shipped is not None else [])]:
        if (folder / "init.lua").is_file():
            return folder
    raise ManagerError(f"there is no {name}/init.lua here, in plugins, or among those that ship")


@plugin.command()
@click.option("--stub", is_flag=True, help="Print the stub file of the Lua language server instead.")
def reference(stub: bool) -> None:
    """Print the reference of the API; with --stub what editors complete and check by (LuaLS)."""
    from slircd.plugins.reference import reference_page, stub_file

    click.echo(stub_file() if stub else reference_page(), nl=False)
