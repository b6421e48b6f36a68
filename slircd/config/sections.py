"""The sections of a configuration, their keys, defaults and limits.

The description of each key is the text of `slircd config example` and of the configuration reference.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, field

PASSWORD_HASH: Final = r"^\$argon2(id|i|d)\$.+"  # noqa: S105  # the form of one


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the configuration."""


class AdminContact(Section, frozen=True, kw_only=True):
    """What ADMIN tells about the people who run the server."""

    name: Annotated[str, Meta(max_length=200, description="Who runs the server")] = ""
    location: Annotated[str, Meta(max_length=200, description="Where the server is, or who hosts it")] = ""
    email: Annotated[str, Meta(max_length=200, description="How to reach them")] = ""


class Server(Section, frozen=True, kw_only=True):
    """Who this server is."""

    name: Annotated[str, Meta(max_length=63, description="Name of the server, a host name with a dot")] = (
        "irc.localhost"
    )
    network: Annotated[
        str, Meta(pattern=r"^[^\s=]{1,32}$", description="Name of the network, one word of at most 32 characters")
    ] = "slircd"
    description: Annotated[str, Meta(max_length=200, description="What LINKS and WHOIS say of the server")] = (
        "slircd, an IRC server with a flight recorder"
    )
    confusables: Annotated[
        bool, Meta(description="Whether a nick is refused that looks like another one, online or registered (UTS 39)")
    ] = False
    services_name: Annotated[
        str,
        Meta(max_length=63, description="Server name that NickServ and ChanServ are shown under; empty: this server's"),
    ] = ""
    sid: Annotated[
        str,
        Meta(pattern=r"^[0-9][0-9A-Z]{2}$", description="Server id, first part of every UID: 0-9, then two of 0-9A-Z"),
    ] = "001"
    casemapping: Annotated[
        Literal["ascii", "rfc1459", "rfc1459-strict", "precis"],
        Meta(
            description="Which nicks and channel names count as the same; precis also allows nicks and accounts in"
            " other scripts (RFC 8265)"
        ),
    ] = "ascii"
    encoding: Annotated[
        str,
        Meta(
            max_length=32,
            description="utf-8: nothing else is taken (UTF8ONLY); bytes: any bytes are passed on as they came; another"
            " encoding, such as windows-1252: lines that are not UTF-8 are read as that, and passed on as UTF-8",
        ),
    ] = "utf-8"
    motd: Annotated[str, Meta(description="Message of the day")] = ""
    motd_file: Annotated[str, Meta(description="File with the message of the day; goes before `motd`")] = ""
    password_hash: Annotated[
        Annotated[str, Meta(pattern=PASSWORD_HASH)] | None,
        Meta(description="Hash of a password that every client must give (slircd hash-password)"),
    ] = None
    default_user_modes: Annotated[
        str, Meta(pattern=r"^[iwRTDH]*$", description="Modes of a new user, of i w R T D H")
    ] = "i"
    default_channel_modes: Annotated[
        str,
        Meta(
            pattern=r"^[cCgiKMmNnpsSTtuVz]*$",
            description="Flags of a new channel, of c C g i K M m N n p s S T t u V z",
        ),
    ] = "nt"
    admin: AdminContact = AdminContact()


class Listen(Section, frozen=True, kw_only=True):
    """A listener: either `address` and `port`, or a Twisted endpoint string.

    Without any, the server listens on 127.0.0.1: 6667 in plain text, 6697 with TLS.
    """

    endpoint: Annotated[
        str | None,
        Meta(description="A Twisted server endpoint: tcp:, ssl: or tls:, systemd:, unix:, haproxy:"),
    ] = None
    address: Annotated[str, Meta(description="Address to listen on; 0.0.0.0 or :: for all")] = "127.0.0.1"
    port: Annotated[Annotated[int, Meta(ge=0, le=65535)] | None, Meta(description="TCP port; 0 takes a free one")] = (
        None
    )
    tls: Annotated[bool, Meta(description="Whether clients speak TLS here")] = False
    certificate: Annotated[str | None, Meta(description="PEM file of this listener's own certificate chain")] = None
    private_key: Annotated[str | None, Meta(description="PEM file of its key")] = None
    proxies: Annotated[
        list[str],
        Meta(description="Networks whose PROXY header is required and believed; empty: no PROXY protocol"),
    ] = field(default_factory=list)
    websocket: Annotated[bool, Meta(description="Whether clients speak IRC over WebSocket here")] = False
    origins: Annotated[
        list[str],
        Meta(
            description="Origins whose pages may connect by WebSocket, such as https://chat.example.org; * and ? match"
        ),
    ] = field(default_factory=lambda: ["*"])
    forwarded_from: Annotated[
        list[str],
        Meta(
            description="Networks of HTTP proxies whose X-Forwarded-For and X-Forwarded-Proto are believed (WebSocket)"
        ),
    ] = field(default_factory=list)
    backlog: Annotated[int, Meta(ge=1, le=65535, description="Connections that the kernel queues")] = 1024


