"""`slircd health`: for containers and scripts that want to know whether the server on this machine is well."""

from __future__ import annotations

import sys
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

import click

from slircd.config.load import ConfigError, read_config
from slircd.config.sections import Admin

TIMEOUT_S: Final = 5.0


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option(
    "--ready", is_flag=True, help="Ask whether it can serve (/readyz), not only whether it answers (/healthz)."
)
def health(file: Path | None, ready: bool) -> None:
    """Ask the running server of the configuration FILE how it is, over its admin API.

    Exit status: 0 it is well, 1 it is not, 2 it cannot be asked.
    """
    try:
        config, _ = read_config(None if file is None else str(file))
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    admin = config.admin
    if not admin.enabled:
        click.echo("the admin API is off (admin.enabled), so nobody can be asked", err=True)
        sys.exit(2)
    try:
        status, answer = _ask(admin, "/readyz" if ready else "/healthz")
    except (OSError, HTTPException) as error:
        reason = getattr(error, "strerror", None) or error  # without the number of the error
        click.echo(f"{admin.address}:{admin.port} does not answer: {reason}", err=True)
        sys.exit(1)
    click.echo(answer)
    sys.exit(status != 200)


def _ask(admin: Admin, path: str) -> tuple[int, str]:
    """GET from the admin API of this machine."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(admin.address, admin.address)  # noqa: S104  # asked, not bound
    connection = HTTPConnection(address, admin.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace").strip()
    finally:
        connection.close()
