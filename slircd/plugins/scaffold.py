"""`slircd plugin new`: the files of a new plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from slircd.commands.extensions import ManagerError
from slircd.wire.names import valid_plugin_name

INIT: Final = """\
-- {name}: what it is for, in a sentence.

local plugin = {{ name = "{name}", version = "0.1" }}

function plugin.on_load(api)
  api.register_command("{command}", function(ctx, args)
    ctx.reply("Hello, " .. (args[1] or ctx.nick) .. "!")
  end, {{ help = "{command} [<nick>] says hello." }})

  api.register_event_listener("channel.join", function(event)
    print(event.member .. " joined " .. event.name)
  end)
end

return plugin
"""

CONFIG: Final = """\
description = "What it is for"

# What it asks for; the operator's configuration grants it.  `slircd plugin reference` lists all.
capabilities = ["send"]

# As whom it speaks: "server", or "client" for a pseudo-client of its own.
send_as = "server"

[settings]
"""

TEST: Final = """\
-- slircd plugin test {name}

test("{command} says hello", function()
  server.connect("ann")
  server.send("ann", "{command}")
  server.expects("ann", "Hello, ann!")
end)
"""


def new_plugin(name: str, parent: Path) -> list[Path]:
    """Write the files of a new plugin into a folder of `parent`; what was written.  Raises ManagerError."""
    if not valid_plugin_name(name):
        raise ManagerError("a plugin's name has at most 32 letters, digits, - and _")
    folder = parent / name
    if folder.exists():
        raise ManagerError(f"{folder} is there already")
    command = "".join(letter for letter in name.upper() if letter.isalnum()).lstrip("0123456789") or "HELLO"
    written: list[Path] = []
    try:
        folder.mkdir(parents=True)
        for file, text in (("init.lua", INIT), ("config.toml", CONFIG), ("test.lua", TEST)):
            path = folder / file
            path.write_text(text.format(name=name, command=command), encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise ManagerError(f"{folder}: {error.strerror}") from None
    return written