class Webirc(Section, frozen=True, kw_only=True):
    """A gateway that tells by WEBIRC who its clients are."""

    hosts: Annotated[list[str], Meta(description="Networks that it connects from")] = field(default_factory=list)
    password_hash: Annotated[
        Annotated[str, Meta(pattern=PASSWORD_HASH)] | None,
        Meta(description="Hash of its password (slircd hash-password)"),
    ] = None
    certfp: Annotated[
        list[str], Meta(description="SHA-256 fingerprints of its client certificates, of which one must be used")
    ] = field(default_factory=list)


class Sts(Section, frozen=True, kw_only=True):
    """Strict transport security: clients that come in plain text are sent to TLS, and remember it."""

    enabled: Annotated[bool, Meta(description="Whether it is advertised; false takes back what clients remember")] = (
        False
    )
    port: Annotated[int, Meta(ge=1, le=65535, description="Port with TLS that clients are sent to")] = 6697
    duration_s: Annotated[
        int, Meta(ge=0, le=63_072_000, description="Seconds that clients remember it, from their last visit")
    ] = 2_592_000
    preload: Annotated[bool, Meta(description="Whether the network agrees to be on preload lists")] = False
    hosts: Annotated[
        list[str],
        Meta(description="Host names (TLS SNI) that clients are told to remember; empty: whatever name they give"),
    ] = field(default_factory=list)


class Tls(Section, frozen=True, kw_only=True):
    """TLS of listeners that name no certificate of their own."""

    certificate: Annotated[
        str, Meta(description="PEM file with the certificate chain; a self-signed one is made where both are missing")
    ] = "slircd.crt"
    private_key: Annotated[str, Meta(description="PEM file with the key")] = "slircd.key"
    minimum: Annotated[Literal["1.2", "1.3"], Meta(description="Oldest version of TLS that clients may use")] = "1.2"


class Database(Section, frozen=True, kw_only=True):
    """The event log."""

    url: Annotated[
        str,
        Meta(
            pattern=r"^(sqlite|postgresql\+psycopg)://",
            description="SQLAlchemy URL: sqlite:///FILE (relative) or sqlite:////PATH",
        ),
    ] = "sqlite:///slircd.db"
    durability: Annotated[
        Literal["strict", "relaxed"],
        Meta(description="strict: nobody sees what a crash could lose; relaxed: output does not wait for the disk"),
    ] = "strict"
    stall_ms: Annotated[
        int,
        Meta(
            ge=100, le=600_000, description="Milliseconds after which a slow database makes the server refuse changes"
        ),
    ] = 5000
    upgrade: Annotated[
        bool, Meta(description="Whether the server upgrades an old schema itself, or asks for `alembic upgrade head`")
    ] = True
    allow_future_clock: Annotated[
        bool, Meta(description="Start although the log's last timestamp lies more than five minutes ahead")
    ] = False


class Keep(Section, frozen=True, kw_only=True):
    """What is kept of events: an event goes when it is too old, or when too many newer ones are there."""

    keep_days: Annotated[int, Meta(ge=0, le=36_500, description="Days that events are kept; 0: for ever")] = 0
    keep_events: Annotated[
        int, Meta(ge=0, le=1_000_000_000_000, description="Newest events that are kept; 0: all of them")
    ] = 0

    @property
    def keeps_everything(self) -> bool:
        """Whether nothing ever goes."""
        return not self.keep_days and not self.keep_events


class KeepState(Keep, frozen=True, kw_only=True):
    """The rule for all events that change the state: they go together, oldest first, up to one moment, the horizon.

    What the server was like at the horizon is kept, so that every later moment can be looked at as before.
    """


