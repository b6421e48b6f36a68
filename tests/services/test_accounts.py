"""Accounts: NickServ, SASL, REGISTER; mail, guessing, enforcement; and that no secret leaks."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from argon2 import extract_parameters
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate
from OpenSSL import crypto
from scramp import ScramClient
from twisted.internet.defer import Deferred, fail, succeed

from slircd.rules.modes import decide_user_modes
from slircd.security.certificates import ensure_self_signed
from slircd.security.passwords import verify_now
from slircd.services.mailer import MailError
from slircd.wire.modes import Change
from tests.harness import OPER_HASH, OPER_PASSWORD, FakeClient, ServerTestCase, World, make_config

PASSWORD = "correct horse"


def plain(name: str, password: str, authzid: str = "") -> str:
    return b64encode(f"{authzid}\0{name}\0{password}".encode()).decode()


class AccountTestCase(ServerTestCase):
    config = {"accounts": {"sasl_plain_without_tls": True}}

    def registered(self, nick: str, **options: Any) -> FakeClient:
        """A user with an account of its nick."""
        client = self.client(nick, **options)
        self.says(client, f"REGISTER {PASSWORD.replace(' ', '')}")
        assert self.world.state.users[client.uid].account == nick
        return client

    def says(self, client: FakeClient, text: str, to: str = "NickServ") -> list[str]:
        """What a service answers."""
        lines = client.asks(f"PRIVMSG {to} :{text}")
        return [line.split(" :", 1)[1] for line in lines if f":{to}!" in line and " NOTICE " in line]

    def account(self, client: FakeClient) -> str | None:
        return self.world.state.users[client.uid].account


WORD = PASSWORD.replace(" ", "")


class NickServ(AccountTestCase):
    def test_register_and_identify(self) -> None:
        """An account is made, logs in, out and in again; the log has identify and account each time."""
        ann = self.client("ann")
        types = self.types_after(lambda: ann.sends(f"PRIVMSG NickServ :REGISTER {WORD}"))
        self.assertEqual(types, ["services.nick_register", "services.nick_identify", "user.account"])
        self.assertIn("r", self.world.state.users[ann.uid].modes)
        self.assertIn("901", ann.codes("NS LOGOUT"))
        self.assertIsNone(self.account(ann))
        types = self.types_after(lambda: ann.sends(f"NICKSERV IDENTIFY {WORD}"))
        self.assertEqual(types, ["services.nick_identify", "user.account"])
        self.assertIn(":irc.test 900 ann ann!~ann@192.0.2.1 ann :You are now logged in as ann", ann.lines())
        self.assertIn("330", self.client("bob").codes("WHOIS ann"))

    def test_wrong_passwords_and_words(self) -> None:
        """Each mistake has its answer, and changes nothing."""
        ann = self.registered("ann")
        bob = self.client("bob")
        for text, answer in {
            "IDENTIFY ann wrongpassword": "Wrong account or password",
            "IDENTIFY nobody x": "Wrong account or password",
            "REGISTER short": "at least 6",
            "REGISTER \x02\x03bold": "control characters",
            f"REGISTER {WORD} noaddress": "no e-mail address",
            "GROUP": "not logged in",
            "NOSUCH": "no command",
            "IDENTIFY": "Too few parameters",
            "GHOST nobody": "Nobody has",
            "DROP x": "not logged in",
            "INFO nobody": "not registered",
            "CERT ADD": "not logged in",
            "HELP nosuch": "no command",
            "LIST *": "Permission Denied",
        }.items():
            with self.subTest(text):
                self.assertEqual(self.types_after(lambda text=text: bob.sends(f"NS :{text}")), [])
                self.assertIn(answer, " ".join(bob.lines()))
        self.assertIn("registered already", " ".join(self.says(ann, f"REGISTER {WORD}")))

    def test_help(self) -> None:
        """Every command is listed and explained."""
        ann = self.client("ann")
        text = "\n".join(self.says(ann, "HELP"))
        for name in [
            "REGISTER",
            "IDENTIFY",
            "LOGOUT",
            "GHOST",
            "REGAIN",
            "RELEASE",
            "GROUP",
            "UNGROUP",
            "DROP",
            "INFO",
            "LIST",
            "SET",
            "CERT",
            "SESSIONS",
            "VERIFY",
            "RESETPASS",
            "SENDPASS",
        ]:
            self.assertIn(name, text)
            self.assertTrue(self.says(ann, f"HELP {name}")[0].startswith(name))

    def test_nicks_of_an_account(self) -> None:
        """GROUP adds the present nick, UNGROUP takes it off, and any of them identifies."""
        ann = self.registered("ann")
        ann.sends("NICK anna", "NS GROUP")
        self.assertEqual(self.world.state.owner_of_nick("ANNA").key, "ann")
        self.assertIn("r", self.world.state.users[ann.uid].modes)
        other = self.client("other")
        self.says(other, f"IDENTIFY anna {WORD}")
        self.assertEqual(self.account(other), "ann")
        self.assertIn("name of the account", self.says(ann, "UNGROUP ann")[0])
        self.says(ann, "UNGROUP anna")
        self.assertIsNone(self.world.state.owner_of_nick("anna"))

    def test_ghost_and_regain(self) -> None:
        """The owner frees a nick, by log-in or password, and takes it."""
        self.registered("ann").sends("QUIT")
        thief, owner = self.client("ann"), self.client("owner")
        self.assertIn("not yours", self.says(owner, "GHOST ann")[0])
        self.says(owner, f"GHOST ann {WORD}")
        self.assertTrue(thief.is_closed)
        thief = self.client("ann")
        self.says(owner, f"REGAIN ann {WORD}")
        self.assertTrue(thief.is_closed)
        self.assertEqual(self.world.state.users[owner.uid].nick, "ann")
        self.assertEqual(self.account(owner), "ann")

    def test_enforcement(self) -> None:
        """Who takes an enforced nick and does not identify gets another; the nick is held until released."""
        ann = self.registered("ann")
        self.says(ann, "SET ENFORCE ON")
        ann.sends("NICK elsewhere")
        thief = self.client("thief")
        self.assertTrue(any("belongs to somebody" in line for line in thief.asks("NICK ann")))
        self.world.clock.advance(31)
        self.assertTrue(self.world.state.users[thief.uid].nick.startswith("Guest"))
        thief.lines()
        self.assertRefused(thief, "NICK ann", "437")
        self.assertIn("NICK", ann.codes("NICK ann"))
        ann.sends("NICK elsewhere")
        self.says(ann, "RELEASE ann")
        self.assertIn("NICK", thief.codes("NICK ann"))
        self.says(thief, f"IDENTIFY {WORD}")
        self.world.clock.advance(60)
        self.assertEqual(self.world.state.users[thief.uid].nick, "ann")

    def test_settings_and_info(self) -> None:
        """SET, INFO, SESSIONS and LIST; what is private stays so."""
        ann, bob = self.registered("ann"), self.client("bob")
        self.says(ann, "SET EMAIL ann@example.org")
        self.assertIn("ann@example.org", " ".join(self.says(ann, "INFO")))
        self.assertNotIn("ann@example.org", " ".join(self.says(bob, "INFO ann")))
        self.assertIn("Online as: ann", self.says(bob, "INFO ann"))
        account = self.world.state.account_named("ann")
        self.says(ann, "SET PRIVATE yes")
        self.assertTrue(account.is_set("private"))
        self.says(ann, "SET PRIVATE FALSE")
        self.assertFalse(account.is_set("private"))
        self.says(ann, "SET PRIVATE ON")
        self.assertEqual(len(self.says(bob, "INFO ann")), 1)
        self.assertIn("ON or OFF", self.says(ann, "SET PRIVATE maybe")[0])
        self.assertIn("no setting", self.says(ann, "SET NOSUCH on")[0])
        self.assertIn("ann from", self.says(ann, "SESSIONS")[0])
        self.assertIn("1 found", self.says(self.oper("root"), "LIST a*"))

    def test_new_password(self) -> None:
        """After SET PASSWORD the old one is wrong and the new one right, in SCRAM too."""
        ann = self.registered("ann")
        self.says(ann, "SET PASSWORD anotherone")
        bob = self.client("bob")
        self.assertIn("Wrong", self.says(bob, f"IDENTIFY ann {WORD}")[0])
        self.says(bob, "IDENTIFY ann anotherone")
        self.assertEqual(self.account(bob), "ann")

    def test_drop(self) -> None:
        """With the right password the account, its nicks and its secrets are gone, and everybody is logged out."""
        ann = self.registered("ann")
        self.says(ann, "DROP wrong")
        self.assertIn("ann", self.world.state.accounts)
        self.says(ann, f"DROP {WORD}")
        self.assertEqual(self.world.state.accounts, {})
        self.assertIsNone(self.account(ann))
        self.assertEqual(self.world.store.read_credentials(), [])

    def test_survives_restart(self) -> None:
        """Account, settings and password are there after a crash."""
        ann = self.registered("ann")
        self.says(ann, "SET ENFORCE ON")
        self.world = self.world.restart(crash=True)
        ann = self.client("ann")
        self.says(ann, f"IDENTIFY {WORD}")
        self.assertEqual(self.account(ann), "ann")
        self.assertTrue(self.world.state.accounts["ann"].is_set("enforce"))

    def test_services_are_nobodys_victims(self) -> None:
        """They cannot be killed, renamed, or have their nick taken; WHOIS knows them, LUSERS does not count them."""
        root = self.oper("root")
        for line in ("KILL NickServ x", "SANICK NickServ x", "SAJOIN NickServ #c", "CHGHOST NickServ a.b"):
            self.assertRefused(root, line, "483")
        self.assertRefused(root, "NICK nickserv", "433")
        self.assertIn("311", root.codes("WHOIS NickServ"))
        self.assertIn("There are 0 users and 1 invisible", root.asks("LUSERS")[0])


class Sasl(AccountTestCase):
    def begin(self, nick: str = "new", *, tls: bool = False) -> FakeClient:
        client = self.world.connect(tls=tls)
        client.sends("CAP LS 302", "CAP REQ :sasl", f"NICK {nick}", f"USER {nick} 0 * :x")
        client.lines()
        return client

    def test_plain_before_registration(self) -> None:
        """900 and 903, and the user is logged in from its first event on."""
        self.registered("ann").sends("QUIT")
        new = self.begin("ann")
        self.assertEqual(new.asks("AUTHENTICATE PLAIN"), ["AUTHENTICATE +"])
        self.assertEqual(new.codes(f"AUTHENTICATE {plain('ann', WORD, 'ann')}"), ["900", "903"])
        types = self.types_after(lambda: new.sends("CAP END"))
        self.assertEqual(types, ["user.connect", "services.nick_identify", "user.account"])
        self.assertEqual(self.account(new), "ann")
        self.assertIn("r", self.world.state.users[new.uid].modes)

    def test_plain_after_registration_and_again(self) -> None:
        """A user may log in, and log in to another account, at any time."""
        self.registered("ann")
        bob = self.registered("bob")
        for name in ("ann", "bob"):
            bob.asks("AUTHENTICATE PLAIN")
            self.assertEqual(bob.codes(f"AUTHENTICATE {plain(name, WORD)}"), ["900", "903"])
            self.assertEqual(self.account(bob), name)

    def test_failures(self) -> None:
        """904 for what is wrong, 905 for too long, 906 for aborted, 908 for a mechanism that is not there."""
        self.registered("ann")
        new = self.begin()
        self.assertEqual(new.codes("AUTHENTICATE NOSUCH"), ["908", "904"])
        for data in (
            plain("ann", "wrong"),
            plain("nobody", WORD),
            plain("ann", WORD, "bob"),
            "!!!",
            "é",
            "AAAA",
            b64encode(b"a\0b").decode(),
            plain("", WORD),
            plain("ann", ""),
        ):
            new.asks("AUTHENTICATE PLAIN")
            self.assertEqual(new.codes(f"AUTHENTICATE {data}"), ["904"], data)
        new.asks("AUTHENTICATE PLAIN")
        self.assertEqual(new.codes("AUTHENTICATE " + "A" * 401), ["905"])
        new.asks("AUTHENTICATE PLAIN")
        self.assertEqual(new.codes("AUTHENTICATE *"), ["906"])
        new.asks("AUTHENTICATE PLAIN")
        self.assertEqual(new.codes("CAP END")[:2], ["906", "001"])

    def test_chunks(self) -> None:
        """A long message comes in chunks of 400; one that is a multiple ends with +."""
        bob = self.client("bob")
        password = "x" * 290
        self.says(bob, f"REGISTER {password}")
        for padding in range(3):
            data = plain("bob", password, "bob" if padding else "")
            bob.asks("AUTHENTICATE PLAIN")
            chunks = [data[start : start + 400] for start in range(0, len(data), 400)]
            if len(chunks[-1]) == 400:
                chunks.append("+")
            self.assertIn("903", bob.codes(*[f"AUTHENTICATE {chunk}" for chunk in chunks]))

    def scram(
        self,
        client: FakeClient,
        name: str,
        password: str,
        mechanism: str = "SCRAM-SHA-256",
        binding: tuple[str, bytes] | None = None,
    ) -> list[str]:
        def send(text: str) -> list[str]:
            return client.asks(f"AUTHENTICATE {b64encode(text.encode()).decode()}")

        def text(lines: list[str]) -> str:
            from base64 import b64decode

            return b64decode(lines[-1].removeprefix("AUTHENTICATE ")).decode()

        scram = ScramClient([mechanism], name, password, channel_binding=binding)
        client.asks(f"AUTHENTICATE {mechanism}")
        first = send(scram.get_client_first())
        if not first[-1].startswith("AUTHENTICATE"):
            return first
        scram.set_server_first(text(first))
        final = send(scram.get_client_final())
        if not final[-1].startswith("AUTHENTICATE"):
            return final
        scram.set_server_final(text(final))
        return client.asks("AUTHENTICATE +")

    def test_scram(self) -> None:
        """The server proves itself, too; wrong passwords and unknown accounts look the same."""
        self.registered("ann")
        bob = self.client("bob")
        self.assertIn(" 904 ", self.scram(bob, "ann", "wrongone")[-1])
        self.assertIn(" 904 ", self.scram(bob, "nobody", WORD)[-1])
        self.assertIn(" 903 ", self.scram(bob, "ann", WORD)[-1])
        self.assertEqual(self.account(bob), "ann")

    def test_scram_with_channel_binding(self) -> None:
        """-PLUS works with the binding of the connection, and not with another one."""
        self.registered("ann")

        with TemporaryDirectory() as folder:
            paths = Path(folder, "c.crt"), Path(folder, "c.key")
            ensure_self_signed(*paths, "irc.test", datetime(2025, 1, 1, tzinfo=UTC))
            certificate = crypto.X509.from_cryptography(load_pem_x509_certificate(paths[0].read_bytes()))

        class Connection:
            def get_certificate(self) -> crypto.X509:
                return certificate

        right = certificate.to_cryptography().fingerprint(SHA256())
        for number, (data, code) in enumerate(((right, " 903 "), (b"x" * 32, " 904 "))):
            bob = self.client(f"bob{number}", tls=True)
            bob.transport._tlsConnection = Connection()
            lines = self.scram(bob, "ann", WORD, "SCRAM-SHA-256-PLUS", ("tls-server-end-point", data))
            self.assertIn(code, lines[-1])
        # Who could bind but says that the server cannot has met somebody in between (RFC 5802 6).
        mallory = self.client("mallory", tls=True)
        mallory.transport._tlsConnection = Connection()
        mallory.asks("AUTHENTICATE SCRAM-SHA-256")
        self.assertIn(" 904 ", mallory.asks(f"AUTHENTICATE {b64encode(b'y,,n=ann,r=abcdef').decode()}")[-1])

    def test_external(self) -> None:
        """A certificate whose fingerprint is on the account logs in; others do not."""
        ann = self.registered("ann", tls=True)
        ann.session.certfp = "ab" * 32
        self.assertEqual(self.says(ann, "CERT ADD"), ["Done."])
        self.assertIn("abab", self.says(ann, "CERT LIST")[0])
        for fingerprint, code in (("ab" * 32, "903"), ("cd" * 32, "904"), (None, "904")):
            new = self.begin(tls=True)
            type(new.session).fingerprint, original = (lambda self, fp=fingerprint: fp), type(new.session).fingerprint
            self.addCleanup(setattr, type(new.session), "fingerprint", original)
            self.assertEqual(new.asks("AUTHENTICATE EXTERNAL"), ["AUTHENTICATE +"])
            self.assertEqual(new.codes("AUTHENTICATE +")[-1], code)
            new.sends("QUIT")
        self.says(ann, f"CERT DEL {'ab' * 32}")
        self.assertEqual(self.world.state.accounts["ann"].certfps, {})

    def test_plain_is_for_tls(self) -> None:
        """Without TLS, and unless it is allowed, PLAIN is neither offered nor taken."""
        self.world = World(config=make_config())
        client = self.world.connect()
        self.assertIn("sasl=SCRAM-SHA-256 ", " ".join(client.asks("CAP LS 302")))
        self.assertEqual(client.codes("AUTHENTICATE PLAIN"), ["908", "904"])
        shown = " ".join(self.world.connect(tls=True).asks("CAP LS 302"))
        self.assertIn("sasl=EXTERNAL,PLAIN,SCRAM-SHA-256,SCRAM-SHA-256-PLUS", shown)


class Register(AccountTestCase):
    def test_before_and_after_connecting(self) -> None:
        """REGISTER works before registration and after it; a name that is in use by somebody else is refused."""
        new = self.world.connect()
        new.sends("CAP LS 302", "NICK ann", "USER a 0 * :a")
        self.assertEqual(new.codes(f"REGISTER * * {WORD}"), ["900", "REGISTER"])
        new.sends("CAP END")
        self.assertEqual(self.account(new), "ann")
        bob = self.client("bob", caps="standard-replies")
        self.assertIn("FAIL REGISTER ACCOUNT_EXISTS ann", bob.asks(f"REGISTER ann * {WORD}")[0])
        self.client("eve")
        self.assertIn("FAIL REGISTER ACCOUNT_EXISTS eve", bob.asks(f"REGISTER eve * {WORD}")[0])
        self.assertIn("FAIL REGISTER WEAK_PASSWORD *"[:27], bob.asks("REGISTER * * short")[0])
        self.assertIn("REGISTER SUCCESS other", bob.asks(f"REGISTER other * {WORD}")[-1])
        self.assertIn("FAIL REGISTER ALREADY_AUTHENTICATED", bob.asks(f"REGISTER more * {WORD}")[0])

    def test_without_nick(self) -> None:
        """* needs a nick."""
        client = self.world.connect()
        self.assertIn("NEED_NICK", client.asks(f"REGISTER * * {WORD}")[0])


class ForOthers(AccountTestCase):
    config = {
        "accounts": {"sasl_plain_without_tls": True, "registration": False, "require_email": True},
        "mail": {"sendmail": ["true"]},
        "oper_classes": {"clerk": {"inherits": ["oper"]}},
        "opers": {"clerk": {"password_hash": OPER_HASH, "class": "clerk"}},
    }

    def test_saregister(self) -> None:
        """An operator makes an account, though registration is closed; it can be used at once, other staff are told."""
        root, other = self.oper("root"), self.oper("other")
        other.asks("MODE other +s o")
        self.assertIn("is registered", self.says(root, f"SAREGISTER Bob {WORD} bob@example.org")[0])
        self.assertIn("root registered the account Bob for somebody (SAREGISTER)", other.lines()[0])
        [event] = self.events_of("services.nick_register")
        self.assertEqual((event.actor_uid, event.nick, event.account, event.verified), (root.uid, "root", "Bob", True))
        self.assertIsNone(self.account(root))
        bob = self.client("bob")
        self.assertEqual(self.says(bob, f"IDENTIFY {WORD}")[0], "You are now logged in as Bob.")
        self.assertTrue(any("E-mail: bob@example.org" in line for line in self.says(bob, "INFO")))

    def test_for_who_is_here(self) -> None:
        """Somebody who has the nick already is no obstacle, and is not logged in by it."""
        root, bob = self.oper("root"), self.client("bob")
        self.says(root, f"SAREGISTER bob {WORD}")
        self.assertIsNone(self.account(bob))

    def test_refused(self) -> None:
        """Without the privilege, for a name that is taken, a service's, or none, and for a bad password or address."""
        root, ann = self.oper("root"), self.client("ann")
        clerk = self.client("clerk")
        clerk.asks(f"OPER clerk {OPER_PASSWORD}")
        for client in (ann, clerk):
            self.assertIn("Permission Denied", self.says(client, f"SAREGISTER bob {WORD}")[0])
        self.says(root, f"SAREGISTER bob {WORD}")
        for words, text in (
            (f"bob {WORD}", "registered already"),
            (f"NickServ {WORD}", "Somebody else"),
            (f"#c {WORD}", "An account's name is a nick"),
            ("eve x", "A password has at least"),
            (f"eve {WORD} nothing", "no e-mail address"),
            ("eve", "Too few parameters"),
        ):
            with self.subTest(words):
                self.assertIn(text, self.says(root, f"SAREGISTER {words}")[0])
        self.assertEqual(len(self.events_of("services.nick_register")), 1)

    def test_no_operator_any_more(self) -> None:
        """Who gives up being one while the password is hashed makes no account."""
        root = self.oper("root")
        waiting: list[tuple[Deferred[Any], Callable[[], Any]]] = []

        def run(function: Callable[[], Any]) -> Deferred[Any]:
            waiting.append((Deferred(), function))
            return waiting[-1][0]

        self.world.server.accounts._run = run
        root.sends(f"NS SAREGISTER bob {WORD}", "MODE root -o")
        [(done, function)] = waiting
        self.world.server.bus.emit(list(decide_user_modes(self.world.state, root.uid, [Change("-", "o")], str)))
        done.callback(function())
        self.world.turn()
        self.assertEqual(self.events_of("services.nick_register"), [])


