"""Writes the golden log of this version: `python -m tests.golden.write`, at a release, and commit what it writes.

The folder of a version holds its log (one JSON array of the eight columns a line), the state at its end as that version
keeps it in a checkpoint, and as `slircd-replay` prints it.  The log has every type of the version's catalogue.  Events
go through the bus, so they are admitted, entail what they entail, and are encoded as in a server.

A new type that changes the state needs a line in `story` if what is tried for the rest does not fit it; the script says
so.  Never write a released version's folder again: that its log stays readable as it was is the point.
"""

from __future__ import annotations

import gzip
import inspect
import itertools
import json
import sys
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from twisted.internet.task import Clock

from slircd.about import version
from slircd.events import types as ev
from slircd.events.bus import EventBus
from slircd.events.memory import MemoryStore
from slircd.replay.document import to_document
from slircd.state.model import ServerState
from slircd.state.snapshot import SNAPSHOT_VERSION, encode_snapshot

FOLDER = Path(__file__).parent
ANN, BOB, CAT = "001000001", "001000002", "001000003"
SOURCE = "ann!~ann@ann.example"
PLAUSIBLE: dict[str, Any] = {
    "nick": "ann",
    "member": "bob",
    "member_uid": BOB,
    "username": "~ann",
    "host": "ann.example",
    "real_host": "host.ann.example",
    "ip": "192.0.2.1",
    "realname": "Ann O'Nym",
    "node": "001",
    "number": 1,
    "secure": True,
    "certfp": "ab" * 32,
    "name": "#golden",
    "founder": "ann",
    "account": "ann",
    "set_by": SOURCE,
    "source": SOURCE,
    "mask": "*!*@*.bad.example",
    "at": "2025-06-15T15:06:40.000000Z",
    "read": "2025-06-15T15:06:40.000000Z",
}
"""Values of fields by their names; for all others by their types."""
BY_TYPE: dict[str, Any] = {
    "str": "text",
    "str | None": None,
    "int": 3,
    "bool": True,
    "dict[str, str]": {"key": "välue"},
    "list[str]": ["one", "two"],
    "list[ModeDelta]": [],
    "list[MessagePart]": [],
}


def make(cls: type[ev.Event], actor: str | None, target: str | None, **fields: Any) -> ev.Event:
    """An event with what is given, and plausible values for what its class wants beside."""
    annotations: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        annotations.update(inspect.get_annotations(base))
    wanted = [field.name for field in msgspec.structs.fields(cls) if field.required]
    plausible = {name: PLAUSIBLE.get(name, BY_TYPE.get(annotations[name], "text")) for name in wanted}
    return cls(**{**plausible, **fields, "actor_uid": actor, "target": target})


