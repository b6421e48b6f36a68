"""Guessing: passwords of accounts and operators, from one address and from many, one after the other and all at once."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, ClassVar

import pytest
from twisted.internet.defer import Deferred

from slircd.security import guessing
from slircd.services.accounts import AccountError
from tests.harness import OPER_PASSWORD, FakeClient
from tests.hostile.support import HostileTestCase

BY_ADDRESS, BY_ACCOUNT = 10, 30


class Guessing(HostileTestCase):
    """Each try costs a hash, which is what is counted here: those that are refused cost none."""

    config: ClassVar[Any] = {
        "accounts": {"sasl_plain_without_tls": True},
        "throttle": {"enabled": False},
        "flood": {"enabled": True, "burst": 1000, "rate_per_s": 100.0},
    }

    def setUp(self) -> None:
        super().setUp()
        self.ann.sends("NS REGISTER sesame1")
        self.ann.lines()
        self.hashed = 0
        accounts, passwords = self.world.server.accounts, self.world.server.passwords
        run = accounts._run

        def counted(function: Any) -> Any:
            self.hashed += 1
            return run(function)

        accounts._run = passwords.run = counted

    def sasl(self, address: str, password: str, account: str = "ann") -> tuple[FakeClient, list[str]]:
        client = self.world.connect(address)
        client.sends("CAP REQ :sasl", "AUTHENTICATE PLAIN")
        client.lines()
        return client, client.codes("AUTHENTICATE " + b64encode(f"\0{account}\0{password}".encode()).decode())

    def test_one_address(self) -> None:
        """Ten tries of a thousand are looked at, whatever account they are for; others log in meanwhile."""
        for number in range(1000):
            client, codes = self.sasl("203.0.113.1", f"wrong{number}", ("ann", f"nobody{number}")[number % 2])
            self.assertNotIn("903", codes)
            client.disconnects()
        self.assertEqual(self.hashed, BY_ADDRESS)
        self.assertIn("903", self.sasl("192.0.2.1", "sesame1")[1])
        self.assertNotIn("903", self.sasl("203.0.113.1", "sesame1")[1])
        self.waits(601)
        self.assertIn("903", self.sasl("203.0.113.1", "sesame1")[1])

    def test_many_addresses(self) -> None:
        """Three hundred addresses get thirty tries at one account; its owner's address is not shut out."""
        self.assertIn("903", self.sasl("192.0.2.1", "sesame1")[1])
        self.hashed = 0
        for number in range(300):
            self.sasl(f"198.51.{number // 250}.{number % 250}", f"wrong{number}")
        self.assertEqual(self.hashed, BY_ACCOUNT)
        self.assertIn("903", self.sasl("192.0.2.1", "sesame1")[1])

    def test_all_at_once(self) -> None:
        """A hundred tries that wait for their hashes at one moment are no way around: each counts before it is checked."""
        held: list[Deferred[Any]] = []
        self.world.server.accounts._run = lambda _: held.append(Deferred()) or held[-1]  # type: ignore[func-returns-value]
        for number in range(100):
            self.sasl("203.0.113.2", f"wrong{number}")
        self.assertEqual(len(held), BY_ADDRESS)
        for each in held:
            each.callback(False)

    def test_an_account_of_ones_own_buys_no_guesses(self) -> None:
        """Who logs in to its own account between two guesses has no more of them than who does not."""
        eve = self.client("eve", address="203.0.113.3")
        eve.sends("NS REGISTER sesame2")
        self.hashed = wrong = 0
        for number in range(50):
            before = self.hashed
            self.sasl("203.0.113.3", f"wrong{number}")
            wrong += self.hashed - before
            self.sasl("203.0.113.3", "sesame2", "eve")
        self.assertEqual(wrong, BY_ADDRESS)

    def test_operators(self) -> None:
        """The same for OPER, over any number of connections; the right password of another address is taken."""
        for number in range(40):
            client = self.client(f"g{number}", address="203.0.113.4")
            client.sends(*["OPER root wrong"] * 5)
            client.disconnects()
        self.assertEqual(self.hashed, BY_ADDRESS)
        late = self.client("late", address="203.0.113.4")
        self.assertEqual(
            late.asks(f"OPER root {OPER_PASSWORD}"),
            [":irc.test 464 late :Too many wrong passwords from your address, try again later"],
        )
        self.assertIn("381", self.ann.codes(f"OPER root {OPER_PASSWORD}"))

    def test_nobody_shuts_others_out_of_registration(self) -> None:
        """Wrong codes and requests for new passwords count for their address alone: others register all the same."""
        for number in range(50):
            eve = self.client(f"h{number}", address=f"203.0.113.{number}")
            for _ in range(3):
                eve.sends(f"VERIFY ann {number}")
            eve.disconnects()
        dan = self.client("dan", address="192.0.2.9")
        dan.sends("NS REGISTER sesame3")
        self.assertIn("dan", self.world.state.accounts)

    def test_what_is_remembered_has_an_end(self) -> None:
        """Names of accounts that are not there, as long as SASL lets them be, fill no memory."""
        table = self.world.server.accounts.guessing
        for number in range(guessing.MAX_TRACKED // 2 + 1000):
            table.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", f"a{number}")
        self.assertLessEqual(len(table._failures), guessing.MAX_TRACKED)
        with pytest.raises(AccountError):
            self.world.server.accounts.check_guessing("203.0.113.1", self.full(table))

    def full(self, table: Any) -> str:
        for number in range(BY_ACCOUNT):
            table.failed(f"172.16.0.{number}", "target")
        return "target"