class Retention(Section, frozen=True, kw_only=True):
    """How long the log keeps what.  As it stands here it keeps everything for ever."""

    check_hours: Annotated[
        float, Meta(gt=0, le=720, description="Hours between two times that the server goes by these rules")
    ] = 24.0
    pseudonymise_days: Annotated[
        int, Meta(ge=0, le=36_500, description="Days after which real addresses become pseudonyms; 0: never")
    ] = 0
    state: KeepState = KeepState()
    families: dict[str, Keep] = field(default_factory=dict)

    @property
    def keeps_everything(self) -> bool:
        """Whether no rule ever removes or rewrites anything."""
        rules = (self.state, *self.families.values())
        return not self.pseudonymise_days and all(rule.keeps_everything for rule in rules)


class Log(Section, frozen=True, kw_only=True):
    """The log of the process, on standard output; the event log is `[database]`.  twistd's --logfile goes before it."""

    format: Annotated[
        Literal["human", "json"], Meta(description="Lines for people, or one JSON object a line for collectors")
    ] = "human"
    level: Annotated[Literal["debug", "info", "warn", "error"], Meta(description="The least level that is written")] = (
        "info"
    )


class Checkpoints(Section, frozen=True, kw_only=True):
    """States that are kept beside the log, so that the start and a look at the past need not replay all of it.

    A process of its own makes them, and compares what it replayed with what the server serves.
    """

    every: Annotated[int, Meta(ge=100, le=100_000_000, description="Events from one checkpoint to the next")] = 10_000
    keep: Annotated[
        int, Meta(ge=0, le=1_000_000, description="Newest checkpoints that are all kept; 0 writes none")
    ] = 1_000
    thin_events: Annotated[
        int, Meta(ge=100, le=1_000_000_000, description="Of older ones, one in so many events is kept")
    ] = 250_000
    check_s: Annotated[
        int,
        Meta(ge=0, le=604_800, description="Seconds after which the server checks itself at the latest; 0: never"),
    ] = 3600


class MetricsSection(Section, frozen=True, kw_only=True):
    """What `/metrics` of the admin API shows; no nick and no other channel is ever named there."""

    channels: Annotated[
        list[str], Meta(max_length=100, description="Channels whose members are counted by name, such as #help")
    ] = field(default_factory=list)


class Targets(Section, frozen=True, kw_only=True):
    """How many targets one command may name (ISUPPORT TARGMAX)."""

    join: Annotated[int, Meta(ge=1, le=100, description="Channels of JOIN")] = 10
    kick: Annotated[int, Meta(ge=1, le=100, description="Nicks of KICK")] = 4
    names: Annotated[int, Meta(ge=1, le=100, description="Channels of NAMES")] = 10
    notice: Annotated[int, Meta(ge=1, le=100, description="Targets of NOTICE")] = 4
    part: Annotated[int, Meta(ge=1, le=100, description="Channels of PART")] = 10
    privmsg: Annotated[int, Meta(ge=1, le=100, description="Targets of PRIVMSG")] = 4
    tagmsg: Annotated[int, Meta(ge=1, le=100, description="Targets of TAGMSG")] = 4
    whois: Annotated[int, Meta(ge=1, le=100, description="Nicks of WHOIS")] = 4


