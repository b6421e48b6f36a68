"""What an operator class can grant: a closed set, so that a misspelt privilege is an error and no silent nothing."""

from __future__ import annotations

from typing import Final

PRIVILEGES: Final[dict[str, str]] = {
    "ban": "KLINE, DLINE, GLINE, ZLINE, RLINE, SHUN, their UN forms, and FILTER",
    "chghost": "CHGHOST: give another user a user name and host",
    "die": "DIE: stop the server",
    "flood-exempt": "is not slowed down by the flood bucket",
    "kill": "KILL: disconnect a user",
    "metadata": "METADATA: change metadata of others, and of any channel",
    "override": "enter, speak, and change modes, topics and members where channels would refuse",
    "plugin": "PLUGIN: load, unload and inspect plugins",
    "redact": "REDACT: remove any message of a channel from the history",
    "rehash": "REHASH: read configuration, certificates and MOTD again",
    "relaymsg": "RELAYMSG: speak on a channel for people of another network",
    "sajoin": "SAJOIN: make a user join a channel",
    "saregister": "NickServ SAREGISTER: register an account for somebody else",
    "samode": "SAMODE: change modes of any channel",
    "sanick": "SANICK: change a user's nick",
    "sapart": "SAPART: make a user leave a channel",
    "see-hidden": "see secret channels and invisible users",
    "see-hosts": "see real hosts, addresses and certificate fingerprints",
    "stats": "STATS: see operators, ports and listeners",
    "trace": "TRACE: see connections",
    "vhost": "VHOST: give oneself or others a virtual host",
    "wallops": "WALLOPS: speak to all who listen (+w)",
}
"""Privilege to what it allows."""
