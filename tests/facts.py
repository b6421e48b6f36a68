"""What a line shows, and what an event says, in one form: so that every line seen can be looked up in the log."""

from __future__ import annotations

import re

from slircd.events.codec import decode_event
from slircd.events.row import Row

SHOWN = re.compile(
    r"^(?:@\S+ )?:(\S+) (PRIVMSG|JOIN|PART|KICK|NICK|TOPIC|MODE|QUIT|AWAY|SETNAME|KILL|INVITE|CHGHOST) (.*)$"
)

Fact = tuple[str, ...]


def facts_of(row: Row) -> list[Fact]:
    """What lines an event may show."""
    event = decode_event(row.event_type, row.actor_uid, row.target, row.payload)
    kind = row.event_type
    if kind == "channel.join":
        return [("JOIN", event.name, event.member)]
    if kind == "message.privmsg":
        return [("PRIVMSG", event.nick, event.to, event.text)]
    if kind == "channel.part":
        return [("PART", event.name, event.member)]
    if kind == "channel.rename":
        return [("RENAME PART", event.name), ("RENAME JOIN", event.new_name)]
    if kind == "channel.kick":
        return [("KICK", event.name, event.member)]
    if kind == "user.nick_change":
        return [("NICK", event.nick, event.new_nick)]
    if kind == "channel.topic_change":
        return [("TOPIC", event.target, event.topic)]
    if kind == "channel.invite":
        return [("INVITE", event.member)]
    if kind == "oper.kill":
        return [("KILL", event.member)]
    if kind in ("user.disconnect", "user.detach"):
        return [("QUIT", event.nick, event.reason)]
    if kind == "user.away":
        return [("AWAY", event.nick, event.message)]
    if kind == "user.realname_change":
        return [("SETNAME", event.nick, event.realname)]
    if kind == "channel.mode_change":
        return [("MODE", event.target, change.sign + change.mode, change.param or "") for change in event.changes]
    if kind in ("channel.ban_add", "channel.ban_remove"):
        return [("MODE", event.target, ("+" if kind.endswith("add") else "-") + event.mode, event.mask)]
    if kind == "user.attach":
        # Another client is shown where its user is, whatever that was called when it went there.
        return [("RETURN", event.nick)]
    if kind == "user.host_change":
        return [("CHGHOST", event.nick), ("QUIT", event.nick, "Changing host"), ("RETURN", event.nick)]
    return []


def facts_of_line(line: str) -> list[Fact]:
    """What a line shows of the state; nothing for replies, notices and one's own user modes."""
    match = SHOWN.match(line)
    if match is None:
        return []
    source, verb, rest = match[1].partition("!")[0], match[2], match[3]
    head, _, trailing = rest.partition(" :") if not rest.startswith(":") else ("", "", rest[1:])
    words = head.split()
    if verb in ("JOIN", "PART"):
        return [(verb, words[0], source)]
    if verb == "PRIVMSG":
        # Clients without server-time are shown the time of what was said before.
        return [(verb, source, words[0], re.sub(r"^\[[0-9: -]+\] ", "", trailing))]
    if verb == "KICK":
        return [(verb, words[0], words[1])]
    if verb in ("NICK", "QUIT", "SETNAME"):
        return [(verb, source, trailing)]
    if verb == "AWAY":
        return [(verb, source, trailing)]
    if verb == "TOPIC":
        return [(verb, words[0].lower(), trailing)]
    if verb in ("INVITE", "KILL"):
        return [(verb, words[0])]
    if verb == "CHGHOST":
        return [(verb, source)]
    return list(_modes(words)) if words[0].startswith("#") else []


def _modes(words: list[str]) -> list[Fact]:
    facts: list[Fact] = []
    params = iter(words[2:])
    sign = "+"
    for letter in words[1]:
        if letter in "+-":
            sign = letter
            continue
        takes = letter in "qaohvbeIk" or (letter in "fjl" and sign == "+")
        facts.append(("MODE", words[0].lower(), sign + letter, next(params) if takes else ""))
    return facts
