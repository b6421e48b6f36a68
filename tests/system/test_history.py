"""Message history and users who stay, on the real daemon: through a stop, a kill, and to the last byte on the disk."""

from __future__ import annotations

import re
import signal
from base64 import b64encode
from pathlib import Path

import pytest
from click.testing import CliRunner

from slircd.replay.cli import main as replay
from tests.system.daemon import Daemon, SocketClient

pytestmark = pytest.mark.system

MORE = """
[history]
channels = true
direct = true

[bouncer]
always_on = "opt-in"
"""
CAPS = "sasl message-tags server-time batch echo-message draft/chathistory draft/message-redaction"


def logs_in(daemon: Daemon, nick: str, caps: str = CAPS) -> SocketClient:
    """A client that proves to own the account of its nick before it is a user."""
    client = SocketClient(daemon, tls=True)
    blob = b64encode(f"\0{nick}\0correcthorse".encode()).decode()
    client.sends(f"CAP REQ :{caps}", "AUTHENTICATE PLAIN")
    client.until(r"AUTHENTICATE \+")
    client.sends(f"AUTHENTICATE {blob}")
    client.until(" 903 ")
    client.sends(f"NICK {nick}", f"USER {nick} 0 * :{nick}", "CAP END")
    client.until(" 422 | 376 ")
    client.synchronise()
    return client


def asks(client: SocketClient, line: str) -> list[str]:
    """What comes of a line."""
    start = len(client.lines)
    client.sends(line)
    client.synchronise()
    return client.lines[start:-1]


def test_somebody_who_stays(tmp_path: Path) -> None:
    """Who is always on is on its channel after a stop and after a kill, and comes back to what was said."""
    with Daemon(tmp_path, more=MORE) as daemon:
        ann = SocketClient(daemon, tls=True).register("ann")
        ann.sends("NS REGISTER correcthorse", "NS SET ALWAYS-ON ON", "JOIN #c", "PRIVMSG #c :before")
        ann.synchronise()
        for end in (daemon.stop, daemon.kill):
            ann.close()
            end()
            daemon.start()
            eve = SocketClient(daemon).register("eve")
            names = " ".join(asks(eve, "JOIN #c"))
            assert "@ann eve" in names, names
            asks(eve, f"PRIVMSG #c :missed {end.__name__}")
            assert "Not connected" in " ".join(asks(eve, f"PRIVMSG ann :privately {end.__name__}"))
            plain = logs_in(daemon, "ann", "sasl server-time")
            shown = [line for line in plain.lines if " PRIVMSG " in line]
            assert [line.rsplit(" :", 1)[1] for line in shown] == [
                f"missed {end.__name__}",
                f"privately {end.__name__}",
            ]
            plain.close()
            ann = logs_in(daemon, "ann")
            assert any(" JOIN #c" in line for line in ann.lines)
            history = " ".join(asks(ann, "CHATHISTORY LATEST #c * 10"))
            assert history.index("before") < history.index("missed stop"), history
            eve.close()
        daemon.signal(signal.SIGTERM)
        daemon.wait()
    verified = CliRunner().invoke(replay, ["--db", str(daemon.database), "--verify"])
    assert verified.exit_code == 0, verified.output


def test_what_is_taken_back_is_nowhere(tmp_path: Path) -> None:
    """A redacted text is in no file of the database, also while the server runs."""
    with Daemon(tmp_path, more=MORE) as daemon:
        ann = SocketClient(daemon)
        ann.sends(f"CAP REQ :{CAPS}", "NICK ann", "USER ann 0 * :ann", "CAP END")
        ann.until(" 422 | 376 ")
        ann.sends("JOIN #c")
        ann.synchronise()
        [line] = asks(ann, "PRIVMSG #c :unspeakable")
        match = re.search(r"msgid=([^ ;]+)", line)
        assert match is not None
        assert any(b"unspeakable" in file.read_bytes() for file in tmp_path.glob("slircd.db*"))
        [redact] = asks(ann, f"REDACT #c {match[1]}")
        assert " REDACT #c " in redact
        asks(ann, "PRIVMSG #c :another")
        daemon.stop()
        assert not any(b"unspeakable" in file.read_bytes() for file in tmp_path.glob("slircd.db*"))