def story() -> list[list[ev.Event]]:
    """Decisions that use what a server can do; "ş" and "\\U0001f6e9" are there because texts are not ASCII."""
    bad, ban = "*!*@*.bad.example", "*!*@ban.example"

    def come(uid: str, nick: str, number: int, **more: Any) -> ev.Event:
        return make(ev.UserConnect, uid, uid, nick=nick, username=f"~{nick}", number=number, modes="x", **more)

    def join(uid: str, nick: str, channel: str = "#golden") -> ev.Event:
        return make(
            ev.ChannelJoin, uid, channel, nick=nick, member_uid=uid, member=nick, name=channel.title(), prefixes=""
        )

    delta = ev.ModeDelta
    lines = list(zip(ev.LineAdd.__subclasses__(), ev.LineRemove.__subclasses__(), strict=True))
    return [
        [
            make(
                ev.ServerStart,
                "server",
                "001",
                name="irc.golden.example",
                version=version(),
                casemapping="ascii",
                channel_modes="nt",
            )
        ],
        [come(ANN, "ann", 1)],
        [come(BOB, "bob", 2, certfp=None, secure=False)],
        [come(CAT, "cat", 3)],
        [make(ev.NickRegister, ANN, "ann", verified=False)],
        [make(ev.NickVerify, None, "ann")],
        [make(ev.NickIdentify, ANN, "ann", method="SCRAM-SHA-256"), make(ev.UserAccount, ANN, ANN)],
        [make(ev.NickGroup, ANN, "ann", grouped="ann_")],
        [make(ev.NickGroup, ANN, "ann", grouped="annie")],
        [make(ev.NickUngroup, ANN, "ann", grouped="annie")],
        [make(ev.NickSet, ANN, "ann", setting="enforce", value="on")],
        [make(ev.NickCert, ANN, "ann", fingerprint="cd" * 32, added=True)],
        [make(ev.NickRegister, BOB, "bob", nick="bob", account="bob", verified=True)],
        [make(ev.NickDrop, BOB, "bob", nick="bob", account="bob")],
        [join(ANN, "ann")],
        [join(BOB, "bob")],
        [make(ev.ChannelInvite, ANN, "#golden", member="cat", member_uid=CAT)],
        [make(ev.ChannelTopicChange, ANN, "#golden", topic="every change is recorded \U0001f6e9", previous="")],
        [
            make(
                ev.ChannelModeChange,
                ANN,
                "#golden",
                changes=[
                    delta("+", "v", "bob", BOB),
                    delta("+", "k", "sesame"),
                    delta("+", "l", "20"),
                    delta("+", "m"),
                    delta("-", "t"),
                ],
            )
        ],
        [make(ev.ChannelBanAdd, ANN, "#golden", mode="b", mask=bad, expires="2030-01-01T00:00:00.000000Z")],
        [make(ev.ChannelBanAdd, ANN, "#golden", mode="e", mask="*!*@good.bad.example")],
        [make(ev.ChannelBanAdd, ANN, "#golden", mode="b", mask=ban)],
        [make(ev.ChannelBanRemove, ANN, "#golden", mode="b", mask=ban)],
        [make(ev.ChanRegister, ANN, "#golden")],
        [make(ev.ChanFlags, ANN, "#golden", entry="*!*@*.friends.example", flags="Vv", previous="")],
        [make(ev.ChanSet, ANN, "#golden", setting="keeptopic", value="on", previous="")],
        [make(ev.ChanRestore, ANN, "#golden")],
        [
            make(ev.UserModeChange, ANN, ANN, changes=[delta("+", "o"), delta("+", "s", "ck")], oper="admin"),
            make(ev.OperLogin, ANN, ANN, oper="admin", oper_class="netadmin"),
        ],
        [make(ev.UserNickChange, CAT, CAT, nick="cat", new_nick="Caţ")],
        [make(ev.UserAway, BOB, BOB, nick="bob", message="gone fishing")],
        [
            make(
                ev.UserHostChange,
                ANN,
                CAT,
                username="~c",
                host="cat.example",
                previous_username="~cat",
                previous_host="ann.example",
            )
        ],
        [make(ev.UserRealnameChange, CAT, CAT, nick="Caţ", realname="Tom ş", previous="Ann O'Nym")],
        [join(CAT, "Caţ", "#other")],
        [join(BOB, "bob", "#other")],
        [make(ev.ChannelKick, CAT, "#other", nick="Caţ", name="#other", reason="bye")],
        [
            make(
                ev.ChannelPart,
                CAT,
                "#other",
                nick="Caţ",
                member_uid=CAT,
                member="Caţ",
                name="#other",
                reason="",
                prefixes="o",
            )
        ],
        *(
            [make(add, ANN, f"*@{index}.bad.example", mask=f"*@{index}.bad.example")]
            for index, (add, _) in enumerate(lines)
        ),
        *(
            [make(add, ANN, f"*@{index}.gone.example", mask=f"*@{index}.gone.example")]
            for index, (add, _) in enumerate(lines)
        ),
        *(
            [make(remove, "server", f"*@{index}.gone.example", nick="", mask=f"*@{index}.gone.example")]
            for index, (_, remove) in enumerate(lines)
        ),
        [make(ev.FilterAdd, ANN, "spam.*", pattern="spam.*", action="block")],
        [make(ev.FilterAdd, ANN, "ham.*", pattern="ham.*", action="kill")],
        [make(ev.FilterRemove, ANN, "ham.*", pattern="ham.*")],
        [join(CAT, "Caţ", "#old")],
        [make(ev.ChannelRename, CAT, "#old", nick="Caţ", name="#Old", new_name="#New")],
        [make(ev.MetadataSet, ANN, ANN, name="ann", key="url", value="https://ann.example", previous="")],
        [make(ev.AccountReadMarker, ANN, "ann", name="#golden")],
        [make(ev.PluginStore, "plugin:welcome", "welcome", values={"seen": "3", "gone": "x"}, removed=[])],
        [make(ev.PluginStore, "plugin:welcome", "welcome", values={}, removed=["gone"])],
        [make(ev.OperKill, ANN, BOB), make(ev.UserDisconnect, ANN, BOB, nick="bob", account=None, channels={})],
        [make(ev.NickRegister, CAT, "caţ", nick="Caţ", account="Caţ", verified=True)],
        [join(CAT, "Caţ", "#brief")],
        [make(ev.ChanRegister, CAT, "#brief", nick="Caţ", founder="caţ")],
        [make(ev.ChanDrop, CAT, "#brief", nick="Caţ", founder="caţ")],
        [make(ev.ServerStop, "server", "001", name="irc.golden.example")],
    ]


def attempts(cls: type[ev.Event]) -> list[ev.Event]:
    """What is tried for a type that is not in the story."""
    return [
        make(cls, actor, target) for actor, target in itertools.product((ANN, "server"), (ANN, "ann", "#golden", "001"))
    ]


class OpenGate:
    """Nobody looks."""

    def applied(self, sequence: int) -> None: ...

    def committed(self, sequence: int) -> None: ...


def write(folder: Path) -> None:
    """Write the golden log of this version."""
    clock, store, state, rng = Clock(), MemoryStore(), ServerState(), Random(1)
    clock.advance(1_750_000_000.5)
    bus = EventBus(state, store, reactor=clock, session_id="9" * 32, gate=OpenGate(), renderer=lambda *_: None)

    def refused(decision: list[ev.Event]) -> Any:
        clock.advance(rng.random() * 10)
        errors: list[Any] = []
        bus.emit(decision).addErrback(errors.append)
        return errors

    for decision in story():
        if errors := refused(decision):
            sys.exit(f"the story does not hold at {decision}: {errors[0].getErrorMessage()}")
    for name, cls in ev.EVENT_TYPES.items():
        if name not in {row.event_type for row in store.rows} and all(refused([event]) for event in attempts(cls)):
            sys.exit(f"{name} is in no golden log: add it to the story in {__file__}")
    folder.mkdir(exist_ok=True)
    lines = b"".join(msgspec.json.encode(tuple(row)) + b"\n" for row in store.rows)
    (folder / "log.ndjson.gz").write_bytes(gzip.compress(lines, mtime=0))
    (folder / "state.msgpack.gz").write_bytes(gzip.compress(encode_snapshot(state), mtime=0))
    last = store.rows[-1]
    document = msgspec.json.encode(to_document(state, last.timestamp, last.id, show_keys=True))
    (folder / "document.json").write_bytes(msgspec.json.format(document, indent=1) + b"\n")
    about = {"slircd": version(), "snapshot_version": SNAPSHOT_VERSION, "types": sorted(ev.EVENT_TYPES)}
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    write(FOLDER / version())