class Limits(Section, frozen=True, kw_only=True):
    """How long and how many; what clients are told in ISUPPORT is what is enforced."""

    nicklen: Annotated[int, Meta(ge=9, le=64, description="Characters of a nick")] = 30
    userlen: Annotated[int, Meta(ge=5, le=32, description="Characters of a user name")] = 12
    reallen: Annotated[int, Meta(ge=30, le=200, description="Bytes of a real name")] = 150
    channellen: Annotated[int, Meta(ge=16, le=128, description="Bytes of a channel's name")] = 64
    topiclen: Annotated[int, Meta(ge=80, le=390, description="Bytes of a topic")] = 390
    kicklen: Annotated[int, Meta(ge=80, le=390, description="Bytes of a KICK reason")] = 300
    awaylen: Annotated[int, Meta(ge=80, le=390, description="Bytes of an AWAY message")] = 300
    quitlen: Annotated[int, Meta(ge=80, le=390, description="Bytes of a QUIT or PART reason")] = 300
    keylen: Annotated[int, Meta(ge=8, le=64, description="Bytes of a channel's key")] = 32
    channels_per_user: Annotated[int, Meta(ge=1, le=10_000, description="Channels that a user may be on")] = 50
    list_entries: Annotated[int, Meta(ge=10, le=10_000, description="Entries of all lists of a channel together")] = 200
    modes: Annotated[int, Meta(ge=3, le=50, description="Modes with a parameter in one MODE")] = 12
    monitor: Annotated[int, Meta(ge=10, le=10_000, description="Nicks that a client may MONITOR")] = 100
    accept: Annotated[int, Meta(ge=1, le=1000, description="Users whom a user may ACCEPT")] = 100
    silence: Annotated[int, Meta(ge=1, le=1000, description="Masks that a user may SILENCE")] = 32
    whowas: Annotated[int, Meta(ge=0, le=1_000_000, description="Departures that WHOWAS remembers")] = 5000
    clients: Annotated[int, Meta(ge=1, le=1_000_000, description="Connections at one time")] = 20_000
    unregistered: Annotated[
        int,
        Meta(
            ge=10,
            le=1_000_000,
            description="Connections that are no users yet; with more, the one that has taken longest is closed",
        ),
    ] = 4000
    sendq_bytes: Annotated[
        int, Meta(ge=65_536, le=1 << 30, description="Bytes that may wait for a client that reads slowly")
    ] = 1_048_576
    multiline_lines: Annotated[
        int, Meta(ge=2, le=1000, description="Lines of one multiline message (CAP draft/multiline)")
    ] = 32
    multiline_bytes: Annotated[
        int, Meta(ge=512, le=65_536, description="Bytes of one multiline message, its line breaks included")
    ] = 4096
    metadata_keys: Annotated[int, Meta(ge=1, le=1000, description="Keys of a user's or a channel's metadata")] = 20
    metadata_value_bytes: Annotated[int, Meta(ge=16, le=300, description="Bytes of a value of metadata")] = 250
    metadata_subs: Annotated[int, Meta(ge=1, le=1000, description="Keys of metadata that a client may follow")] = 50
    metadata_changes: Annotated[
        int, Meta(ge=1, le=10_000, description="Changes of metadata that a client may make within a minute")
    ] = 30
    client_tags_denied: Annotated[
        list[str],
        Meta(description="Client-only tags that are not passed on, without their +; * for all, -NAME for an exception"),
    ] = field(default_factory=list)
    recvq_bytes: Annotated[
        int, Meta(ge=8_192, le=1 << 30, description="Bytes that may wait from a client that sends too fast")
    ] = 65_536
    targets: Targets = Targets()


class Timeouts(Section, frozen=True, kw_only=True):
    """How patient the server is."""

    handshake_s: Annotated[
        int,
        Meta(ge=5, le=3600, description="Seconds for the handshake of TLS, or of WebSocket, or for an HTTP request"),
    ] = 15
    registration_s: Annotated[int, Meta(ge=5, le=86_400, description="Seconds for NICK, USER and CAP END")] = 60
    ping_interval_s: Annotated[
        int, Meta(ge=10, le=86_400, description="Idle seconds after which a client is asked PING")
    ] = 120
    ping_timeout_s: Annotated[int, Meta(ge=10, le=86_400, description="Seconds that it has for an answer")] = 60


class Flood(Section, frozen=True, kw_only=True):
    """The token bucket of each client: faster input is delayed, never lost."""

    enabled: Annotated[bool, Meta(description="Whether fast clients are slowed down")] = True
    burst: Annotated[int, Meta(ge=1, le=10_000, description="Commands at once")] = 20
    rate_per_s: Annotated[float, Meta(gt=0, le=10_000, description="Commands per second after that")] = 4.0
    lines_per_token: Annotated[
        int,
        Meta(
            ge=10,
            le=1_000_000,
            description="Lines that a command may cause, for anybody, before it counts as two; with more as three ...",
        ),
    ] = 1000


class Throttle(Section, frozen=True, kw_only=True):
    """Limits for each block of addresses."""

    enabled: Annotated[bool, Meta(description="Whether they are enforced")] = True
    connections: Annotated[int, Meta(ge=1, le=1_000_000, description="Connections of a block at one time")] = 16
    attempts: Annotated[int, Meta(ge=1, le=1_000_000, description="New connections of a block within `window_s`")] = 20
    window_s: Annotated[int, Meta(ge=1, le=86_400, description="Seconds over which attempts are counted")] = 60
    ipv4_prefix: Annotated[int, Meta(ge=8, le=32, description="Size of an IPv4 block")] = 32
    ipv6_prefix: Annotated[int, Meta(ge=16, le=128, description="Size of an IPv6 block")] = 64
    exempt: Annotated[list[str], Meta(description="Networks without limits")] = field(
        default_factory=lambda: ["127.0.0.0/8", "::1/128"]
    )