class FakeMailer:
    """Keeps what would be mailed."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, str]] = []
        self.fails = False

    def send(self, to: str, subject: str, text: str) -> Deferred[None]:
        if self.fails:
            return fail(MailError("no route"))
        self.mails.append((to, text))
        return succeed(None)

    def code(self) -> str:
        found = re.search(r"\b\d{12}\b", self.mails[-1][1])
        assert found is not None
        return found[0]


class Mail(AccountTestCase):
    config = {"accounts": {"require_email": True}, "mail": {"sendmail": ["true"]}}

    def setUp(self) -> None:
        super().setUp()
        self.mailer = self.world.server.accounts.mailer = FakeMailer()

    def test_verification(self) -> None:
        """An account is used only when its address is proved; wrong codes are refused, and void after a few."""
        ann = self.client("ann")
        self.assertIn("no e-mail address", self.says(ann, f"REGISTER {WORD}")[0])
        self.says(ann, f"REGISTER {WORD} ann@example.org")
        self.assertIsNone(self.account(ann))
        self.assertIn("not proved", self.says(ann, f"IDENTIFY {WORD}")[0])
        self.assertIn("not the code", self.says(ann, "VERIFY ann 000000000000")[0])
        self.assertEqual(self.mailer.mails[0][0], "ann@example.org")
        self.assertIn("VERIFY SUCCESS ann", ann.asks(f"VERIFY ann {self.mailer.code()}")[-1])
        self.assertEqual(self.account(ann), "ann")

    def test_codes_run_out(self) -> None:
        """After five wrong tries, or a day, a code is void."""
        for nick, spoil in (
            ("ann", lambda client: [self.says(client, f"VERIFY ann {n:012d}") for n in range(5)]),
            ("bob", lambda client: self.world.clock.advance(25 * 3600)),
        ):
            client = self.client(nick, address=f"198.51.100.{len(nick)}")
            self.says(client, f"REGISTER {WORD} {nick}@example.org")
            code = self.mailer.code()
            spoil(client)
            client = self.client(f"{nick}2", address="198.51.100.99")
            self.assertIn("not the code", self.says(client, f"VERIFY {nick} {code}")[0])

    def test_reset(self) -> None:
        """A mailed code sets a new password, once; nobody learns which accounts there are."""
        ann = self.client("ann")
        self.says(ann, f"REGISTER {WORD} ann@example.org")
        self.says(ann, f"VERIFY ann {self.mailer.code()}")
        bob = self.client("bob")
        self.assertEqual(self.says(bob, "SENDPASS ann"), self.says(bob, "SENDPASS nobody"))
        code = self.mailer.code()
        self.assertEqual(self.says(bob, f"RESETPASS ann {code} brandnewone"), ["The password is set."])
        self.assertIn("not the code", self.says(bob, f"RESETPASS ann {code} otherone")[0])
        self.says(bob, "IDENTIFY ann brandnewone")
        self.assertEqual(self.account(bob), "ann")

    def test_a_new_address_is_proved(self) -> None:
        """Where an address is asked for, another one counts when its code came back, by the account's own client."""
        ann, bob = self.client("ann"), self.client("bob")
        self.says(ann, f"REGISTER {WORD} ann@example.org")
        self.says(ann, f"VERIFY ann {self.mailer.code()}")
        self.assertIn("no e-mail address", self.says(ann, "SET EMAIL none")[0])
        self.assertIn("A code was mailed there", self.says(ann, "SET EMAIL ann@example.net")[0])
        self.assertEqual(self.mailer.mails[-1][0], "ann@example.net")
        self.assertIn("ann@example.org", " ".join(self.says(ann, "INFO")))
        self.assertIn("not the code", self.says(bob, f"VERIFY ann {self.mailer.code()}")[0])
        self.assertIn("not the code", self.says(ann, "VERIFY ann 000000000000")[0])
        self.assertIn("is proved", self.says(ann, f"VERIFY ann {self.mailer.code()}")[0])
        self.assertIn("ann@example.net", " ".join(self.says(ann, "INFO")))
        self.assertIn("not the code", self.says(ann, f"VERIFY ann {self.mailer.code()}")[0])

    def test_mails_to_others_are_few(self) -> None:
        """Nobody makes the network mail one address after the other."""
        ann = self.client("ann")
        self.says(ann, f"REGISTER {WORD} ann@example.org")
        self.says(ann, f"VERIFY ann {self.mailer.code()}")
        answers = [self.says(ann, f"SET EMAIL victim{number}@example.net")[0] for number in range(12)]
        self.assertIn("come back later", answers[-1])
        self.assertEqual(len(self.mailer.mails), 11)

    def test_nobody_waits_for_the_mail(self) -> None:
        """SENDPASS takes as long for an account that is there as for one that is not."""
        ann, bob = self.client("ann"), self.client("bob")
        self.says(ann, f"REGISTER {WORD} ann@example.org")
        self.says(ann, f"VERIFY ann {self.mailer.code()}")
        mailed: list[str] = []
        sent: Deferred[None] = Deferred()

        def send(to: str, subject: str, text: str) -> Deferred[None]:
            mailed.append(to)
            return sent

        self.mailer.send = send  # type: ignore[method-assign]
        self.assertIn("on its way", self.says(bob, "SENDPASS ann")[0])
        self.assertEqual(mailed, ["ann@example.org"])
        sent.errback(MailError("no route"))

    def test_mail_that_fails(self) -> None:
        """The client is told, the operator's log knows why."""
        self.mailer.fails = True
        ann = self.client("ann")
        self.assertIn("could not be sent", self.says(ann, f"REGISTER {WORD} ann@example.org")[0])


