"""What the server says of itself."""

from slircd.commands.registry import COMMANDS
from tests.harness import ServerTestCase, words_of


class Info(ServerTestCase):
    def test_each(self) -> None:
        """Every query has its numerics."""
        ann = self.client("ann")
        self.world.server.motd = ["Hello", ""]
        for line, codes in {
            "MOTD": ["375", "372", "372", "376"],
            "LUSERS": ["251", "252", "253", "254", "255", "265", "266"],
            "ADMIN": ["256", "257", "258", "259"],
            "INFO": ["371", "371", "371", "371", "374"],
            "TIME": ["391"],
            "LINKS": ["364", "365"],
            "LINKS other.*": ["365"],
            "MAP": ["015", "017"],
            "STATS u": ["242", "250", "219"],
        }.items():
            with self.subTest(line):
                self.assertEqual(ann.codes(line), codes)
        self.assertEqual(ann.codes("VERSION")[0], "351")

    def test_other_servers(self) -> None:
        """402 for a server that is not there; masks and nicks of this one are fine."""
        ann = self.client("ann")
        for command in ("MOTD", "VERSION", "ADMIN", "INFO", "TIME"):
            self.assertRefused(ann, f"{command} other.test", "402")
            self.assertNotIn("402", ann.codes(f"{command} irc.*"))
            self.assertNotIn("402", ann.codes(f"{command} ann"))

    def test_lusers_counts(self) -> None:
        """Users, invisible ones, operators, unknown connections and channels."""
        ann = self.client("ann")
        ann.sends("MODE ann -i", "JOIN #c")
        self.oper("root")
        self.world.connect()
        lines = ann.asks("LUSERS")
        self.assertIn(":irc.test 251 ann :There are 1 users and 1 invisible on 1 servers", lines)
        self.assertIn(":irc.test 252 ann 1 :operator(s) online", lines)
        self.assertIn(":irc.test 253 ann 1 :unknown connection(s)", lines)
        self.assertIn(":irc.test 254 ann 1 :channels formed", lines)

    def test_lusers_shows_zeros(self) -> None:
        """Where there is none the number is 0, and no line is missing."""
        lines = self.client("ann").asks("LUSERS")
        for code, text in (("252", "operator(s) online"), ("253", "unknown connection(s)"), ("254", "channels formed")):
            self.assertIn(f":irc.test {code} ann 0 :{text}", lines)

    def test_help(self) -> None:
        """Every command has its help, with its syntax first; unknown subjects are 524."""
        ann = self.client("ann")
        for name in COMMANDS:
            lines = words_of(ann.asks(f"HELP {name}"), "704")
            self.assertTrue(lines[0][2].startswith(name), name)
        self.assertEqual(ann.codes("HELP")[-1], "706")
        self.assertEqual(ann.codes("HELP nonsense"), ["524"])
        for topic in ("CMODES", "UMODES", "EXTBANS"):
            self.assertEqual(ann.codes(f"HELP {topic}")[-1], "706")
