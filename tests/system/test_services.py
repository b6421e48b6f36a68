"""Services, SASL and network bans on the real daemon, over TLS; and that no secret is left anywhere."""

from __future__ import annotations

import re
import sqlite3
import ssl
import subprocess
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.x509 import load_pem_x509_certificate
from scramp import ScramClient

from slircd.replay.cli import main as replay
from slircd.security.certificates import ensure_self_signed, now_utc
from slircd.services.chanserv import chanserv
from slircd.services.nickserv import nickserv
from slircd.services.sasl import end_point_hash
from tests.system.daemon import Daemon, SocketClient, insecure
from tests.system.test_admin import get

pytestmark = pytest.mark.system

WORD = "correcthorse"


def says(client: SocketClient, service: str, text: str) -> str:
    """What a service answers, in one text."""
    start = len(client.lines)
    client.sends(f"PRIVMSG {service} :{text}")
    client.synchronise()
    return "\n".join(line.split(" :", 1)[1] for line in client.lines[start:] if " NOTICE " in line)


def test_every_command_of_the_services(tmp_path: Path) -> None:
    """A day in the life of NickServ and ChanServ; every command is used, and none is unknown."""
    used: set[str] = set()
    with Daemon(tmp_path, more='[mail]\nsendmail = ["true"]\n') as daemon:
        ann, bob = (SocketClient(daemon, tls=True).register(nick) for nick in ("ann", "bob"))

        def ns(client: SocketClient, text: str, answer: str) -> None:
            used.add("ns " + text.split()[0])
            assert answer in (given := says(client, "NickServ", text)), given

        def cs(client: SocketClient, text: str, answer: str = "Done.") -> None:
            used.add("cs " + text.split()[0])
            assert answer in (given := says(client, "ChanServ", text)), given

        ns(ann, f"REGISTER {WORD}", "is yours")
        ns(bob, f"REGISTER {WORD}", "is yours")
        ns(ann, "LOGOUT", "logged out")
        ns(ann, f"IDENTIFY {WORD}", "logged in as ann")
        ns(ann, "SET EMAIL ann@example.org", "is set")
        ns(ann, "INFO", "ann@example.org")
        ns(ann, "SESSIONS", "TLS")
        ns(ann, "CLIENTS LIST", "this one")
        ns(ann, "CERT LIST", "0 fingerprints")
        ann.sends("NICK anna")
        ns(ann, "GROUP", "belongs to your account")
        ns(ann, "UNGROUP", "no longer")
        ann.sends("NICK ann")
        ns(bob, "GHOST nobody", "Nobody has")
        ns(bob, "RELEASE ann", "not yours")
        ns(bob, f"REGAIN bob {WORD}", "You have bob")
        ns(bob, "VERIFY bob 1", "not the code")
        ns(bob, "SENDPASS ann", "on its way")
        ns(bob, "RESETPASS ann 1 newpassword", "not the code")
        ns(bob, "LIST *", "Permission Denied")
        ns(bob, f"SAREGISTER dan {WORD}", "Permission Denied")

        ann.sends("JOIN #c")
        ann.synchronise()
        bob.sends("JOIN #c")
        bob.synchronise()
        cs(ann, "REGISTER #c", "is registered")
        cs(ann, "INFO #c", "Founder: ann")
        cs(ann, "LIST #*", "1 found")
        cs(ann, "FLAGS #c bob +AivVrt")
        cs(ann, "FLAGLIST", "AKICK")
        cs(bob, "STATUS #c", "+")
        cs(bob, "WHY #c", "is logged in as bob")
        for level in ("VOP", "HOP", "AOP", "SOP"):
            cs(ann, f"{level} #c ADD bob")
        cs(ann, "ACCESS #c DEL bob")
        for word in ("OWNER", "PROTECT", "OP", "HALFOP", "VOICE"):
            cs(ann, f"{word} #c bob")
            cs(ann, f"DE{word} #c bob")
        cs(ann, "AKICK #c ADD *!*@203.0.113.1 spam")
        cs(ann, "TOPIC #c recorded", "")
        cs(ann, "SET #c MLOCK +m", "is set")
        cs(ann, "BAN #c x!*@*")
        cs(ann, "UNBAN #c x!*@*")
        cs(ann, "CLEAR #c VOICES")
        cs(ann, "SYNC #c")
        cs(ann, "RECOVER #c")
        cs(ann, "KICK #c bob off you go", "")
        cs(ann, "INVITE #c bob")
        cs(ann, "HISTORY #c", "ann (ChanServ): topic: recorded")
        cs(ann, "RESTORE #c -1d", "There was no channel")
        cs(ann, "DROP #c #c", "no longer")
        ns(ann, f"DROP {WORD}", "is removed")
        ns(ann, "HELP", "REGISTER")
    names = {f"ns {each.name}" for each in nickserv.commands.values()}
    names |= {f"cs {name}" for name, each in chanserv.commands.items() if name == each.name}
    assert names <= used, names - used


def sasl(client: SocketClient, mechanism: str, text: str) -> str:
    client.sends("CAP REQ :sasl", f"AUTHENTICATE {mechanism}")
    client.until(r"^AUTHENTICATE \+$")
    client.sends(f"AUTHENTICATE {text}")
    return client.until(" 90[34567] ").split()[1]


