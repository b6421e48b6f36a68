"""Accounts that are dropped and registered by somebody else while a log-in, or a new password, is half-way."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

from scramp import ScramClient
from twisted.internet.defer import Deferred

from tests.harness import FakeClient, ServerTestCase
from tests.services.test_accounts import WORD


class ChangingHands(ServerTestCase):
    """What a log-in proves is gone with the account that it was proved for."""

    config: dict[str, Any] = {
        "accounts": {"sasl_plain_without_tls": True},
        "bouncer": {"multiclient": "opt-out"},
        "history": {"direct": True},
    }

    def half_way(self, name: str) -> FakeClient:
        """A client that has proved to own an account and does not finish its registration."""
        client = self.world.connect()
        client.sends("CAP REQ :sasl", "AUTHENTICATE PLAIN")
        client.sends("AUTHENTICATE " + b64encode(f"\0{name}\0{WORD}".encode()).decode())
        self.assertIn("903", " ".join(client.lines()))
        return client

    def given_away(self) -> tuple[FakeClient, FakeClient]:
        """Eve's account `prize` is dropped while a client of hers is half-way, and bob registers the name."""
        eve = self.client("prize")
        eve.sends(f"NS REGISTER {WORD}")
        waiting = self.half_way("prize")
        eve.sends(f"NS DROP {WORD}", "NICK eve")
        self.world.clock.advance(1)
        bob = self.client("prize")
        bob.sends("NS REGISTER anotherword")
        self.assertEqual(self.world.state.users[bob.uid].account, "prize")
        return waiting, bob

    def test_a_log_in_before_registration(self) -> None:
        """Who proved to own an account that was dropped does not get the next one of its name."""
        waiting, _ = self.given_away()
        waiting.sends("NICK mallory", "USER m 0 * :m", "CAP END")
        self.assertIsNone(self.world.state.users[waiting.uid].account)

    def test_attaching(self) -> None:
        """Nor does it become a client of the new owner's user."""
        waiting, bob = self.given_away()
        waiting.sends("NICK prize", "USER m 0 * :m", "CAP END")
        self.assertNotEqual(waiting.uid, bob.uid)
        self.assertEqual(self.world.state.users[bob.uid].clients, 1)

    def test_a_new_password(self) -> None:
        """Who was half-way with the old password is not in with the new one."""
        ann = self.client("ann")
        ann.sends(f"NS REGISTER {WORD}")
        waiting = self.half_way("ann")
        ann.sends("NS SET PASSWORD anotherword")
        waiting.sends("NICK mallory", "USER m 0 * :m", "CAP END")
        self.assertIsNone(self.world.state.users[waiting.uid].account)

    def test_scram_that_waits(self) -> None:
        """The last step of SCRAM can be put off; it must not outlive what it proves."""
        eve = self.client("prize")
        eve.sends(f"NS REGISTER {WORD}")
        other = self.client("other")

        def says(text: str) -> str:
            line = other.asks("AUTHENTICATE " + b64encode(text.encode()).decode())[-1]
            return b64decode(line.removeprefix("AUTHENTICATE ")).decode()

        other.asks("AUTHENTICATE SCRAM-SHA-256")
        scram = ScramClient(["SCRAM-SHA-256"], "prize", WORD)
        scram.set_server_first(says(scram.get_client_first()))
        scram.set_server_final(says(scram.get_client_final()))
        eve.sends(f"NS DROP {WORD}", "NICK eve")
        self.client("prize").sends("NS REGISTER anotherword")
        self.assertIn(" 904 ", other.asks("AUTHENTICATE +")[-1])
        self.assertIsNone(self.world.state.users[other.uid].account)

    def slowly(self) -> list[Deferred[Any]]:
        """From now on hashing waits until the Deferreds in this list are fired."""
        waiting: list[Deferred[Any]] = []

        def run(function: Callable[[], Any]) -> Deferred[Any]:
            waiting.append(Deferred().addCallback(lambda _: function()))
            return waiting[-1]

        self.world.server.accounts._run = run
        return waiting

    def test_while_a_password_is_checked(self) -> None:
        """An account that changes hands while a password is looked at is not what the password was for."""
        eve, other = self.client("prize"), self.client("other")
        eve.sends(f"NS REGISTER {WORD}")
        quick = self.world.server.accounts._run
        waiting = self.slowly()
        other.sends(f"NS IDENTIFY prize {WORD}")
        self.world.server.accounts._run = quick
        eve.sends(f"NS DROP {WORD}", "NICK eve")
        self.client("prize").sends("NS REGISTER anotherword")
        waiting[0].callback(None)
        self.assertIn("Wrong account or password", " ".join(other.lines()))
        self.assertIsNone(self.world.state.users[other.uid].account)

    def test_while_a_password_is_set(self) -> None:
        """Nor does a new password that is being hashed become that of the next owner's account."""
        eve, other = self.client("prize"), self.client("other")
        eve.sends(f"NS REGISTER {WORD}")
        other.sends(f"NS IDENTIFY prize {WORD}")
        quick = self.world.server.accounts._run
        waiting = self.slowly()
        other.sends("NS SET PASSWORD stolenword")
        self.world.server.accounts._run = quick
        eve.sends(f"NS DROP {WORD}", "NICK eve")
        self.client("prize").sends("NS REGISTER anotherword")
        waiting[0].callback(None)
        self.world.turn()
        eve.sends("NS IDENTIFY prize stolenword")
        self.assertIsNone(self.world.state.users[eve.uid].account)

    def test_nothing_else_changes_it(self) -> None:
        """Who is half-way is logged in when it is through."""
        self.client("ann").sends(f"NS REGISTER {WORD}")
        waiting = self.half_way("ann")
        waiting.sends("NICK anna", "USER a 0 * :a", "CAP END")
        self.assertEqual(self.world.state.users[waiting.uid].account, "ann")