class NewPassword(AccountTestCase):
    config = {"bouncer": {"multiclient": "opt-out"}}

    def test_other_clients_end(self) -> None:
        """Who came in with the old password is out, on the same nick and on others; who changed it stays."""
        ann = self.registered("ann")
        other = self.client("other")
        self.says(other, f"IDENTIFY ann {WORD}")
        bystander = self.registered("bob")
        self.assertEqual(
            self.says(ann, "SET PASSWORD brandnewone"),
            ["Your other clients were disconnected: 1.", "PASSWORD is set."],
        )
        self.assertIn("password of your account was changed", other.lines()[-1])
        self.assertNotIn(other.uid, self.world.state.users)
        for client in (ann, bystander):
            self.assertIn("PONG", client.asks("PING x")[0])

    def test_a_reset_ends_all(self) -> None:
        """A code that was mailed throws everybody out who is in."""
        self.world.server.accounts.mailer = mailer = FakeMailer()
        ann = self.registered("ann")
        self.says(ann, "SET EMAIL ann@example.org")
        bob = self.client("bob")
        self.says(bob, "SENDPASS ann")
        self.assertEqual(self.says(bob, f"RESETPASS ann {mailer.code()} brandnewone"), ["The password is set."])
        self.assertNotIn(ann.uid, self.world.state.users)


