"""The whole server as a Hypothesis state machine: commands, commits, trouble, restarts and crashes in any order.

What must hold at every step: the state replayed from the store and from what is on its way into it equals the live
state, and every line that a client has received stands in the committed log.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from slircd.events.codec import decode_event
from slircd.events.row import Row
from slircd.state.apply import Stamp, apply
from slircd.state.model import ServerState
from slircd.state.snapshot import digest
from tests.facts import facts_of, facts_of_line
from tests.harness import FakeClient, World, make_config, replay

NICKS = st.sampled_from(["ann", "bob", "eve", "Bob"])
CHANNELS = st.sampled_from(["#a", "#b"])
MASKS = st.sampled_from(["bob!*@*", "*!*@*", "~m:eve", "~t:1:ann"])
TEXTS = st.sampled_from(["one", "two words", ""])
LETTERS = st.sampled_from(["+i", "-i", "+m", "-nt", "+k key", "-k key", "+l 2", "-l", "+P", "-P", "+s", "+f 2:5"])


def add(state: ServerState, row: Row) -> None:
    event = decode_event(row.event_type, row.actor_uid, row.target, row.payload)
    apply(state, event, Stamp(row.id, row.sequence, row.timestamp, row.session_id))


class Network(RuleBasedStateMachine):
    """Users come and go and do things; the log commits, fails, and loses its uncommitted end."""

    clients = Bundle("clients")

    @initialize(strict=st.just(True))
    def start(self, strict: bool) -> None:
        history = {"channels": True, "direct": True}
        self.world = World(config=make_config({"database": {"stall_ms": 600_000}, "history": history}))
        self.world.store.automatic = False
        self.failing = False
        self.serial = 0

    # --- who is there -------------------------------------------------------------------------------------------------

    @rule(
        target=clients, nick=NICKS, caps=st.sampled_from(["", "away-notify extended-join chghost setname server-time"])
    )
    def connects(self, nick: str, caps: str) -> FakeClient:
        client = self.world.connect()
        if caps:
            client.sends(f"CAP REQ :{caps}")
        self.serial += 1
        client.sends(f"NICK {nick}", "USER u 0 * :Real", "CAP END", f"NICK {nick}{self.serial}")
        return client

    @rule(client=consumes(clients))
    def disconnects(self, client: FakeClient) -> None:
        client.disconnects()

    # --- what they do -------------------------------------------------------------------------------------------------

    @rule(client=clients, channel=CHANNELS, key=st.sampled_from(["", "key"]))
    def joins(self, client: FakeClient, channel: str, key: str) -> None:
        client.sends(f"JOIN {channel} {key}")

    @rule(client=clients, channel=CHANNELS)
    def parts(self, client: FakeClient, channel: str) -> None:
        client.sends(f"PART {channel} :bye")

    @rule(client=clients, channel=CHANNELS, text=TEXTS)
    def sets_topic(self, client: FakeClient, channel: str, text: str) -> None:
        client.sends(f"TOPIC {channel} :{text}")

    @rule(
        client=clients,
        other=clients,
        channel=CHANNELS,
        verb=st.sampled_from(["KICK", "INVITE", "+o", "-o", "+v", "+h"]),
    )
    def does_to_another(self, client: FakeClient, other: FakeClient, channel: str, verb: str) -> None:
        user = self.world.state.users.get(other.uid)
        nick = user.nick if user is not None else "nobody"
        line = {"KICK": f"KICK {channel} {nick} :out", "INVITE": f"INVITE {nick} {channel}"}
        client.sends(line.get(verb, f"MODE {channel} {verb} {nick}"))

    @rule(client=clients, channel=CHANNELS, letters=LETTERS)
    def sets_modes(self, client: FakeClient, channel: str, letters: str) -> None:
        client.sends(f"MODE {channel} {letters}")

    @rule(client=clients, channel=CHANNELS, sign=st.sampled_from("+-"), mode=st.sampled_from("beI"), mask=MASKS)
    def sets_masks(self, client: FakeClient, channel: str, sign: str, mode: str, mask: str) -> None:
        client.sends(f"MODE {channel} {sign}{mode} {mask}")

    @rule(client=clients, nick=NICKS)
    def changes_nick(self, client: FakeClient, nick: str) -> None:
        client.sends(f"NICK {nick}")

    @rule(client=clients, text=TEXTS)
    def says_of_itself(self, client: FakeClient, text: str) -> None:
        client.sends(f"AWAY :{text}", f"SETNAME :{text}", "MODE self +w")

    @rule(client=clients, other=clients, channel=CHANNELS)
    def is_operator(self, client: FakeClient, other: FakeClient, channel: str) -> None:
        user = self.world.state.users.get(other.uid)
        client.sends("OPER root sesame", f"SAJOIN {channel}", f"SAMODE {channel} +o-m {user.nick if user else 'x'}")

    @rule(client=clients, other=clients)
    def kills(self, client: FakeClient, other: FakeClient) -> None:
        user = self.world.state.users.get(other.uid)
        client.sends(f"KILL {user.nick if user else 'x'} :spam")

    @rule(client=clients, channel=CHANNELS, text=TEXTS)
    def talks(self, client: FakeClient, channel: str, text: str) -> None:
        client.sends(f"PRIVMSG {channel} :{text}", f"WHO {channel}", f"NAMES {channel}", "PING x")

    @rule(client=clients, other=clients, text=st.sampled_from(["hello", "two words"]))
    def talks_to_another(self, client: FakeClient, other: FakeClient, text: str) -> None:
        user = self.world.state.users.get(other.uid)
        client.sends(f"PRIVMSG {user.nick if user else 'x'} :{text}", "CHATHISTORY LATEST #a * 10")

    @rule(client=clients, word=st.sampled_from(["ON", "OFF"]))
    def stays(self, client: FakeClient, word: str) -> None:
        client.sends("NS REGISTER password", f"NS SET ALWAYS-ON {word}")

    # --- what the world does ------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 30, 61]))
    def time_passes(self, seconds: int) -> None:
        self.world.clock.advance(seconds)

    @rule()
    def commits(self) -> None:
        self.world.store.commit()
        self.world.turn()

    @rule()
    def store_fails_or_returns(self) -> None:
        if self.failing:
            self.world.store.recover()
        else:
            self.world.store.fail("disk full")
        self.failing = not self.failing
        self.world.turn()

    @rule()
    def checkpoints(self) -> None:
        """The committed log's state is kept beside it; the next start begins there."""
        store = self.world.store
        if store.rows:
            store.save(replay(store), store.head())

    @rule(crash=st.booleans())
    def restarts(self, crash: bool) -> None:
        if self.failing:
            self.world.store.recover()
            self.failing = False
        self.check_received()
        old = self.world
        self.world = old.restart(crash=crash)
        self.world.store.commit()
        old.clients.clear()

    # --- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def live_is_replayed(self) -> None:
        state = replay(self.world.store)
        for row in self.world.store._pending:
            add(state, row)
        assert digest(state) == digest(self.world.state) == self.world.live_digest.value()

    @invariant()
    def services_are_in_step(self) -> None:
        state, server = self.world.state, self.world.server
        assert set(server.channels.namedServices) == set(state.channels)
        for key, channel in state.channels.items():
            sessions = {session.uid for session in server.channels.get(key).sessions}
            assert sessions == {uid for uid in channel.members if state.users[uid].clients}

    @invariant()
    def check_received(self) -> None:
        """Each line that shows a change has its event among the committed ones."""
        facts = {fact for row in self.world.store.rows for fact in facts_of(row)}
        for client in self.world.clients:
            for line in client.lines():
                assert set(facts_of_line(line)) <= facts, line


Network.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestNetwork = Network.TestCase
