"""UTF8ONLY, and servers that take other bytes, too."""

from typing import Any

from tests.harness import FakeClient, ServerTestCase, World, make_config

CAFE = b"PRIVMSG #c :caf\xe9\r\n"


def raw(client: FakeClient) -> bytes:
    """What has come, as bytes."""
    client.world.turn()
    data: bytes = client.transport.value()
    client.transport.clear()
    return data


class Utf8Only(ServerTestCase):
    def test_refused(self) -> None:
        """By default nothing but UTF-8 is taken, and that is what is advertised."""
        ann, bob = self.on_channel("#c", "ann", "bob")
        self.assertIn("UTF8ONLY", " ".join(self.world.connect().asks("NICK x", "USER x 0 * :x")).split())
        ann.sends_bytes(CAFE)
        self.assertReceives(ann, ":irc.test FAIL PRIVMSG INVALID_UTF8 :Message rejected, your client must use UTF-8")
        self.assertReceives(bob)

    def test_label(self) -> None:
        """The refusal carries the label of what it refuses."""
        ann = self.client("ann", caps="labeled-response message-tags")
        ann.sends_bytes(b"@label=xyz " + CAFE)
        self.assertTrue(ann.lines()[0].startswith("@label=xyz"))


class AnyBytes(ServerTestCase):
    def world_with(self, encoding: str) -> tuple[FakeClient, FakeClient]:
        self.world = World(config=make_config({"server": {"encoding": encoding}}))
        ann, bob = self.on_channel("#c", "@ann", "bob", caps="message-tags")
        return ann, bob

    def test_passed_on_as_they_came(self) -> None:
        """Messages, tags, topics; the topic is the same bytes after a restart, and to who joins later."""
        ann, bob = self.world_with("bytes")
        self.assertNotIn("UTF8ONLY", " ".join(ann.asks("VERSION")))
        ann.sends_bytes(b"@+x=\xe9 " + CAFE)
        data = raw(bob)
        self.assertTrue(data.startswith(b"@"))
        self.assertIn(b"+x=\xe9", data)
        self.assertTrue(data.endswith(b":ann!~ann@192.0.2.1 PRIVMSG #c :caf\xe9\r\n"))
        ann.sends_bytes("PRIVMSG #c :café\r\n".encode())
        self.assertTrue(raw(bob).endswith("PRIVMSG #c :café\r\n".encode()))
        ann.sends("NS REGISTER sesame1", "CS REGISTER #c")
        ann.sends_bytes(b"TOPIC #c :caf\xe9\r\n")
        self.assertTrue(raw(bob).endswith(b"TOPIC #c :caf\xe9\r\n"))
        raw(ann)
        self.world = self.world.restart()
        late = self.world.client("late")
        late.sends("JOIN #c")
        self.assertIn(b"#c :caf\xe9\r\n", raw(late))

    def test_long_lines_are_cut_at_characters(self) -> None:
        """A line of such bytes never exceeds 512."""
        ann, bob = self.world_with("bytes")
        ann.sends_bytes(b"PRIVMSG #c :" + b"\xe9" * 490 + b"\r\n")
        data = raw(bob).partition(b" ")[2]
        self.assertLessEqual(len(data), 512)
        self.assertTrue(data.endswith(b"\xe9\r\n"))

    def test_older_encoding(self) -> None:
        """What is not UTF-8 is read as the encoding and passed on as UTF-8."""
        ann, bob = self.world_with("windows-1252")
        ann.sends_bytes(CAFE)
        self.assertTrue(bob.lines()[0].endswith(":café"))

    def test_metadata_is_utf8(self) -> None:
        """Values of metadata are UTF-8 everywhere."""
        ann, _ = self.world_with("bytes")
        ann.lines()
        ann.sends_bytes(b"METADATA * SET a :caf\xe9\r\n")
        self.assertIn("INVALID_VALUE", ann.lines()[0])


def test_bad_encodings_are_refused() -> None:
    """The configuration says what is allowed."""
    import pytest

    from slircd.config.load import ConfigError

    bad: dict[str, Any] = {"server": {"encoding": "utf-16"}}
    with pytest.raises(ConfigError, match=r"server\.encoding"):
        make_config(bad)