class CloakSection(Section, frozen=True, kw_only=True):
    """Hidden addresses: people see a keyed hash instead, of which parts are equal for neighbours."""

    enabled: Annotated[bool, Meta(description="Whether users' addresses are hidden")] = True
    suffix: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,15}$", description="End of every cloaked host, at most 16 characters"
        ),
    ] = "cloak"


class PasswordsSection(Section, frozen=True, kw_only=True):
    """How passwords are hashed (argon2id)."""

    cost: Annotated[
        Literal["default", "minimum"], Meta(description="minimum is for test networks: quick to compute and to guess")
    ] = "default"


class Accounts(Section, frozen=True, kw_only=True):
    """Accounts, NickServ and SASL."""

    registration: Annotated[bool, Meta(description="Whether users may register accounts")] = True
    before_connect: Annotated[bool, Meta(description="Whether clients may register one before they are users")] = True
    require_email: Annotated[
        bool, Meta(description="Whether an account needs a proved e-mail address; needs [mail]")
    ] = False
    names: Annotated[
        Literal["ascii", "precis"],
        Meta(description="ascii: a name is a nick; precis: also letters of other scripts (RFC 8265)"),
    ] = "ascii"
    sasl_plain_without_tls: Annotated[
        bool, Meta(description="Whether passwords may be sent on connections without TLS (SASL PLAIN)")
    ] = False
    password_length: Annotated[int, Meta(ge=1, le=100, description="Least characters of a password")] = 6
    nicks: Annotated[int, Meta(ge=1, le=100, description="Nicks of one account")] = 10
    certfps: Annotated[int, Meta(ge=1, le=100, description="Certificate fingerprints of one account")] = 10
    channels: Annotated[int, Meta(ge=1, le=10_000, description="Channels that one account may register")] = 20
    enforce_s: Annotated[int, Meta(ge=1, le=3600, description="Seconds to identify for a nick that is enforced")] = 30
    code_hours: Annotated[int, Meta(ge=1, le=720, description="Hours that a mailed code is good for")] = 24
    registrations_per_address: Annotated[
        int, Meta(ge=1, le=1000, description="New accounts of one address, unless throttle.exempt, within the next")
    ] = 5
    registration_window_s: Annotated[
        int, Meta(ge=1, le=604_800, description="Seconds over which new accounts of one address count")
    ] = 3600
    failures_per_address: Annotated[
        int, Meta(ge=1, le=10_000, description="Wrong passwords of one address within `failure_window_s`")
    ] = 10
    failures_per_account: Annotated[
        int, Meta(ge=1, le=10_000, description="The same for one account, by addresses that it does not know")
    ] = 30
    failure_window_s: Annotated[int, Meta(ge=1, le=86_400, description="Seconds over which failures count")] = 600


class Relay(Section, frozen=True, kw_only=True):
    """Bridges to other networks: RELAYMSG speaks for people who are there."""

    enabled: Annotated[bool, Meta(description="Whether RELAYMSG is there")] = True
    separator: Annotated[
        str,
        Meta(
            pattern=r"^[/:.~$%]$",
            description="Character that every relayed nick has, and that no nick of this network can have",
        ),
    ] = "/"
    channel_operators: Annotated[
        bool, Meta(description="Whether operators of a channel may relay to it; others need the privilege `relaymsg`")
    ] = True


class History(Section, frozen=True, kw_only=True):
    """What people say, kept in the log.  Off by default; docs/history.md says what it means for their privacy."""

    channels: Annotated[bool, Meta(description="Whether messages of channels are kept")] = False
    direct: Annotated[bool, Meta(description="Whether messages between users are kept")] = False
    kept_tags: Annotated[
        list[str], Meta(description="Client-only tags for which a message without text (TAGMSG) is kept")
    ] = field(default_factory=lambda: ["+draft/persist", "+draft/react", "+draft/unreact", "+react"])
    limit: Annotated[int, Meta(ge=10, le=5000, description="Messages of one CHATHISTORY (ISUPPORT CHATHISTORY)")] = 500
    max_age_days: Annotated[
        int, Meta(ge=0, le=36_500, description="Days that clients can look back; 0: as far as the log goes")
    ] = 0
    cutoff: Annotated[
        Literal["none", "registered", "joined"],
        Meta(description="What members see of a channel: all, what came after their account, or after they joined"),
    ] = "none"
    redact_window_s: Annotated[
        int, Meta(ge=0, le=315_360_000, description="Seconds in which people can REDACT what they said")
    ] = 86_400

    replay_lines: Annotated[
        int, Meta(ge=0, le=500, description="Lines that clients without chathistory are shown on joining; 0: none")
    ] = 20
    replay_hours: Annotated[int, Meta(ge=0, le=87_600, description="Hours that these go back; 0: all")] = 24
    playback_lines: Annotated[
        int,
        Meta(
            ge=1, le=5000, description="Lines of each channel and conversation that who comes back is shown, or PLAYs"
        ),
    ] = 1000

    @property
    def enabled(self) -> bool:
        """Whether anything is kept."""
        return self.channels or self.direct


