"""What the server tells clients that it can do: RPL_ISUPPORT and the mode letters of RPL_MYINFO.

Every value is read from the table or the limit that enforces it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from slircd.wire.casemap import CASEMAPS, in_log
from slircd.wire.encoding import UTF8
from slircd.wire.extbans import EXTBANS, PREFIX
from slircd.wire.isupport import format_tokens
from slircd.wire.modes import CHANNEL_MODES, USER_MODES, Kind
from slircd.wire.names import MAX_HOST

if TYPE_CHECKING:
    from slircd.config.sections import Config


def isupport_tokens(config: Config) -> dict[str, str | int | None]:
    """The tokens of RPL_ISUPPORT; None stands for a token without a value."""
    limits = config.limits
    targets = limits.targets
    lists = CHANNEL_MODES.of_kind(Kind.LIST)
    return {
        "ACCEPT": limits.accept,
        "ACCOUNTEXTBAN": "a",
        "AWAYLEN": limits.awaylen,
        "BOT": "B",
        "CALLERID": "g",
        "CASEMAPPING": CASEMAPS[in_log(config.server.casemapping)].token,
        "CHANLIMIT": f"#:{limits.channels_per_user}",
        "CHANMODES": CHANNEL_MODES.chanmodes,
        "CHANNELLEN": limits.channellen,
        **({"CHATHISTORY": config.history.limit} if config.history.enabled else {}),
        "CHANTYPES": "#",
        **({"CLIENTTAGDENY": ",".join(limits.client_tags_denied)} if limits.client_tags_denied else {}),
        "DEAF": "D",
        "ELIST": "CMNTU",
        "EXCEPTS": "e",
        "EXTBAN": f"{PREFIX},{''.join(sorted(EXTBANS))}",
        "HOSTLEN": MAX_HOST,
        "INVEX": "I",
        "KEYLEN": limits.keylen,
        "KICKLEN": limits.kicklen,
        "KNOCK": None,
        "MAXLIST": f"{lists}:{limits.list_entries}",
        "MODES": limits.modes,
        "MONITOR": limits.monitor,
        **({"MSGREFTYPES": "msgid,timestamp"} if config.history.enabled else {}),
        "NAMELEN": limits.reallen,
        "NETWORK": config.server.network,
        "NICKLEN": limits.nicklen,
        "PREFIX": CHANNEL_MODES.prefix,
        "RPCHAN": "E",
        "SAFELIST": None,
        "SILENCE": limits.silence,
        "STATUSMSG": "".join(CHANNEL_MODES.prefixes.values()),
        "TARGMAX": ",".join(
            f"{command}:{limit}"
            for command, limit in (
                ("JOIN", targets.join),
                ("KICK", targets.kick),
                ("NAMES", targets.names),
                ("NOTICE", targets.notice),
                ("PART", targets.part),
                ("PRIVMSG", targets.privmsg),
                ("TAGMSG", targets.tagmsg),
                ("WHOIS", targets.whois),
            )
        ),
        "TOPICLEN": limits.topiclen,
        "USERLEN": limits.userlen,
        **({"UTF8ONLY": None} if config.server.encoding == UTF8 else {}),
        "WHOX": None,
    }


def isupport_lines(config: Config) -> Iterator[list[str]]:
    """The tokens of each RPL_ISUPPORT line."""
    return format_tokens(isupport_tokens(config))


@cache
def mode_letters() -> tuple[str, str, str]:
    """The mode fields of RPL_MYINFO: of users, of channels, and of channels with a parameter."""
    with_parameter = CHANNEL_MODES.of_kind(Kind.PREFIX, Kind.LIST, Kind.KEY, Kind.SETTING)
    return USER_MODES.letters, CHANNEL_MODES.letters, with_parameter