class Registrations(AccountTestCase):
    config = {"accounts": {"registrations_per_address": 2, "registration_window_s": 100}}

    def test_an_address_makes_few(self) -> None:
        """So many accounts of one address; others, and exempt ones, are not touched by that."""
        answers = [self.says(self.client(f"c{n}", address="198.51.100.1"), f"REGISTER {WORD}")[0] for n in range(3)]
        self.assertEqual([("is yours" in answer) for answer in answers], [True, True, False])
        self.assertIn("come back later", answers[-1])
        self.assertIn("is yours", self.says(self.client("d", address="198.51.100.2"), f"REGISTER {WORD}")[0])
        for number in range(4):
            client = self.client(f"e{number}", address="127.0.0.1")
            self.assertIn("is yours", self.says(client, f"REGISTER {WORD}")[0])
        self.world.clock.advance(101)
        self.assertIn("is yours", self.says(self.client("f", address="198.51.100.1"), f"REGISTER {WORD}")[0])

    def test_mistakes_do_not_count(self) -> None:
        """Only accounts that were made do."""
        client = self.client("ann", address="198.51.100.1")
        for _ in range(3):
            self.assertIn("at least", self.says(client, "REGISTER short")[0])
        self.assertIn("is yours", self.says(client, f"REGISTER {WORD}")[0])

    def test_a_new_configuration_counts(self) -> None:
        """SIGHUP changes the limits."""
        self.world.server.use_config(
            make_config({"accounts": {"registrations_per_address": 1, "failures_per_address": 1}})
        )
        self.says(self.client("ann", address="198.51.100.1"), f"REGISTER {WORD}")
        bob = self.client("bob", address="198.51.100.1")
        self.assertIn("come back later", self.says(bob, f"REGISTER {WORD}")[0])
        self.says(bob, "IDENTIFY ann wrongwrong")
        self.assertIn("try again later", self.says(bob, f"IDENTIFY ann {WORD}")[0])