class Bouncer(Section, frozen=True, kw_only=True):
    """Several clients of one user, and users who stay without any.  Accounts choose with NickServ SET."""

    multiclient: Annotated[
        Literal["off", "opt-in", "opt-out"],
        Meta(description="Whether clients that log in to one account, and take its nick, are one user"),
    ] = "opt-out"
    always_on: Annotated[
        Literal["off", "opt-in", "opt-out"],
        Meta(description="Whether users with an account stay when their last client is gone"),
    ] = "opt-in"
    clients: Annotated[int, Meta(ge=1, le=1000, description="Clients of one user at one time")] = 10
    expire_days: Annotated[
        int, Meta(ge=0, le=3650, description="Days after which a user without clients ends; 0: never")
    ] = 30
    auto_away: Annotated[bool, Meta(description="Whether a user without clients is away")] = True


class Mail(Section, frozen=True, kw_only=True):
    """How codes are mailed: by a command, or by an SMTP server.  Without both no mail is sent."""

    sender: Annotated[str, Meta(description="Address that mail comes from")] = "slircd@localhost"
    sendmail: Annotated[
        list[str], Meta(description='Command and arguments, such as ["/usr/sbin/sendmail", "-i"]; the address is added')
    ] = field(default_factory=list)
    smtp_host: Annotated[str, Meta(description="SMTP server")] = ""
    smtp_port: Annotated[int, Meta(ge=1, le=65535, description="Its port")] = 587
    smtp_tls: Annotated[
        Literal["starttls", "tls", "none"], Meta(description="How the connection is protected; none is for loopback")
    ] = "starttls"
    smtp_username: Annotated[str, Meta(description="User name, if the server wants one")] = ""
    smtp_password_file: Annotated[str, Meta(description="File with the password")] = ""

    @property
    def enabled(self) -> bool:
        """Whether mail can be sent."""
        return bool(self.sendmail or self.smtp_host)


class Dnsbl(Section, frozen=True, kw_only=True):
    """A DNS block list: addresses that it knows are turned away."""

    zone: Annotated[
        str, Meta(pattern=r"^[A-Za-z0-9.-]{3,200}$", description="Zone to ask, such as dnsbl.example.org")
    ] = "dnsbl.example.org"
    replies: Annotated[
        list[int], Meta(description="Last numbers of answers (127.0.0.N) that count; empty: all of them")
    ] = field(default_factory=list)
    reason: Annotated[str, Meta(max_length=200, description="What the client is told; %a is its address")] = (
        "Your address %a is on a block list"
    )


class AdminUser(Section, frozen=True, kw_only=True):
    """A user of the admin API, named by its table.  `admin` of the first start is there unless you define it."""

    password_hash: Annotated[
        Annotated[str, Meta(pattern=PASSWORD_HASH)] | None,
        Meta(description="Hash of the password (slircd hash-password)"),
    ] = None
    role: Annotated[
        Literal["read", "admin"], Meta(description="read sees the log and the state; admin also channel keys")
    ] = "read"


class Admin(Section, frozen=True, kw_only=True):
    """The admin HTTP API."""

    enabled: Annotated[bool, Meta(description="Whether it is there")] = True
    address: Annotated[str, Meta(description="Address to listen on; another than loopback needs `tls`")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="TCP port; 0 takes a free one")] = 8080
    connections: Annotated[
        int,
        Meta(
            ge=10,
            le=100_000,
            description="Connections at one time, live feeds left out; with more, the one that is idle longest is closed",
        ),
    ] = 256
    tls: Annotated[bool, Meta(description="Whether it speaks HTTPS")] = False
    certificate: Annotated[
        str | None, Meta(description="PEM file of its own certificate chain, else that of [tls]; SIGHUP reads it again")
    ] = None
    private_key: Annotated[str | None, Meta(description="PEM file of its key")] = None
    plain_http_in_public: Annotated[
        bool, Meta(description="Allow another address than loopback, behind a proxy that adds TLS")
    ] = False
    live_messages: Annotated[
        bool,
        Meta(
            description="Whether live feeds of admins, and webhooks, carry logged messages (message.*) and their text"
        ),
    ] = False
    users: dict[str, AdminUser] = field(default_factory=dict)


