"""Who may ask: passwords, sessions, tokens."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from twisted.internet.defer import Deferred, ensureDeferred

from slircd.admin.tokens import SESSION_S, new_token
from slircd.cli import main
from slircd.events.store import SQLStore
from tests.admin.harness import ADMIN, READER, USERS, AdminTestCase


class Sessions(AdminTestCase):
    def test_a_session(self) -> None:
        """A log-in gives a token, which is as good as the password until it is revoked."""
        made = self.ask("/admin/session", READER, method="POST")
        self.assertEqual(made.status, 201)
        token = made.json["token"]
        self.assertEqual((made.json["name"], made.json["role"]), ("eve", "read"))
        self.assertEqual(self.ask("/admin/whoami", token).json, {"name": "eve", "role": "read"})
        self.assertEqual(self.ask("/admin/replay?keys=show", token).status, 403)
        self.assertEqual(self.ask("/admin/session", token, method="DELETE").status, 204)
        self.assertEqual(self.ask("/admin/whoami", token).status, 401)

    def test_a_session_ends_by_itself(self) -> None:
        """After some hours, and at once where the password was changed or the user removed."""
        tokens = [self.ask("/admin/session", READER, method="POST").json["token"] for _ in range(2)]
        self.users = {"admin": USERS["admin"]}
        self.assertEqual(self.ask("/admin/whoami", tokens[0]).status, 401)
        self.users = USERS
        self.assertEqual(self.ask("/admin/whoami", tokens[0]).status, 200)
        self.world.clock.advance(SESSION_S + 1)
        self.assertEqual(self.ask("/admin/whoami", tokens[1]).status, 401)

    def test_a_session_needs_a_password(self) -> None:
        """A token is no way to another token, and nothing is no way at all."""
        token = self.ask("/admin/session", ADMIN, method="POST").json["token"]
        self.assertEqual(self.ask("/admin/session", token, method="POST").status, 401)
        self.assertEqual(self.ask("/admin/session", None, method="POST").status, 401)
        self.assertEqual(self.ask("/admin/session", ADMIN, method="DELETE").status, 400)

    def test_old_sessions_shut_nobody_out(self) -> None:
        """A page that is left open with a token that has ended does not count as guessing."""
        for _ in range(20):
            self.assertEqual(self.ask("/admin/whoami", "session_old").status, 401)
        self.assertEqual(self.ask("/admin/whoami").status, 200)


class Passwords(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.hashing: list[Deferred[bool]] = []
        self.authenticator._passwords = self

    def verify(self, _hashed: str, _password: str) -> Deferred[bool]:
        """A check that takes until its Deferred is fired."""
        self.hashing.append(Deferred())
        return self.hashing[-1]

    def tries(self, who: str, times: int = 1) -> list[list[Any]]:
        """What becomes of log-ins that are all under way at once: nothing yet, a caller, or a status."""
        header = "Basic " + b64encode(who.encode()).decode()
        found: list[list[Any]] = []
        for _ in range(times):
            results: list[Any] = []
            asked = ensureDeferred(self.authenticator.identify(header, "192.0.2.9"))
            asked.addErrback(lambda failure: failure.value.status).addCallback(results.append)
            found.append(results)
        return found

    def test_nobody_takes_as_long(self) -> None:
        """A name that is none is checked against a hash, too: the time that it takes says nothing."""
        [nobody] = self.tries("nosuch:sesame")
        self.assertEqual((nobody, len(self.hashing)), ([], 1))
        self.hashing[0].callback(True)
        self.assertEqual(nobody, [401])

    def test_tries_at_once(self) -> None:
        """Ten wrong passwords are the limit, also for who tries fifty before the first is checked."""
        found = [each for number in range(50) for each in self.tries(f"admin:guess{number}")]
        self.assertEqual(len(self.hashing), 10)
        for waiting in self.hashing:
            waiting.callback(False)
        self.assertEqual(found, [[401]] * 10 + [[429]] * 40)

    def test_requests_at_once(self) -> None:
        """Many requests of a page with the right password are one try."""
        found = self.tries("admin:sesame", 30)
        self.assertEqual(len(self.hashing), 1)
        self.hashing[0].callback(True)
        self.assertEqual({results[0].name for results in found}, {"admin"})


class Tokens(AdminTestCase):
    def make(self, name: str = "ci", role: str = "read", days: int = 1) -> str:
        token, row = new_token(name, role, days, self.world.clock.seconds())
        self.assertTrue(self.tables.add_token(row))
        return token

    def test_a_token(self) -> None:
        """It says who asks; its secret is kept nowhere."""
        token = self.make()
        self.assertEqual(self.ask("/admin/whoami", token).json, {"name": "token.ci", "role": "read"})
        self.assertNotIn(token.split("_", 2)[2].encode(), self.past.path.read_bytes())
        [row] = self.tables.tokens()
        self.assertIsNotNone(row.last_used_at)

    def test_a_token_ends(self) -> None:
        """Its time runs out, or it is revoked, which is in force within two seconds."""
        self.make("short")
        token = self.make("long", days=90)
        self.assertEqual(self.ask("/admin/whoami", token).status, 200)
        self.assertTrue(self.tables.remove_token("long"))
        self.world.clock.advance(2.1)
        self.assertEqual(self.ask("/admin/whoami", token).status, 401)
        short = self.make("shorter")
        self.world.clock.advance(86_401)
        self.assertEqual(self.ask("/admin/whoami", short).status, 401)

    def test_guessing_tokens(self) -> None:
        """Ten wrong ones, and the address has to wait; so does a right one then."""
        token = self.make()
        for _ in range(10):
            self.assertEqual(self.ask("/admin/whoami", token[:-1] + "~").status, 401)
        refused = self.ask("/admin/whoami", token)
        self.assertEqual((refused.status, refused.headers["retry-after"]), (429, "600"))

    def test_roles(self) -> None:
        """A token of role read reads, one of role admin does more."""
        self.assertEqual(self.ask("/admin/replay?keys=show", self.make("a", "admin")).status, 200)
        self.assertEqual(self.ask("/admin/replay?keys=show", self.make("b", "read")).status, 403)


@pytest.fixture
def log(tmp_path: Path) -> str:
    store = SQLStore(f"sqlite:///{tmp_path / 'slircd.db'}", call_in_reactor=print, seconds=float)
    store.open()
    store.close()
    return str(tmp_path / "slircd.db")


def test_the_command(log: str) -> None:
    """create prints the token once, list shows what is known of it, revoke ends it."""
    run = CliRunner().invoke
    made = run(main, ["admin", "token", "--db", log, "create", "ci", "--role", "admin", "--days", "30"])
    assert made.exit_code == 0
    assert made.stdout.startswith("slircd_")
    secret = made.stdout.strip().split("_", 2)[2]
    assert run(main, ["admin", "token", "--db", log, "create", "ci"]).exit_code == 1
    listed = run(main, ["admin", "token", "--db", log, "list"]).output
    assert "ci " in listed
    assert "never" in listed
    assert secret not in listed
    assert run(main, ["admin", "token", "--db", log, "revoke", "ci"]).exit_code == 0
    assert run(main, ["admin", "token", "--db", log, "revoke", "ci"]).exit_code == 1


def test_the_command_says_what_is_wrong(log: str, tmp_path: Path) -> None:
    """No such log, a name that is none, a token without end."""
    run = CliRunner().invoke
    missing = run(main, ["admin", "token", "--db", str(tmp_path / "none.db"), "list"])
    assert missing.exit_code == 1
    assert "no such file" in missing.output
    assert run(main, ["admin", "token", "--db", log, "create", "a b"]).exit_code == 2
    assert run(main, ["admin", "token", "--db", log, "create", "x", "--days", "0"]).exit_code == 2
