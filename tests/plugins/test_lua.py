"""Plugins in Lua on the real daemon: the seed plugin, faults and restarts, reload, storage across a restart."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.system.daemon import Daemon, SocketClient

pytestmark = pytest.mark.system


def write(folder: Path, name: str, code: str, config: str = "") -> None:
    """A plugin's folder."""
    (folder / "plugins" / name).mkdir(parents=True, exist_ok=True)
    (folder / "plugins" / name / "init.lua").write_text(code)
    if config:
        (folder / "plugins" / name / "config.toml").write_text(config)


def oper(daemon: Daemon, nick: str = "root") -> SocketClient:
    """An operator who hears of plugins."""
    client = SocketClient(daemon).register(nick)
    client.sends("OPER admin sesame", f"MODE {nick} +s p")
    client.until(r" 381 ")
    client.until(r" MODE \S+ \+s")
    return client


def rows(daemon: Daemon, query: str) -> list[tuple[object, ...]]:
    """What a query on the log gives."""
    with sqlite3.connect(daemon.database) as connection:
        return connection.execute(query).fetchall()


def test_the_first_plugin(tmp_path: Path) -> None:
    """`welcome` as it ships, without a config.toml; a plugin dropped into the folder logs its line with its name."""
    write(tmp_path, "test", 'local p = {} function p.on_load(api) print("Test plugin loaded!") end return p')
    with Daemon(tmp_path, more='[plugins]\nautoload = ["welcome"]\n[plugins.limits]\ndeadline_ms = 10000') as daemon:
        daemon.wait_for_output(r"plugin welcome 1\.0 is loaded")
        ann = SocketClient(daemon).register("ann")
        ann.until(r"^:irc\.test NOTICE ann :Welcome to our IRC network!$")
        ann.sends("JOIN #c", "GREET bob")
        ann.until(r"^:irc\.test PRIVMSG #c :Hello, bob!$")
        ann.sends("GREET")
        ann.until(r"^:irc\.test PRIVMSG #c :Hello, ann!$")
        ann.sends("PART #c", "greet")
        ann.until(r"^:irc\.test PRIVMSG ann :Hello, ann!$")
        root = oper(daemon)
        root.sends("plugin load test")
        root.until(r"NOTICE root :test 0 is loaded")
        daemon.wait_for_output(r"\[test\] Test plugin loaded!")
        root.sends("PLUGIN LIST")
        root.until(r"test 0: running, 0 calls")
        root.until(r"welcome 1\.0: running, 3 calls")
        root.sends("PLUGIN INFO welcome")
        root.until(r"commands: GREET; services: none; listeners: 1")
        root.until(r"confined by rlimits")
        root.sends("PLUGIN UNLOAD welcome", "GREET")
        root.until(r" 421 root GREET ")
        daemon.stop()
        assert rows(daemon, "SELECT event_type, target FROM events WHERE event_type LIKE 'plugin.%'") == [
            ("plugin.load", "welcome"),
            ("plugin.load", "test"),
            ("plugin.unload", "welcome"),
            ("plugin.unload", "test"),
        ]


KEEPER = """
local p = { version = "%s" }
function p.on_load(api)
  api.register_service("Keeper", function(ctx, text)
    local key, value = text:match("^(%%S+) (.+)$")
    if value then
      ctx.reply(tostring(api.storage_set(key, { said = value, by = ctx.nick })))
    else
      local kept = api.storage_get(text)
      ctx.reply("%s: " .. (kept and (kept.said .. " by " .. kept.by) or "nothing"))
    end
  end)
  api.register_command("DIE_NOW", function() while true do end end)
  api.register_command("COLON", function(ctx, args) api:send_notice(ctx.nick, "colon " .. #args) end, { min_args = 1 })
end
return p
"""


def test_storage_faults_reload(tmp_path: Path) -> None:
    """What a plugin keeps outlives it; a fault restarts it; a reload that fails keeps the old one."""
    write(tmp_path, "keeper", KEEPER % ("1", "one"), 'capabilities = ["send", "storage"]')
    more = '[plugins]\nautoload = ["keeper"]\n[plugins.grants]\nkeeper = ["send", "storage"]\n[plugins.limits]\ndeadline_ms = 3000'
    with Daemon(tmp_path, more=more) as daemon:
        daemon.wait_for_output(r"plugin keeper 1 is loaded")
        root = oper(daemon)
        root.sends("PRIVMSG Keeper :tea \u00e9arl grey", "PRIVMSG Keeper :tea")
        root.until(r"^:Keeper!Keeper@\S+ NOTICE root :true$")
        root.until(r"NOTICE root :one: \u00e9arl grey by root$")
        root.sends("DIE_NOW")
        root.until(r"PLUGIN_FAILED|TEMPORARILY_UNAVAILABLE")
        root.sends("COLON x")
        root.until(r"NOTICE root :colon 1$|TEMPORARILY_UNAVAILABLE")
        write(tmp_path, "keeper", "return {")
        root.sends("PLUGIN RELOAD keeper")
        root.until(r"CANNOT_RELOAD.*init\.lua:1")
        root.sends("PRIVMSG Keeper :tea")
        root.until(r"NOTICE root :one: |TEMPORARILY_UNAVAILABLE")
        write(tmp_path, "keeper", KEEPER % ("2", "two"))
        root.sends("PLUGIN RELOAD keeper")
        root.until(r"keeper 2 is loaded")
        root.sends("PRIVMSG Keeper :tea", "COLON x")
        root.until(r"NOTICE root :two: \u00e9arl grey by root$")
        root.until(r"NOTICE root :colon 1$")
        daemon.kill()
        # A service that the crash left behind is ended, and the new one takes its place.
        daemon.start()
        daemon.wait_for_output(r"plugin keeper 2 is loaded")
        ann = SocketClient(daemon).register("ann")
        ann.sends("PRIVMSG Keeper :tea")
        ann.until(r"NOTICE ann :two: \u00e9arl grey by root$")
        daemon.stop()
    stored = rows(
        daemon, "SELECT actor_uid, json_extract(payload, '$.values.tea') FROM events WHERE event_type = 'plugin.store'"
    )
    assert stored == [("plugin:keeper", '{"by":"root","said":"\u00e9arl grey"}')]
