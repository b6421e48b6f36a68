"""`python -m slircd.retention`: the `slircd` command, for the process that the server starts."""

from __future__ import annotations

import click

from slircd.retention.cli import events


@click.group()
def main() -> None:
    """As `slircd`."""


main.add_command(events)

if __name__ == "__main__":
    main()