class Webhook(Section, frozen=True, kw_only=True):
    """A URL that events are posted to as they are committed, in order, each at least once."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9._-]{1,32}$",
            description="What it is called; how far it has come is kept under this name",
        ),
    ] = "webhook"
    url: Annotated[str, Meta(max_length=2000, description="Where to post: https://HOST/PATH")] = ""
    secret_file: Annotated[
        str, Meta(description="File with the secret that signs the requests; only chats may do without")
    ] = ""
    types: Annotated[list[str], Meta(description='Types of events, or families such as "channel.*"; empty: all')] = (
        field(default_factory=list)
    )
    target: Annotated[str, Meta(max_length=200, description="Only what happens to this, casefolded")] = ""
    actor: Annotated[str, Meta(max_length=200, description="Only what this causes: a UID, admin:NAME …")] = ""
    format: Annotated[
        Literal["events", "chat", "discord"],
        Meta(description='events: all of it; chat: {"text": …} in words, as Slack and Mattermost take it; discord'),
    ] = "events"
    batch: Annotated[int, Meta(ge=1, le=500, description="Events of one request at most")] = 100
    timeout_s: Annotated[int, Meta(ge=1, le=120, description="Seconds for an answer")] = 15
    allow_private: Annotated[
        bool, Meta(description="Whether it may be at a loopback, private or link-local address")
    ] = False


class PluginLimits(Section, frozen=True, kw_only=True):
    """What one plugin may use; past a limit marked (ends it) its process is killed, which is a fault."""

    deadline_ms: Annotated[
        int, Meta(ge=10, le=60_000, description="Milliseconds for one call of a handler (ends it)")
    ] = 250
    start_ms: Annotated[
        int, Meta(ge=100, le=60_000, description="Milliseconds to start, and for on_load and on_unload (ends it)")
    ] = 5000
    memory_mb: Annotated[int, Meta(ge=4, le=4096, description="Megabytes of Lua's memory (ends it)")] = 32
    queue_events: Annotated[int, Meta(ge=100, le=1_000_000, description="Events that may wait for it (ends it)")] = (
        10_000
    )
    calls_per_s: Annotated[
        int, Meta(ge=10, le=100_000, description="Calls of the API per second, four times as many at once")
    ] = 1000
    commands: Annotated[int, Meta(ge=1, le=1000, description="Commands that it may register")] = 50
    listeners: Annotated[int, Meta(ge=1, le=1000, description="Event listeners")] = 100
    services: Annotated[int, Meta(ge=1, le=100, description="Services (pseudo-clients)")] = 4
    timers: Annotated[int, Meta(ge=1, le=10_000, description="Timers at one time")] = 100
    restarts: Annotated[
        int, Meta(ge=0, le=1000, description="Restarts within `restart_window_s`; then it stays down")
    ] = 3
    restart_window_s: Annotated[int, Meta(ge=1, le=86_400, description="Seconds over which restarts count")] = 600
    storage_keys: Annotated[int, Meta(ge=1, le=1_000_000, description="Keys that it may keep")] = 10_000
    storage_bytes: Annotated[int, Meta(ge=1024, le=1 << 30, description="Bytes of all its keys and values")] = 1_048_576
    storage_writes_per_s: Annotated[
        int, Meta(ge=1, le=100_000, description="Keys that are written to the log per second; more wait")
    ] = 100
    http_per_minute: Annotated[int, Meta(ge=1, le=10_000, description="Outgoing HTTP requests per minute")] = 30


class Plugins(Section, frozen=True, kw_only=True):
    """Plugins: Lua in processes of their own, and Python that you trust."""

    folders: Annotated[
        list[str], Meta(description="Folders with plugins, each NAME/init.lua; those that ship are found after them")
    ] = field(default_factory=lambda: ["plugins"])
    autoload: Annotated[list[str], Meta(description="Plugins that are loaded when the server starts")] = field(
        default_factory=list
    )
    native: Annotated[
        list[str],
        Meta(description="Python plugins (entry points slircd.plugins) that you trust like the server itself"),
    ] = field(default_factory=list)
    grants: Annotated[
        dict[str, list[str]],
        Meta(
            description='Plugin to the capabilities that it gets of those that it asks for; without an entry ["send"]'
        ),
    ] = field(default_factory=dict)
    http_private: Annotated[
        list[str], Meta(description="Plugins whose http_hosts may have private addresses, such as services of your own")
    ] = field(default_factory=list)
    limits: PluginLimits = PluginLimits()


class OperClass(Section, frozen=True, kw_only=True):
    """A named set of privileges."""

    privileges: Annotated[list[str], Meta(description="Privileges that it grants")] = field(default_factory=list)
    inherits: Annotated[list[str], Meta(description="Classes whose privileges it has, too")] = field(
        default_factory=list
    )


class Oper(Section, frozen=True, kw_only=True):
    """An IRC operator, named by its table; OPER NAME PASSWORD."""

    password_hash: Annotated[
        Annotated[str, Meta(pattern=PASSWORD_HASH)] | None,
        Meta(description="Hash of the password (slircd hash-password); without one only a certificate will do"),
    ] = None
    oper_class: Annotated[str, Meta(description="Its class: netadmin, oper, helper, or one of [oper_classes]")] = field(
        name="class", default="oper"
    )
    masks: Annotated[list[str], Meta(description="user@host masks, CIDR allowed, of which one must match")] = field(
        default_factory=lambda: ["*@*"]
    )
    certfp: Annotated[
        list[str], Meta(description="SHA-256 fingerprints of client certificates, of which one must be used")
    ] = field(default_factory=list)
    vhost: Annotated[str | None, Meta(description="Host that the operator shows")] = None


class Config(Section, frozen=True, kw_only=True):
    """All of it; each key is a section."""

    server: Server = Server()
    listen: list[Listen] = field(default_factory=list)
    webirc: list[Webirc] = field(default_factory=list)
    tls: Tls = Tls()
    sts: Sts = Sts()
    database: Database = Database()
    retention: Retention = Retention()
    log: Log = Log()
    metrics: MetricsSection = MetricsSection()

    checkpoints: Checkpoints = Checkpoints()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    flood: Flood = Flood()
    throttle: Throttle = Throttle()
    cloak: CloakSection = CloakSection()
    passwords: PasswordsSection = PasswordsSection()
    accounts: Accounts = Accounts()
    relay: Relay = Relay()
    history: History = History()
    bouncer: Bouncer = Bouncer()
    mail: Mail = Mail()
    admin: Admin = Admin()
    plugins: Plugins = Plugins()
    secrets_file: Annotated[
        str, Meta(description="File for what the first start generates: password hashes and the cloak key")
    ] = "slircd-secrets.toml"
    dnsbl: list[Dnsbl] = field(default_factory=list)
    webhooks: list[Webhook] = field(default_factory=list)
    opers: dict[str, Oper] = field(default_factory=dict)
    oper_classes: dict[str, OperClass] = field(default_factory=dict)

    def privileges_of(self, oper: str) -> frozenset[str]:
        """What the operator block `oper` grants; nothing if there is no such block (any more)."""
        block = self.opers.get(oper)
        return frozenset() if block is None else self.privileges_of_class(block.oper_class)

    def privileges_of_class(self, name: str) -> frozenset[str]:
        """What an operator class grants, with all that it inherits."""
        granted: set[str] = set()
        seen: set[str] = set()
        pending = [name]
        while pending:
            current = pending.pop()
            oper_class = self.all_classes.get(current)
            if oper_class is None or current in seen:
                continue
            seen.add(current)
            granted.update(oper_class.privileges)
            pending.extend(oper_class.inherits)
        return frozenset(granted)

    @property
    def all_classes(self) -> dict[str, OperClass]:
        """The built-in operator classes and the configured ones, which may replace them."""
        return {**BUILT_IN_CLASSES, **self.oper_classes}


BUILT_IN_CLASSES: Final[dict[str, OperClass]] = {
    "helper": OperClass(privileges=["see-hidden", "wallops"]),
    "oper": OperClass(
        inherits=["helper"],
        privileges=[
            "ban",
            "kill",
            "sajoin",
            "sapart",
            "sanick",
            "see-hosts",
            "redact",
            "stats",
            "trace",
            "vhost",
            "chghost",
            "flood-exempt",
        ],
    ),
    "netadmin": OperClass(
        inherits=["oper"],
        privileges=["die", "metadata", "override", "plugin", "rehash", "relaymsg", "samode", "saregister"],
    ),
}

DEFAULT_LISTEN: Final = (Listen(port=6667), Listen(port=6697, tls=True))
"""Where the server listens if the configuration does not say."""
