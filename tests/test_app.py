"""What the operator is told when the server is up, and by which programs it can be started."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.application.twist._options import TwistOptions

from slircd.app import Options, how_to_connect
from slircd.config.sections import Config


def test_example_is_offered_where_no_configuration_is(tmp_path: Path) -> None:
    """Without a file the example is the way to one."""
    file = tmp_path / "slircd.toml"
    assert f"config example > {file}, then restart" in how_to_connect([], Config(), str(file))


def test_configuration_is_not_to_be_overwritten(tmp_path: Path) -> None:
    """With a file no command is shown that would destroy it, but how to check it and have it read again."""
    file = tmp_path / "slircd.toml"
    file.write_text("")
    told = how_to_connect([], Config(), str(file))
    assert f"> {file}" not in told
    assert f"config check {file}, then kill -HUP {os.getpid()}" in told


def test_twist_logs_in_its_own_way(tmp_path: Path) -> None:
    """`twist slircd` has no options of twistd for the log; it starts all the same."""
    options = Options()
    options.parent = TwistOptions()
    options.parseOptions(["--config", str(tmp_path / "slircd.toml")])
