"""`slircd health` where there is no server."""

from __future__ import annotations

import socket
from pathlib import Path

from click.testing import CliRunner

from slircd.health import health


def test_nobody_answers(tmp_path: Path) -> None:
    """The address and the reason are said, and no number of an error."""
    with socket.socket() as bound:  # bound and not listening: nobody else can take the port meanwhile
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        file = tmp_path / "slircd.toml"
        file.write_text(f"[admin]\nport = {port}\n")
        done = CliRunner().invoke(health, [str(file)])
    assert (done.exit_code, done.output) == (1, f"127.0.0.1:{port} does not answer: Connection refused\n")