class Guessing(AccountTestCase):
    config = {"accounts": {"failures_per_address": 3, "failures_per_account": 5, "failure_window_s": 100}}

    def test_address_is_shut_out(self) -> None:
        """After three failures an address waits; others do not."""
        self.registered("ann").sends("QUIT")
        thief = self.client("thief", address="198.51.100.1")
        for _ in range(3):
            self.says(thief, "IDENTIFY ann wrongwrong")
        self.assertIn("try again later", self.says(thief, f"IDENTIFY ann {WORD}")[0])
        self.world.clock.advance(101)
        self.assertIn("logged in", self.says(thief, f"IDENTIFY ann {WORD}")[-1])

    def test_strangers_cannot_lock_the_owner_out(self) -> None:
        """A guessed-at account is closed to strangers, open to addresses that it knows."""
        ann = self.registered("ann")
        self.says(ann, f"IDENTIFY {WORD}")
        for number in range(6):
            thief = self.client(f"t{number}", address=f"198.51.100.{number + 1}")
            answer = self.says(thief, "IDENTIFY ann wrongwrong")[0]
        self.assertIn("try again later", answer)
        stranger = self.client("stranger", address="203.0.113.1")
        self.assertIn("try again later", self.says(stranger, f"IDENTIFY ann {WORD}")[0])
        owner = self.client("owner")
        self.assertIn("logged in", self.says(owner, f"IDENTIFY ann {WORD}")[-1])


