"""Numerics: every reply code that this server knows, and the errors that a rule raises with one.

Texts are those of modern.ircdocs.horse, where it has one; an empty text means that the caller words it, or that the
numeric has no trailing text.  Codes outside that document are those that today's servers agree on (defs.ircdocs.horse).
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Numeric(NamedTuple):
    """A three-digit code and its usual trailing text."""

    code: str
    text: str = ""


RPL_WELCOME: Final = Numeric("001")
RPL_YOURHOST: Final = Numeric("002")
RPL_CREATED: Final = Numeric("003")
RPL_MYINFO: Final = Numeric("004")
RPL_ISUPPORT: Final = Numeric("005", "are supported by this server")
RPL_MAP: Final = Numeric("015")
RPL_MAPEND: Final = Numeric("017", "End of MAP")
RPL_TRACELINK: Final = Numeric("200")
RPL_TRACEUNKNOWN: Final = Numeric("203")
RPL_TRACEOPERATOR: Final = Numeric("204")
RPL_TRACEUSER: Final = Numeric("205")
RPL_STATSLINKINFO: Final = Numeric("211")
RPL_STATSCOMMANDS: Final = Numeric("212")
RPL_STATSKLINE: Final = Numeric("216")
RPL_ENDOFSTATS: Final = Numeric("219", "End of /STATS report")
RPL_UMODEIS: Final = Numeric("221")
RPL_STATSUPTIME: Final = Numeric("242")
RPL_STATSOLINE: Final = Numeric("243")
RPL_STATSPLINE: Final = Numeric("220")
RPL_STATSDEBUG: Final = Numeric("249")
RPL_STATSCONN: Final = Numeric("250")
RPL_LUSERCLIENT: Final = Numeric("251")
RPL_LUSEROP: Final = Numeric("252", "operator(s) online")
RPL_LUSERUNKNOWN: Final = Numeric("253", "unknown connection(s)")
RPL_LUSERCHANNELS: Final = Numeric("254", "channels formed")
RPL_LUSERME: Final = Numeric("255")
RPL_ADMINME: Final = Numeric("256", "Administrative info")
RPL_ADMINLOC1: Final = Numeric("257")
RPL_ADMINLOC2: Final = Numeric("258")
RPL_ADMINEMAIL: Final = Numeric("259")
RPL_TRACEEND: Final = Numeric("262", "End of TRACE")
RPL_TRYAGAIN: Final = Numeric("263", "Please wait a while and try again.")
RPL_LOCALUSERS: Final = Numeric("265")
RPL_GLOBALUSERS: Final = Numeric("266")
RPL_SILELIST: Final = Numeric("271")
RPL_ENDOFSILELIST: Final = Numeric("272", "End of silence list")
RPL_ACCEPTLIST: Final = Numeric("281")
RPL_ENDOFACCEPT: Final = Numeric("282", "End of /ACCEPT list")
RPL_WHOISCERTFP: Final = Numeric("276")
RPL_AWAY: Final = Numeric("301")
RPL_USERHOST: Final = Numeric("302")
RPL_ISON: Final = Numeric("303")
RPL_UNAWAY: Final = Numeric("305", "You are no longer marked as being away")
RPL_NOWAWAY: Final = Numeric("306", "You have been marked as being away")
RPL_WHOISREGNICK: Final = Numeric("307", "has identified for this nick")
RPL_WHOISUSER: Final = Numeric("311")
RPL_WHOISSERVER: Final = Numeric("312")
RPL_WHOISOPERATOR: Final = Numeric("313", "is an IRC operator")
RPL_WHOWASUSER: Final = Numeric("314")
RPL_ENDOFWHO: Final = Numeric("315", "End of WHO list")
RPL_WHOISIDLE: Final = Numeric("317", "seconds idle, signon time")
RPL_ENDOFWHOIS: Final = Numeric("318", "End of /WHOIS list")
RPL_WHOISCHANNELS: Final = Numeric("319")
RPL_WHOISSPECIAL: Final = Numeric("320")
RPL_LISTSTART: Final = Numeric("321", "Users  Name")
RPL_LIST: Final = Numeric("322")
RPL_LISTEND: Final = Numeric("323", "End of /LIST")
RPL_CHANNELMODEIS: Final = Numeric("324")
RPL_CREATIONTIME: Final = Numeric("329")
RPL_WHOISACCOUNT: Final = Numeric("330", "is logged in as")
RPL_NOTOPIC: Final = Numeric("331", "No topic is set")
RPL_TOPIC: Final = Numeric("332")
RPL_TOPICWHOTIME: Final = Numeric("333")
RPL_WHOISBOT: Final = Numeric("335", "is a bot")
RPL_INVITELIST: Final = Numeric("336")
RPL_ENDOFINVITELIST: Final = Numeric("337", "End of /INVITE list")
RPL_WHOISACTUALLY: Final = Numeric("338", "Is actually using host")
RPL_INVITING: Final = Numeric("341")
RPL_INVEXLIST: Final = Numeric("346")
RPL_ENDOFINVEXLIST: Final = Numeric("347", "End of channel invite exception list")
RPL_EXCEPTLIST: Final = Numeric("348")
RPL_ENDOFEXCEPTLIST: Final = Numeric("349", "End of channel exception list")
RPL_VERSION: Final = Numeric("351")
RPL_WHOREPLY: Final = Numeric("352")
RPL_NAMREPLY: Final = Numeric("353")
RPL_WHOSPCRPL: Final = Numeric("354")
RPL_LINKS: Final = Numeric("364")
RPL_ENDOFLINKS: Final = Numeric("365", "End of /LINKS list")
RPL_ENDOFNAMES: Final = Numeric("366", "End of /NAMES list")
RPL_BANLIST: Final = Numeric("367")
RPL_ENDOFBANLIST: Final = Numeric("368", "End of channel ban list")
RPL_ENDOFWHOWAS: Final = Numeric("369", "End of WHOWAS")
RPL_INFO: Final = Numeric("371")
RPL_MOTD: Final = Numeric("372")
RPL_ENDOFINFO: Final = Numeric("374", "End of INFO list")
RPL_MOTDSTART: Final = Numeric("375")
RPL_ENDOFMOTD: Final = Numeric("376", "End of /MOTD command.")
RPL_WHOISHOST: Final = Numeric("378")
RPL_WHOISMODES: Final = Numeric("379")
RPL_YOUREOPER: Final = Numeric("381", "You are now an IRC operator")
RPL_REHASHING: Final = Numeric("382", "Rehashing")
RPL_TIME: Final = Numeric("391")
RPL_VISIBLEHOST: Final = Numeric("396", "is now your displayed host")

ERR_UNKNOWNERROR: Final = Numeric("400")
ERR_NOSUCHNICK: Final = Numeric("401", "No such nick/channel")
ERR_NOSUCHSERVER: Final = Numeric("402", "No such server")
ERR_NOSUCHCHANNEL: Final = Numeric("403", "No such channel")
ERR_CANNOTSENDTOCHAN: Final = Numeric("404", "Cannot send to channel")
ERR_TOOMANYCHANNELS: Final = Numeric("405", "You have joined too many channels")
ERR_WASNOSUCHNICK: Final = Numeric("406", "There was no such nickname")
ERR_TOOMANYTARGETS: Final = Numeric("407", "Too many targets")
ERR_NOORIGIN: Final = Numeric("409", "No origin specified")
ERR_INVALIDCAPCMD: Final = Numeric("410", "Invalid CAP command")
ERR_NORECIPIENT: Final = Numeric("411", "No recipient given")
ERR_NOTEXTTOSEND: Final = Numeric("412", "No text to send")
ERR_INPUTTOOLONG: Final = Numeric("417", "Input line was too long")
ERR_UNKNOWNCOMMAND: Final = Numeric("421", "Unknown command")
ERR_NOMOTD: Final = Numeric("422", "MOTD File is missing")
ERR_NONICKNAMEGIVEN: Final = Numeric("431", "No nickname given")
ERR_ERRONEUSNICKNAME: Final = Numeric("432", "Erroneous nickname")
ERR_NICKNAMEINUSE: Final = Numeric("433", "Nickname is already in use")
ERR_UNAVAILRESOURCE: Final = Numeric("437", "Nick/channel is temporarily unavailable")
ERR_BANNICKCHANGE: Final = Numeric("437", "Cannot change nickname while banned on channel")
ERR_USERNOTINCHANNEL: Final = Numeric("441", "They aren't on that channel")
ERR_NOTONCHANNEL: Final = Numeric("442", "You're not on that channel")
ERR_USERONCHANNEL: Final = Numeric("443", "is already on channel")
ERR_NONICKCHANGE: Final = Numeric("447")
ERR_NOTREGISTERED: Final = Numeric("451", "You have not registered")
ERR_ACCEPTFULL: Final = Numeric("456", "Accept list is full")
ERR_ACCEPTEXIST: Final = Numeric("457", "is already on your accept list")
ERR_ACCEPTNOT: Final = Numeric("458", "is not on your accept list")
ERR_NEEDMOREPARAMS: Final = Numeric("461", "Not enough parameters")
ERR_ALREADYREGISTERED: Final = Numeric("462", "You may not reregister")
ERR_PASSWDMISMATCH: Final = Numeric("464", "Password incorrect")
ERR_YOUREBANNEDCREEP: Final = Numeric("465", "You are banned from this server.")
ERR_KEYSET: Final = Numeric("467", "Channel key already set")
ERR_LINKCHANNEL: Final = Numeric("470", "Forwarding to another channel")
ERR_CHANNELISFULL: Final = Numeric("471", "Cannot join channel (+l)")
ERR_UNKNOWNMODE: Final = Numeric("472", "is unknown mode char to me")
ERR_INVITEONLYCHAN: Final = Numeric("473", "Cannot join channel (+i)")
ERR_BANNEDFROMCHAN: Final = Numeric("474", "Cannot join channel (+b)")
ERR_BADCHANNELKEY: Final = Numeric("475", "Cannot join channel (+k)")
ERR_BADCHANMASK: Final = Numeric("476", "Bad Channel Mask")
ERR_NEEDREGGEDNICK: Final = Numeric("477", "Cannot join channel (+R)")
ERR_BANLISTFULL: Final = Numeric("478", "Channel list is full")
ERR_THROTTLE: Final = Numeric("480", "Cannot join channel (+j)")
ERR_CANNOTKNOCK: Final = Numeric("480")
ERR_NOPRIVILEGES: Final = Numeric("481", "Permission Denied- You're not an IRC operator")
ERR_CHANOPRIVSNEEDED: Final = Numeric("482", "You're not channel operator")
ERR_SECUREONLYCHAN: Final = Numeric("489", "Cannot join channel (+z)")
ERR_CANTKILLSERVER: Final = Numeric("483", "You cant kill a server!")
ERR_NOOPERHOST: Final = Numeric("491", "No O-lines for your host")
ERR_UMODEUNKNOWNFLAG: Final = Numeric("501", "Unknown MODE flag")
ERR_USERSDONTMATCH: Final = Numeric("502", "Cant change mode for other users")
ERR_SILELISTFULL: Final = Numeric("511", "Your silence list is full")
ERR_OPERONLY: Final = Numeric("520", "Cannot join channel (+O)")
ERR_HELPNOTFOUND: Final = Numeric("524", "No help available on this topic")
ERR_INVALIDKEY: Final = Numeric("525", "Key is not well-formed")
ERR_CANNOTSENDRP: Final = Numeric("573")
ERR_CANTSENDTOUSER: Final = Numeric("531")

RPL_WHOISSECURE: Final = Numeric("671", "is using a secure connection")
ERR_INVALIDMODEPARAM: Final = Numeric("696")
RPL_HELPSTART: Final = Numeric("704")
RPL_HELPTXT: Final = Numeric("705")
RPL_ENDOFHELP: Final = Numeric("706")
RPL_KNOCK: Final = Numeric("710", "has asked for an invite.")
RPL_KNOCKDLVR: Final = Numeric("711", "Your KNOCK has been delivered.")
ERR_TOOMANYKNOCK: Final = Numeric("712", "Too many KNOCKs.")
ERR_CHANOPEN: Final = Numeric("713", "Channel is open.")
ERR_KNOCKONCHAN: Final = Numeric("714", "You are already on that channel.")
ERR_TARGUMODEG: Final = Numeric("716", "is in +g mode (server-side ignore)")
RPL_TARGNOTIFY: Final = Numeric("717", "has been informed that you messaged them")
RPL_UMODEGMSG: Final = Numeric("718")
ERR_NOPRIVS: Final = Numeric("723", "Insufficient oper privileges.")
RPL_QUIETLIST: Final = Numeric("728")
RPL_ENDOFQUIETLIST: Final = Numeric("729", "End of channel quiet list")
RPL_MONONLINE: Final = Numeric("730")
RPL_MONOFFLINE: Final = Numeric("731")
RPL_MONLIST: Final = Numeric("732")
RPL_ENDOFMONLIST: Final = Numeric("733", "End of MONITOR list")
ERR_MONLISTFULL: Final = Numeric("734", "Monitor list is full.")
ERR_MLOCKRESTRICTED: Final = Numeric("742", "This mode is locked (ChanServ SET MLOCK)")

RPL_WHOISKEYVALUE: Final = Numeric("760")
RPL_KEYVALUE: Final = Numeric("761")
RPL_KEYNOTSET: Final = Numeric("766", "Key not set")
RPL_METADATASUBOK: Final = Numeric("770")
RPL_METADATAUNSUBOK: Final = Numeric("771")
RPL_METADATASUBS: Final = Numeric("772")
RPL_METADATASYNCLATER: Final = Numeric("774", "Synchronise later")

RPL_LOGGEDIN: Final = Numeric("900")
RPL_LOGGEDOUT: Final = Numeric("901", "You are now logged out")
ERR_NICKLOCKED: Final = Numeric("902", "You must use a nick assigned to you")
RPL_SASLSUCCESS: Final = Numeric("903", "SASL authentication successful")
ERR_SASLFAIL: Final = Numeric("904", "SASL authentication failed")
ERR_SASLTOOLONG: Final = Numeric("905", "SASL message too long")
ERR_SASLABORTED: Final = Numeric("906", "SASL authentication aborted")
ERR_SASLALREADY: Final = Numeric("907", "You have already authenticated using SASL")
RPL_SASLMECHS: Final = Numeric("908", "are available SASL mechanisms")

NUMERICS: Final[dict[str, Numeric]] = {
    name: value for name, value in list(globals().items()) if isinstance(value, Numeric)
}
"""Every numeric by its name."""


class NumericError(Exception):
    """A command is refused with a numeric: `params` follow the client's nick, then the text."""

    def __init__(self, numeric: Numeric, *params: str, text: str | None = None) -> None:
        """`text` replaces the numeric's own."""
        super().__init__(numeric.code, *params)
        self.numeric = numeric
        self.params = params
        self.text = numeric.text if text is None else text


class StandardReply(Exception):
    """A command is refused or answered with FAIL, WARN or NOTE (IRCv3 standard-replies).

    `command` None stands for the command that is being run.
    """

    def __init__(
        self, kind: str, code: str, *context: str, text: str, command: str | None = None, always: bool = False
    ) -> None:
        """`always`: also to clients that have not negotiated standard-replies, where a specification demands it."""
        super().__init__(kind, code, *context)
        self.always = always
        self.kind = kind
        self.code = code
        self.context = context
        self.text = text
        self.command = command
