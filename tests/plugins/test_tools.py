"""`slircd plugin`, the plugins that ship, and the reference: what is written down is what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from slircd.cli import main
from slircd.plugins.functions import FUNCTIONS
from slircd.plugins.manifest import available, shipped_folder
from slircd.plugins.reference import TYPES, reference_page, stub_file
from slircd.plugins.tester import HELPERS, Result, run_tests
from slircd.rules.capabilities import CAPABILITIES
from tests.plugins.support import PluginTestCase

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", available([]))
def test_plugins_that_ship(name: str) -> None:
    """Each passes its own tests."""
    folder = shipped_folder()
    assert folder is not None
    results: list[Result] = []
    run_tests(folder / name, results.append)
    assert results
    assert [result for result in results if result.problem is not None] == []


def test_new_plugin(tmp_path: Path) -> None:
    """A new plugin passes its test as it stands; a name that is none, or is taken, is refused."""
    runner = CliRunner()
    made = runner.invoke(main, ["plugin", "new", "my-plugin", "--folder", str(tmp_path)])
    assert made.exit_code == 0, made.output
    assert {path.name for path in (tmp_path / "my-plugin").iterdir()} == {"init.lua", "config.toml", "test.lua"}
    tested = runner.invoke(main, ["plugin", "test", str(tmp_path / "my-plugin")])
    assert tested.output == "ok  MYPLUGIN says hello\n1 passed, 0 failed\n"
    assert tested.exit_code == 0
    again = runner.invoke(main, ["plugin", "new", "my-plugin", "--folder", str(tmp_path)])
    assert again.exit_code == 1
    assert "is there already" in again.output
    assert runner.invoke(main, ["plugin", "new", "../x", "--folder", str(tmp_path)]).exit_code == 1


FAILING = """
test("is right", function() server.connect("ann") end)
test("is wrong", function()
  server.connect("ann")
  server.send("ann", "BREAK")
  server.expects("ann", "never")
end)
test("has a fault", function()
  server.connect("ann")
  server.send("ann", "BREAK \u00e9")
end)
test("calls what is not there", function() server.explode() end)
test("spins", function() local _ = server.lines("nobody") end)
"""


def test_failing_tests(tmp_path: Path) -> None:
    """What fails is said, with the line of the test and what the client got; so are a plugin's faults."""
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "init.lua").write_text(
        'return { on_load = function(api) api.register_command("BREAK", function() error("broken \u00e9") end) end }'
    )
    (folder / "test.lua").write_text(FAILING)
    done = CliRunner().invoke(main, ["plugin", "test", str(folder)])
    assert done.exit_code == 1
    assert done.output.startswith(
        "ok  is right\nFAILED  is wrong\n    bad/test.lua:6: server.expects: ann did not get 'never'"
    )
    assert "PLUGIN_FAILED" in done.output
    assert "bad/init.lua:1: broken \u00e9" in done.output
    assert "FAILED  calls what is not there" in done.output
    assert "there is no client nobody" in done.output
    assert done.output.endswith("1 passed, 4 failed\n")


@pytest.mark.parametrize(
    ("init", "config", "test", "text"),
    [
        (None, None, "", "init.lua"),
        ("return {", None, "", "cannot be loaded"),
        ("return 1", None, "", "must return a table"),
        ("return {}", None, "", "needs a function on_load"),
        ("return { on_load = print }", "capabilities = 1", "", "capabilities"),
        ("return { on_load = print }", 'capabilities = ["fly"]', "", "unknown capability 'fly'"),
        ("return { on_load = print }", "nonsense", "", "is not TOML"),
        ("return { on_load = print }", "colour = 1", "", "colour"),
        ("return { on_load = print }", None, "}", "test.lua:1"),
        ("return { on_load = print }", None, None, "no test.lua"),
    ],
)
def test_mistakes(tmp_path: Path, init: str | None, config: str | None, test: str | None, text: str) -> None:
    """Each mistake in a plugin's files is told in words."""
    folder = tmp_path / "bad"
    folder.mkdir()
    if init is not None:
        (folder / "init.lua").write_text(init)
    if config is not None:
        (folder / "config.toml").write_text(config)
    if test is not None:
        (folder / "test.lua").write_text(test or 'test("loads", function() server.connect("ann") end)')
    done = CliRunner().invoke(main, ["plugin", "test", str(folder)])
    assert done.exit_code == 1
    assert text in done.output
    assert "Traceback" not in done.output


def test_reference_names_everything() -> None:
    """Every function, capability and helper is in the reference and in the editor's file."""
    page, stub = reference_page(), stub_file()
    for name in FUNCTIONS:
        if name != "reply":
            assert f"### api.{name}(" in page
            assert f"function Api.{name}(" in stub
    for name in CAPABILITIES:
        assert f"| `{name}` |" in page
    for name in HELPERS:
        assert (f"function server.{name}(" in stub) == (name not in ("begin", "finish"))
    used = set(
        re.findall(
            r"\b[A-Z][A-Za-z]+\b", " ".join(item.lua.type for entry in FUNCTIONS.values() for item in entry.parameters)
        )
    )
    assert used <= TYPES.keys()


def test_shown_lua_and_python_are_right(tmp_path: Path) -> None:
    """The plugin of docs/plugins.md passes the test of docs/plugins.md; its config.toml is one."""
    text = (ROOT / "docs" / "plugins.md").read_text()
    lua = re.findall(r"```lua\n(.*?)```", text, re.DOTALL)
    toml = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    folder = tmp_path / "hello"
    folder.mkdir()
    (folder / "init.lua").write_text(lua[0])
    (folder / "test.lua").write_text(lua[1])
    (folder / "config.toml").write_text(toml[1])
    done = CliRunner().invoke(main, ["plugin", "test", str(folder)])
    assert done.exit_code == 0, done.output
    [python] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(python, names)
    assert names["Hello"]().version == "1.0"
    (tmp_path / "slircd.toml").write_text(toml[0])
    checked = CliRunner().invoke(main, ["config", "check", str(tmp_path / "slircd.toml")])
    assert checked.exit_code == 0, checked.output


class Tables(PluginTestCase):
    """The tables of the reference have the fields that plugins get."""

    grants = {"probe": list(CAPABILITIES)}

    def test_fields(self) -> None:
        """Users, channels, accounts, events, contexts."""
        heard: list[dict[str, Any]] = []
        contexts: list[Any] = []

        def begin(api: Any) -> None:
            api.invoke("register_event_listener", ["message.*", heard.append])
            api.invoke("register_command", ["CTX", lambda ctx, args: contexts.append(ctx)])

        api = self.load("probe", begin)
        ann, _ = self.on_channel("#c", "@ann", "bob")
        ann.sends("TOPIC #c :t", "NS REGISTER password1", "PRIVMSG #c :hello", "CTX")
        given = {
            "User": api.invoke("get_user", ["ann"]),
            "Channel": api.invoke("get_channel", ["#c"]),
            "Account": api.invoke("get_account", ["ann"]),
            "ChannelList": {**api.invoke("list_channels", []), "next": 1},
            "Event": {**heard[0], "id": 1, "sequence": 1},
        }
        given["Member"] = given["Channel"]["members"][0]
        given["Topic"] = given["Channel"]["topic"]
        given["ListedChannel"] = given["ChannelList"]["channels"][0]
        for name, value in given.items():
            self.assertEqual(value.keys(), TYPES[name][1].keys(), name)
        self.assertEqual(set(contexts[0].__slots__), TYPES["Context"][1].keys())
