"""The hostile corpus: plugins that try everything, on the real daemon.

Each file of tests/plugins/hostile is the body of a command's handler; its second line says what is to come of it.
Whatever it is: while it happens the server answers others and other plugins work, afterwards the fault is in the log
and operators have been told, the process is gone, and the server has not grown.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.daemon import DEADLINE_S, Daemon, SocketClient

pytestmark = pytest.mark.system

CORPUS = sorted((Path(__file__).parent / "hostile").glob("*.lua"))

PLUGIN = """\
local function attack(api, ctx)
{body}
end
local p = {{}}
function p.on_load(api)
  local reply
  api.register_command("ATTACK_{name}", function(ctx)
    local reply = ctx.reply
    attack(api, ctx)
    reply("contained")
  end)
end
return p
"""

WITNESS = """\
local p = {}
function p.on_load(api)
  api.register_command("WITNESS", function(ctx, args) ctx.reply("works " .. args[1]) end)
end
return p
"""

ASKED = """
capabilities = ["send", "kick", "storage", "accounts", "http"]
[limits]
deadline_ms = {deadline_ms}
memory_mb = 16
"""

MORE = """
[plugins]
autoload = ["witness"]
[plugins.limits]
deadline_ms = 10000
start_ms = 20000
"""


class Theatre:
    """One daemon, an operator who starts the attacks, and somebody who wants to go on chatting."""

    def __init__(self, folder: Path) -> None:
        self.daemon = Daemon(folder, more=MORE)
        write(folder, "witness", WITNESS)
        self.daemon.start()
        self.daemon.wait_for_output(r"plugin witness 0 is loaded")
        self.root = SocketClient(self.daemon).register("root")
        self.root.sends("OPER admin sesame", "MODE root +s p")
        self.root.until(r" 381 ")
        self.ann = SocketClient(self.daemon).register("ann")
        self.asked = 0
        self.resident = resident(self.daemon.pid)

    def heartbeat(self) -> None:
        """The server and the other plugin answer."""
        self.asked += 1
        self.ann.sends(f"WITNESS {self.asked}")
        self.ann.until(rf"NOTICE ann :works {self.asked}$")
        self.ann.synchronise()


def write(folder: Path, name: str, code: str, config: str = "") -> None:
    (folder / "plugins" / name).mkdir(parents=True, exist_ok=True)
    (folder / "plugins" / name / "init.lua").write_text(code)
    if config:
        (folder / "plugins" / name / "config.toml").write_text(config)


def resident(pid: int) -> int:
    """Bytes of a process's resident memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def is_gone(pid: int) -> bool:
    """Whether there is no such process any more; awaited, because the reactor has to hear of its end."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    made = Theatre(tmp_path_factory.mktemp("hostile"))
    with_daemon = made.daemon
    try:
        yield made
    finally:
        for client in with_daemon.clients:
            client.close()
        with_daemon.kill()


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.stem)
def test_hostile(theatre: Theatre, file: Path) -> None:
    """It gets nowhere, harms nobody, and is found out."""
    name, code = file.stem, file.read_text()
    expected = re.search(r"^-- expects: (.*)$", code, re.MULTILINE)
    assert expected is not None
    words = expected[1]
    root = theatre.root
    # Who is to get through must not be cut off because the machine has much else to do.
    asked = ASKED.format(deadline_ms=200 if "timeout" in words else 10_000)
    write(theatre.daemon.folder, name, PLUGIN.format(body=code, name=name.upper()), asked)
    root.sends(f"PLUGIN LOAD {name}", f"PLUGIN INFO {name}")
    pid = int(root.until(r"process (\d+): ").split("process ")[1].split(":")[0])
    root.sends(f"ATTACK_{name.upper()}")
    # Turns of the main loop: each of these needs several, and all come while the attack has not been dealt with or
    # before the next line of the operator is looked at.
    for _ in range(5):
        theatre.heartbeat()
    if words == "contained":
        line = root.until(r"NOTICE root :contained$|PLUGIN_FAILED|\*\*\* The plugin")
        assert line.endswith("contained"), line
    else:
        kinds = words.removesuffix(" fatal").replace(", ", "|")
        told = root.until(rf"\*\*\* The plugin {name} failed")
        assert re.search(rf"The plugin {name} failed \(({kinds})\)", told), told
    theatre.heartbeat()
    root.sends(f"PLUGIN UNLOAD {name}")
    root.until(rf"NOTICE root :{name} is unloaded$")
    assert is_gone(pid)
    theatre.heartbeat()
    assert resident(theatre.daemon.pid) < theatre.resident + (64 << 20)
    with sqlite3.connect(theatre.daemon.database) as log:
        faults = log.execute(
            "SELECT json_extract(payload, '$.kind'), json_extract(payload, '$.fatal'), actor_uid FROM events "
            "WHERE event_type = 'plugin.fault' AND target = ?",
            [name],
        ).fetchall()
    if words == "contained":
        assert faults == []
        return
    assert faults
    assert {kind for kind, _, _ in faults} <= set(kinds.split("|"))
    assert all(actor == f"plugin:{name}" for _, _, actor in faults)
    if words.endswith("fatal"):
        assert any(fatal for _, fatal, _ in faults)


def test_nobody_else_had_a_fault(theatre: Theatre) -> None:
    """The other plugin has run all the time in its first process, and no file of the attacks is there."""
    theatre.root.sends("PLUGIN INFO witness")
    line = theatre.root.until(r"calls: \d+, events")
    assert "errors: 0, restarts: 0" in line
    assert not Path("/tmp/slircd-was-here").exists()
