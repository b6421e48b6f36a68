"""IRCv3 capabilities that this server offers, as names and as bits.

One table: `CAP LS`, the negotiation, and whoever asks whether a client may see something all read it here, so nothing
can be advertised that the code does not know.
"""

from __future__ import annotations

from typing import Final

SERVER_TIME: Final = 1 << 0
ACCOUNT_TAG: Final = 1 << 1
MESSAGE_TAGS: Final = 1 << 2
BATCH: Final = 1 << 3
LABELED_RESPONSE: Final = 1 << 4
ECHO_MESSAGE: Final = 1 << 5
MULTI_PREFIX: Final = 1 << 6
USERHOST_IN_NAMES: Final = 1 << 7
EXTENDED_JOIN: Final = 1 << 8
AWAY_NOTIFY: Final = 1 << 9
ACCOUNT_NOTIFY: Final = 1 << 10
INVITE_NOTIFY: Final = 1 << 11
CHGHOST: Final = 1 << 12
SETNAME: Final = 1 << 13
CAP_NOTIFY: Final = 1 << 14
STANDARD_REPLIES: Final = 1 << 15
SASL: Final = 1 << 16
ACCOUNT_REGISTRATION: Final = 1 << 17
CHATHISTORY: Final = 1 << 18
EVENT_PLAYBACK: Final = 1 << 19
MESSAGE_REDACTION: Final = 1 << 20
READ_MARKER: Final = 1 << 21
ZNC_PLAYBACK: Final = 1 << 22
ZNC_SELF_MESSAGE: Final = 1 << 23
# 1 << 18 to 1 << 23 belong to history and to clients that share a user.
NO_IMPLICIT_NAMES: Final = 1 << 24
EXTENDED_MONITOR: Final = 1 << 25
PRE_AWAY: Final = 1 << 26
EXTENDED_ISUPPORT: Final = 1 << 27
MULTILINE: Final = 1 << 28
RELAYMSG: Final = 1 << 29
CHANNEL_RENAME: Final = 1 << 30
METADATA: Final = 1 << 31
METADATA_3: Final = 1 << 32

CAPABILITIES: Final[dict[str, int]] = {
    "account-notify": ACCOUNT_NOTIFY,
    "account-tag": ACCOUNT_TAG,
    "away-notify": AWAY_NOTIFY,
    "batch": BATCH,
    "cap-notify": CAP_NOTIFY,
    "chghost": CHGHOST,
    "draft/account-registration": ACCOUNT_REGISTRATION,
    "draft/channel-rename": CHANNEL_RENAME,
    "draft/chathistory": CHATHISTORY,
    "draft/event-playback": EVENT_PLAYBACK,
    "draft/extended-isupport": EXTENDED_ISUPPORT,
    "draft/extended-monitor": EXTENDED_MONITOR,
    "draft/message-redaction": MESSAGE_REDACTION,
    "draft/metadata-2": METADATA,
    "draft/metadata-3": METADATA_3,
    "draft/multiline": MULTILINE,
    "draft/no-implicit-names": NO_IMPLICIT_NAMES,
    "draft/pre-away": PRE_AWAY,
    "draft/read-marker": READ_MARKER,
    "draft/relaymsg": RELAYMSG,
    "echo-message": ECHO_MESSAGE,
    "extended-join": EXTENDED_JOIN,
    "extended-monitor": EXTENDED_MONITOR,
    "invite-notify": INVITE_NOTIFY,
    "labeled-response": LABELED_RESPONSE,
    "message-tags": MESSAGE_TAGS,
    "multi-prefix": MULTI_PREFIX,
    "no-implicit-names": NO_IMPLICIT_NAMES,
    "sasl": SASL,
    "server-time": SERVER_TIME,
    "setname": SETNAME,
    "standard-replies": STANDARD_REPLIES,
    "userhost-in-names": USERHOST_IN_NAMES,
    "znc.in/playback": ZNC_PLAYBACK,
    "znc.in/self-message": ZNC_SELF_MESSAGE,
}
"""Name to bit, in the order in which they are listed; a draft that was ratified keeps its old name beside the new."""

RAW_BYTES: Final = 1 << 62
"""Nothing that a client asks for: it takes bytes that are not UTF-8, where the server passes them on."""

TAGGING: Final = SERVER_TIME | ACCOUNT_TAG | MESSAGE_TAGS | RAW_BYTES
"""What decides how a line looks to a client: the capabilities with tags before it, and whether it takes any bytes."""


def names_of(bits: int) -> list[str]:
    """The names of the capabilities in `bits`, in the order of the table."""
    return [name for name, bit in CAPABILITIES.items() if bits & bit]