def test_sasl_over_tls(tmp_path: Path) -> None:
    """PLAIN, EXTERNAL with a real certificate, SCRAM bound to the server's real certificate; and not in the clear."""
    with Daemon(tmp_path) as daemon:
        certificate, key = tmp_path / "me.crt", tmp_path / "me.key"
        ensure_self_signed(certificate, key, "ann.example", now_utc(1_750_000_000))
        context = insecure()
        context.load_cert_chain(certificate, key)
        ann = SocketClient(daemon, tls=True, context=context).register("ann")
        says(ann, "NickServ", f"REGISTER {WORD}")
        assert says(ann, "NickServ", "CERT ADD") == "Done."
        plain = b64encode(f"\0ann\0{WORD}".encode()).decode()
        assert sasl(SocketClient(daemon, tls=True), "PLAIN", plain) == "903"
        assert sasl(SocketClient(daemon, tls=True, context=context), "EXTERNAL", "+") == "903"
        assert sasl(SocketClient(daemon, tls=True), "EXTERNAL", "+") == "904"
        open_client = SocketClient(daemon)
        open_client.sends("CAP LS 302", "AUTHENTICATE PLAIN")
        assert "PLAIN" not in open_client.until("sasl=").split("sasl=")[1].split()[0]
        open_client.until(" 904 ")

        bound = SocketClient(daemon, tls=True)
        assert isinstance(bound.socket, ssl.SSLSocket)
        shown = bound.socket.getpeercert(binary_form=True)
        assert shown is not None
        binding = end_point_hash(load_pem_x509_certificate(ssl.DER_cert_to_PEM_cert(shown).encode()))
        scram = ScramClient(["SCRAM-SHA-256-PLUS"], "ann", WORD, channel_binding=("tls-server-end-point", binding))
        bound.sends("CAP REQ :sasl", "AUTHENTICATE SCRAM-SHA-256-PLUS")
        bound.until(r"^AUTHENTICATE \+$")
        for produce, consume in (
            (scram.get_client_first, scram.set_server_first),
            (scram.get_client_final, scram.set_server_final),
        ):
            bound.sends(f"AUTHENTICATE {b64encode(produce().encode()).decode()}")
            consume(b64decode(bound.until("^AUTHENTICATE ").split()[1]).decode())
        bound.sends("AUTHENTICATE +")
        bound.until(" 903 ")


def test_no_secret_is_left(tmp_path: Path) -> None:
    """Marked secrets, used in every way there is, are in no table but the credentials, no log line, no answer of the API."""
    marks = [f"s3cretmark{number}" for number in range(8)]
    with Daemon(tmp_path) as daemon:
        ann, spy = SocketClient(daemon, tls=True), SocketClient(daemon, tls=True).register("spy")
        ann.sends(f"PASS {marks[0]}")
        ann.register("ann")
        says(ann, "NickServ", f"REGISTER {marks[1]} {marks[2]}@example.org")
        says(ann, "NickServ", f"SET PASSWORD {marks[3]}")
        says(ann, "NickServ", f"IDENTIFY ann {marks[4]}")
        ann.sends(f"OPER admin {marks[5]}", f"NS IDENTIFY {marks[3]}", f"REGISTER other * {marks[6]}")
        ann.sends("AUTHENTICATE PLAIN", f"AUTHENTICATE {b64encode(f'{chr(0)}ann{chr(0)}{marks[7]}'.encode()).decode()}")
        ann.until(" 904 ")
        ann.sends("OPER admin sesame", "REHASH")
        ann.until("read again")
        spy.synchronise()
        output = "".join(
            get(daemon, path).body.decode()
            for path in ("/admin/events?limit=1000", "/admin/replay?keys=show", "/admin/users", "/metrics")
        )
        daemon.stop()
        output += "".join(daemon.output)
        for words in (["--at", "-0s"], ["--diff", "2020-01-01", "-0s", "--human"], ["--blame", "#c"]):
            output += CliRunner().invoke(replay, ["--db", str(daemon.database), *words]).output
    with sqlite3.connect(daemon.database) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        dump = {table: str(connection.execute(f"SELECT * FROM {table}").fetchall()) for table in tables}
    assert marks[2] in dump.pop("credentials")
    for mark in [*marks, "sesame"]:
        assert mark not in output
        assert mark not in "".join(spy.lines)
        for table, text in dump.items():
            assert mark not in text, table
    done = subprocess.run(
        ["grep", "-rl", *[f"-e{mark}" for mark in (marks[1], marks[3], "sesame")], str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""


def test_network_bans(tmp_path: Path) -> None:
    """A line keeps out over TLS, before and after registration, and across a restart."""
    more = "[cloak]\nenabled = false\n[throttle]\nexempt = []\nconnections = 100\nattempts = 1000\n"
    with Daemon(tmp_path, more=more) as daemon:
        oper = SocketClient(daemon, tls=True).register("oper")
        oper.sends("OPER admin sesame")
        oper.until(" 381 ")
        oper.sends("RLINE *spam?bot* no bots here|seen before", "STATS k")
        oper.until(r" 216 oper RLINE .*:no bots here\|seen before$")
        daemon.kill()
    with daemon:
        bot = SocketClient(daemon, tls=True)
        bot.sends("NICK bot", "USER bot 0 * :a spam bot indeed")
        bot.until(" 465 .*no bots here")
        with pytest.raises(EOFError):
            bot.until("never")
        oper = SocketClient(daemon).register("oper")
        oper.sends("OPER admin sesame", "DLINE FORCE 127.0.0.0/8 everybody here")
        oper.until("is set")
        late = SocketClient(daemon)
        assert re.search("465|ERROR", late.line())