class Timing(AccountTestCase):
    config = {"passwords": {"cost": "default"}}

    def test_nobody_is_as_slow_as_somebody(self) -> None:
        """A password is compared at the same cost for an account that is there and for one that is not."""
        self.registered("ann").sends("QUIT")
        compared: list[str] = []

        def verify(password_hash: str, password: str) -> bool:
            compared.append(password_hash)
            return verify_now(password_hash, password)

        thief = self.client("thief")
        with mock.patch("slircd.services.accounts.verify_now", verify):
            self.assertEqual(
                self.says(thief, "IDENTIFY ann wrongwrong"), self.says(thief, "IDENTIFY nobody wrongwrong")
            )
        somebody, nobody = map(extract_parameters, compared)
        self.assertEqual(somebody, nobody)


class Secrets(AccountTestCase):
    def test_no_secret_is_in_an_event(self) -> None:
        """Marked secrets, given in every way there is, are nowhere in the log, and to nobody else on the wire."""
        self.world.server.accounts.mailer = FakeMailer()
        marks = [f"s3cretmark{number}" for number in range(9)]
        spy = self.oper("spy", caps="echo-message")
        ann = self.client("ann", caps="echo-message")
        self.says(ann, f"REGISTER {marks[0]} {marks[1]}@example.org")
        self.says(ann, f"SET PASSWORD {marks[2]}")
        self.says(ann, f"SET EMAIL {marks[3]}@example.org")
        self.says(ann, f"IDENTIFY ann {marks[4]}")
        ann.sends(
            f"OPER root {marks[5]}",
            f"NS IDENTIFY {marks[2]}",
            "AUTHENTICATE PLAIN",
            f"AUTHENTICATE {plain('ann', marks[6])}",
            f"REGISTER x * {marks[7]}",
            f"PRIVMSG NickServ :{marks[8]}",
        )
        log = str(self.world.store.rows)
        seen = "\n".join(spy.lines())
        for mark in marks:
            self.assertNotIn(mark, log)
            self.assertNotIn(mark, seen)
        self.assertIn("argon2id", str(self.world.store.read_credentials()))


def test_precis_names() -> None:
    """With names = precis an account may have letters of other scripts."""
    world = World(config=make_config({"accounts": {"names": "precis"}}))
    bob = world.client("bob")
    assert any("REGISTER SUCCESS Ünal" in line for line in bob.asks(f"REGISTER Ünal * {WORD}"))
    eve = world.client("eve", caps="standard-replies")
    for name in ("♚x", "\N{FULLWIDTH NUMBER SIGN}x", "~x"):
        assert "BAD_ACCOUNT_NAME" in eve.asks(f"REGISTER {name} * {WORD}")[0]
