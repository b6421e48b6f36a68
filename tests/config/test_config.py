"""Configuration: what is right is read, what is wrong is said with file, key, value and what is allowed."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from slircd.cli import main
from slircd.config.example import example, show
from slircd.config.load import ConfigError, load, parse, to_plain
from slircd.config.sections import Config
from slircd.rehash import FIXED, merge
from slircd.security.passwords import hash_now, verify_now

HASH = hash_now("x", "minimum")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[server]\nnam = 'x.y'", "server.nam: found an unknown key, allowed: name"),
        ("[nosuch]\n", "nosuch: found an unknown key"),
        ('["ser\\nver"]\n', '"ser\\nver": found an unknown key'),
        ('[opers."a\\u007f b"]\nclass = "oper"', 'opers."a\\u007F b": found neither'),
        ('[opers."a\\nb"]\nclass = "oper"', 'opers: found "a\\nb", allowed: names of one line, without NUL'),
        ('[oper_classes."a\\tb"]\n[oper_classes.c]\ninherits = [""]', r'found "", allowed: a class: "a\tb", c'),
        ('[server]\nname = "a\\u0085b"', 'server.name: found "a\\u0085b", allowed'),
        ('[server]\nencoding = "utf-8\\u0000"', "server.encoding: found"),
        ("a = " + "[" * 5000 + "]" * 5000, "is nested too deeply"),
        ("[server]\nname = 5", "server.name: found 5, allowed: a text"),
        ("[server]\nname = 'nodot'", 'server.name: found "nodot", allowed: a host name with a dot'),
        ("[limits]\nnicklen = 500", "limits.nicklen: found 500, allowed: an integer from 9 to 64"),
        ("[limits.targets]\njoin = 'a'", 'limits.targets.join: found "a", allowed: an integer from 1 to 100'),
        ("[flood]\nenabled = 'yes'", 'flood.enabled: found "yes", allowed: true or false'),
        ("[tls]\nminimum = '1.0'", 'tls.minimum: found "1.0", allowed: one of "1.2", "1.3"'),
        ("server = 5", "server: found 5, allowed: a table"),
        ("[listen]\nport = 1", "listen: found a table, allowed: tables, each under [[listen]]"),
        ("[[listen]]\n", "listen[0]: found neither of `port` and `endpoint`, allowed: exactly one"),
        ("[[listen]]\nport = 1\nendpoint = 'tcp:1'", "listen[0]: found both"),
        ("[[listen]]\nport = 99999", "listen[0].port: found 99999, allowed: an integer from 0 to 65535"),
        ("[[listen]]\nport = 1\nproxies = ['x']", 'listen[0].proxies: found "x", allowed: networks'),
        ("[database]\nurl = 'mysql://x'", 'database.url: found "mysql://x"'),
        ("[opers.ann]\nclass = 'nosuch'\ncertfp = []", "opers.ann.class: found"),
        ("[opers.ann]\n", "opers.ann: found neither `password_hash` nor `certfp`"),
        ("[opers.ann]\npassword_hash = 'plain'", "opers.ann.password_hash: found"),
        ("[oper_classes.a]\nprivileges = ['kil']", "kill (did you mean this?)"),
        ("[oper_classes.a]\ninherits = ['a']", "a class that does not inherit this one"),
        ("[sts]\nenabled = true\n[[listen]]\nport = 6667", "sts.enabled: found true, allowed: true only where a"),
        ("[sts]\nenabled = true\n[[listen]]\ntls = true\nwebsocket = true", "a listener that speaks IRC has TLS"),
        ("not toml", "is not TOML"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, expected: str) -> None:
    """Each mistake names the file, the key, what was found and what is allowed."""
    file = tmp_path / "slircd.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert expected in str(caught.value)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1"])
def test_passwords_do_not_cross_a_network_in_the_clear(address: str) -> None:
    """The admin API takes an address that others reach only with TLS, or when told so in words."""
    admin = {"address": address}
    with pytest.raises(
        ConfigError, match=r"admin\.address: .*admin\.tls = true, or admin\.plain_http_in_public = true"
    ):
        parse({"admin": admin}, "x.toml")
    assert parse({"admin": {**admin, "tls": True}}, "x.toml").admin.address == address
    assert parse({"admin": {**admin, "plain_http_in_public": True}}, "x.toml").admin.address == address
    for loopback in ("127.0.0.1", "127.0.0.53", "::1"):
        assert parse({"admin": {"address": loopback}}, "x.toml").admin.address == loopback


def test_all_mistakes_at_once() -> None:
    """One run shows everything that is wrong."""
    with pytest.raises(ConfigError) as caught:
        parse({"server": {"name": 1, "x": 2}, "limits": {"nicklen": 1}}, "f")
    assert len(caught.value.problems) == 3


def test_missing_and_binary_files(tmp_path: Path) -> None:
    """A file that is not there, or not text, is an error with its name."""
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read"):
        load(tmp_path / "none.toml")
    (tmp_path / "bin.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load(tmp_path / "bin.toml")


def test_example_is_complete_and_right() -> None:
    """The example parses to the defaults and names every key."""
    text = example()
    config = parse(tomllib.loads(text), "example")
    assert to_plain(config) | {"listen": []} == to_plain(Config())
    for section, keys in to_plain(Config()).items():
        for key in keys if isinstance(keys, dict) else ():
            assert key in text, (section, key)


def test_show_masks_secrets() -> None:
    """What `show` prints has no hash and no database password, and parses."""
    data = {
        "server": {"password_hash": HASH},
        "opers": {"ann": {"password_hash": HASH}},
        "database": {"url": "postgresql+psycopg://u:geheim@h/d"},
    }
    text = show(to_plain(parse(data, "f")))
    assert "argon2" not in text
    assert "geheim" not in text
    assert tomllib.loads(text)["opers"]["ann"]["class"] == "oper"
    odd = {"opers": {"a.b\t\x7f": {"class": "oper", "certfp": ["a" * 64], "masks": ["\x7f\x85"]}}}
    assert tomllib.loads(show(to_plain(parse(odd, "f"))))["opers"]["a.b\t\x7f"]["masks"] == ["\x7f\x85"]


def test_command_line(tmp_path: Path) -> None:
    """check, example, show and hash-password, with exit status and streams that scripts can use."""
    run = CliRunner().invoke
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(run(main, ["config", "example"]).stdout)
    bad.write_text("[server]\nbad = 1")
    assert run(main, ["config", "check", str(good)]).exit_code == 0
    failed = run(main, ["config", "check", str(bad)])
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert f"{bad}: server.bad: found an unknown key" in failed.stderr
    assert "[server]" in run(main, ["config", "show", str(good)]).stdout
    for command in ("check", "show"):
        assert run(main, ["config", command, "-c", str(bad)]).exit_code == 1
        twice = run(main, ["config", command, str(good), "--config", str(bad)])
        assert (twice.exit_code, "name the file once" in twice.stderr) == (2, True)
    hashed = run(main, ["hash-password"], input="sesame\n")
    assert verify_now(hashed.stdout.strip(), "sesame")
    assert run(main, ["hash-password"], input="\n").exit_code == 1
    assert run(main, ["--version"]).exit_code == 0


def test_merge_keeps_what_a_running_server_cannot_change() -> None:
    """Fixed keys keep their value and are named; everything else is the new file's."""
    old = parse({}, "f")
    new = parse(
        {
            "server": {"name": "new.name", "motd": "hi"},
            "limits": {"nicklen": 20, "kicklen": 100},
            "listen": [{"port": 1}],
            "flood": {"burst": 3},
        },
        "f",
    )
    merged, kept = merge(old, new)
    assert kept == ["server.name", "listen", "limits.nicklen"]
    assert (merged.server.name, merged.server.motd) == (old.server.name, "hi")
    assert (merged.limits.nicklen, merged.limits.kicklen, merged.flood.burst) == (30, 100, 3)
    assert merge(old, old) == (old, [])
    assert set(kept) <= set(FIXED)
