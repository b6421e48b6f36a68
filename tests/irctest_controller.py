"""Runs slircd under irctest, the public conformance suite; it is no test itself.

    pip install -r IRCTEST/requirements.txt
    cp tests/irctest_controller.py IRCTEST/irctest/controllers/slircd.py
    cd IRCTEST && pytest irctest/server_tests --controller irctest.controllers.slircd \
        -m 'not implementation-specific and not deprecated and not strict'

SLIRCD_COMMAND replaces the command that starts the server, SLIRCD_ENCODING=bytes has it pass on bytes that are not
UTF-8, SLIRCD_CASEMAPPING=rfc1459 has it fold names as RFC 1459 does (for the tests of that, which are skipped
otherwise).  docs/conformance.md has the results.
"""

import os
import shlex
import shutil
from typing import Any, Callable, Dict, Optional, Type

from irctest import patma
from irctest.basecontrollers import BaseServerController, DirectoryBasedController
from irctest.runner import NotImplementedByController
from irctest.specifications import Capabilities, OptionalBehaviors

CASEMAPPING = os.environ.get("SLIRCD_CASEMAPPING", "ascii")
ENCODING = os.environ.get("SLIRCD_ENCODING", "utf-8")
COMMAND = "twistd --nodaemon --pidfile= slircd"

# argon2id with the least cost, of "testpassword" and "operpassword".
SERVER_HASH = "$argon2id$v=19$m=8,t=1,p=1$c2xpcmNkLXRlc3Q$OQlnrkm4hLYFHzkz8vqYBg"
OPER_HASH = "$argon2id$v=19$m=8,t=1,p=1$c2xpcmNkLXRlc3Q$Bq+RiIKa/edVUGIdMCckNg"

CONFIG = """
[server]
name = "My.Little.Server"
description = "test server"
encoding = "{encoding}"
casemapping = "{casemapping}"
confusables = {confusables}
default_user_modes = "{user_modes}"
{services}
network = "testnet"
{password}
[server.admin]
name = "Bob Smith"
email = "email@example.org"

[[listen]]
port = {port}
proxies = {proxies}
{websocket}

[flood]
enabled = false

[cloak]
enabled = false

[timeouts]
ping_interval_s = 3600
registration_s = 3600

[admin]
enabled = false

[history]
channels = true
direct = true
replay_lines = 0
playback_lines = {playback_lines}

[bouncer]
always_on = "{always_on}"

[passwords]
cost = "minimum"

[accounts]
password_length = 1
sasl_plain_without_tls = true
before_connect = {before_connect}
require_email = {require_email}

[mail]
sendmail = ["true"]

[opers.operuser]
password_hash = "{oper}"
class = "netadmin"
"""


def _ergo_options(change: Optional[Callable[[Dict[str, Any]], None]]) -> Dict[str, Any]:
    """What a test asks of a server in the words of Ergo's configuration; these have equivalents in ours."""
    options: Dict[str, Any] = {
        "server": {"listeners": {"plain": None}},
        "accounts": {"multiclient": {}, "registration": {}, "nick-reservation": {}},
        "history": {"retention": {}},
        "limits": {},
        "channels": {"registration": {}},
    }
    if change is not None:
        change(options)
    return options


class SlircdController(BaseServerController, DirectoryBasedController):
    """Starts one server for each test."""

    software_name = "slircd"
    software_version: Optional[str] = None
    supported_sasl_mechanisms = {"PLAIN", "SCRAM-SHA-256", "EXTERNAL"}
    supports_sts = False
    extban_mute_char: Optional[str] = "m"
    nickserv = "NickServ"
    sync_sleep_time = 0.0
    _port_wait_interval = 0.02

    capabilities = frozenset(
        {
            Capabilities.ACCOUNT_NOTIFY,
            Capabilities.ACCOUNT_TAG,
            Capabilities.AWAY_NOTIFY,
            Capabilities.BATCH,
            Capabilities.ECHO_MESSAGE,
            Capabilities.EXTENDED_JOIN,
            Capabilities.EXTENDED_MONITOR,
            Capabilities.LABELED_RESPONSE,
            Capabilities.MESSAGE_REDACTION,
            Capabilities.MESSAGE_TAGS,
            Capabilities.MULTILINE,
            Capabilities.MULTI_PREFIX,
            Capabilities.READ_MARKER,
            Capabilities.SERVER_TIME,
            Capabilities.SETNAME,
        }
    )
    optional_behaviors = frozenset(
        {
            OptionalBehaviors.BAN_EXCEPTION_MODE,
            OptionalBehaviors.CAP_REQ_MINUS,
            OptionalBehaviors.ELIST_C,
            OptionalBehaviors.ELIST_M,
            OptionalBehaviors.ELIST_N,
            OptionalBehaviors.ELIST_T,
            OptionalBehaviors.ELIST_U,
            OptionalBehaviors.INVITE_EXCEPTION_MODE,
            OptionalBehaviors.INVITE_LIST,
            OptionalBehaviors.INVITE_OVERRIDES_LIMIT,
            OptionalBehaviors.MULTI_JOIN,
            OptionalBehaviors.MULTI_KICK,
            OptionalBehaviors.MULTI_NAMES_COMMAND,
            OptionalBehaviors.MULTI_PRIVMSG,
            OptionalBehaviors.NO_CTCP,
            OptionalBehaviors.SASL_AFTER_REGISTRATION,
            OptionalBehaviors.SASL_REAUTHENTICATION,
            *([] if ENCODING == "utf-8" else [OptionalBehaviors.NON_UTF8_MESSAGE]),
        }
    )
    isupport: Dict[str, Any] = {
        "ACCOUNTEXTBAN": "a",
        "AWAYLEN": "300",
        "BOT": "B",
        "CASEMAPPING": CASEMAPPING,
        "CHANNELLEN": "64",
        "CHANTYPES": "#",
        "ELIST": "CMNTU",
        "EXCEPTS": "e",
        "EXTBAN": patma.StrRe("~,.*"),
        "HOSTLEN": "63",
        "INVEX": "I",
        "MONITOR": "100",
        "NETWORK": "testnet",
        "NICKLEN": "30",
        "PREFIX": "(qaohv)~&@%+",
        "STATUSMSG": "~&@%+",
        "TARGMAX": patma.ANYSTR,
        "TOPICLEN": "390",
        "USERLEN": "12",
        **({"UTF8ONLY": None} if ENCODING == "utf-8" else {}),
        "WHOX": None,
    }

    def run(
        self,
        hostname: str,
        port: int,
        *,
        password: Optional[str],
        ssl: bool,
        run_services: bool,
        faketime: Optional[str],
        websocket_hostname: Optional[str],
        websocket_port: Optional[int],
    ) -> None:
        if ssl:
            raise NotImplementedByController("TLS")
        if self.test_config.sable_history_server:
            raise NotImplementedByController("a history server of Sable")
        assert self.proc is None
        self.port = port
        self.hostname = hostname
        self.create_config()
        wanted = _ergo_options(self.test_config.ergo_config)
        precis = wanted["server"].get("casemapping") == "precis"
        proxied = any(listener and listener.get("proxy") for listener in wanted["server"]["listeners"].values())
        self._values = {
            "always_on": wanted["accounts"]["multiclient"].get("always-on", "opt-in"),
            "playback_lines": 1000,
            "port": port,
            "casemapping": "precis" if precis else CASEMAPPING,
            "confusables": str(precis).lower(),
            "user_modes": wanted["accounts"].get("default-user-modes", "").lstrip("+"),
            "proxies": '["127.0.0.0/8"]' if proxied else "[]",
            "before_connect": str(bool(self.test_config.account_registration_before_connect)).lower(),
            "require_email": str(bool(self.test_config.account_registration_requires_email)).lower(),
            "websocket": f"[[listen]]\nport = {websocket_port}\nwebsocket = true" if websocket_port else "",
            "encoding": ENCODING,
            "oper": OPER_HASH,
            "services": 'services_name = "My.Little.Services"' if run_services else "",
            "password": f'password_hash = "{SERVER_HASH}"' if password else "",
        }
        self._write_config()
        prefix = []
        if faketime and shutil.which("faketime"):
            prefix = ["faketime", "-f", faketime]
            self.faketime_enabled = True
        command = shlex.split(os.environ.get("SLIRCD_COMMAND", COMMAND))
        self._command = [*prefix, *command]
        self.proc = self.execute(self._command, cwd=self.directory)

    def restart(self) -> None:
        """Stop the server and start it again on what it has written."""
        self.kill_proc()
        self.port_open = False
        self.proc = self.execute(self._command, cwd=self.directory)
        self.wait_for_port()

    def _write_config(self) -> None:
        with self.open_file("slircd.toml", "w") as file:
            file.write(CONFIG.format(**self._values))

    def getConfig(self) -> Dict[str, Any]:
        """What tests written for Ergo may change while the server runs."""
        return {"history": {"znc-maxmessages": self._values["playback_lines"]}}

    def rehash(self, case: Any, config: Dict[str, Any]) -> None:
        self._values["playback_lines"] = config["history"]["znc-maxmessages"]
        self._write_config()
        client = "operator_for_rehash"
        case.connectClient(nick=client, name=client)
        case.sendLine(client, "OPER operuser operpassword")
        case.sendLine(client, "REHASH")
        case.getMessages(client)
        case.sendLine(client, "QUIT")
        case.assertDisconnected(client)

    def registerUser(self, case: Any, username: str, password: Optional[str] = None) -> None:
        assert password
        client = case.addClient(show_io=False)
        case.sendLine(client, "NICK " + username)
        case.sendLine(client, "USER r e g :user")
        while case.getRegistrationMessage(client).command != "001":
            pass
        case.getMessages(client)
        case.sendLine(client, f"REGISTER * * {password}")
        replies = case.getMessages(client)
        assert any(message.command == "REGISTER" for message in replies), replies
        case.sendLine(client, "QUIT")
        case.assertDisconnected(client)

    def wait_for_services(self) -> None:
        """Built in, so they are up when the server is."""


def get_irctest_controller_class() -> Type[SlircdController]:
    return SlircdController
