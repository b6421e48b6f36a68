---@meta slircd

-- What editors complete and check by.  Made by docs/generate.py from the server's code; change that.

---Who runs a command or speaks to a service.
---@class Context
---@field nick string
---@field uid string
---@field account string? # the account that the caller is logged in to
---@field is_oper boolean
---@field channel string? # of a command: the channel that it is about, else the caller's nick
---@field service string? # the service that is spoken to
---@field reply fun(text: string): boolean?, string? # answers with a notice; only until the handler returns

---How a command is registered.
---@class CommandOptions
---@field help string? # what HELP says
---@field min_args integer? # least arguments
---@field oper boolean? # whether only operators may use it

---Something that happened; the fields of its payload stand beside these (docs/events.md).
---@class Event
---@field type string # such as channel.join
---@field id integer? # its id in the log
---@field sequence integer? # its sequence in the log
---@field timestamp string # in the log's form
---@field time number # the same as seconds since 1970
---@field actor string? # who caused it: a UID, or a word such as server
---@field nick string? # the actor's nick
---@field target string? # what it happened to: a casefolded channel, a UID, an account
---@field channel string? # the channel's name as people see it
---@field account string? # of a message: the account of who said it
---@field prefixes string? # of a message: the prefix modes of who said it
---@field text string? # of a message: what was said
---@field msgid string? # of a message: its id
---@field [string] any

---A snapshot of a user.
---@class User
---@field uid string
---@field nick string
---@field username string
---@field host string # as people see it
---@field realname string
---@field account string?
---@field away string? # the message, while away
---@field is_oper boolean
---@field is_bot boolean
---@field is_service boolean
---@field secure boolean # whether it is connected with TLS
---@field connected_at string
---@field channels string[] # names of its channels, hidden ones only with see-hidden
---@field real_host string? # with see-hosts
---@field ip string? # with see-hosts
---@field certfp string? # with see-hosts

---Somebody on a channel.
---@class Member
---@field uid string
---@field nick string
---@field account string?
---@field prefixes string # prefix modes, highest first

---A channel's topic.
---@class Topic
---@field text string
---@field set_by string # nick!user@host
---@field set_at string

---A snapshot of a channel.
---@class Channel
---@field name string
---@field created_at string
---@field topic Topic?
---@field modes string # letters
---@field params table<string, string> # modes with a parameter; a key is masked
---@field members Member[] # the first thousand
---@field member_count integer
---@field founder string? # account, if the channel is registered

---A channel in a list.
---@class ListedChannel
---@field name string
---@field member_count integer
---@field topic string?

---A page of channels.
---@class ChannelList
---@field channels ListedChannel[]
---@field next integer? # `start` of the next page, if there is one

---A registered account.
---@class Account
---@field name string
---@field registered_at string
---@field verified boolean
---@field nicks string[]

---What is asked.
---@class HttpOptions
---@field url string # http:// or https://, of a host that config.toml names
---@field method string? # GET, HEAD, POST, PUT, PATCH or DELETE
---@field headers table<string, string>?
---@field body string?
---@field timeout_s number? # seconds, 10 without it, at most 30

---What was answered.
---@class HttpResponse
---@field status integer
---@field headers table<string, string> # names in lower case
---@field body string

---The door to the server, which on_load gets.
---@class Api
---@field settings table<string, any> # [settings] of config.toml
local Api = {}

---Writes a line to the server's log, with the plugin's name; `print` does the same.
---@param text string # what to write
---@return boolean?
---@return string? refused # why the server does not do it
function Api.log(text) end

---Makes a command for registered users.  Commands of the server, and of other plugins, cannot be replaced.
---
---An argument in front that names a channel which the caller is on becomes `ctx.channel` and leaves `args`; without
---one `ctx.channel` is the caller's only channel, else the caller's nick.
---@param name string # letters and digits; GREET is called with /GREET
---@param handler fun(ctx: Context, args: string[])
---@param options? CommandOptions # help, min_args, oper: text, least arguments, operators only
---@return boolean?
---@return string? refused # why the server does not do it
function Api.register_command(name, handler, options) end

---Makes a service: a pseudo-client that people message as they message NickServ.
---
---What is said to it reaches the handler only; it is not logged, and no other plugin hears it.  `ctx.reply` answers
---as the service.
---@param nick string # nick of the pseudo-client
---@param handler fun(ctx: Context, text: string)
---@return boolean?
---@return string? refused # why the server does not do it
function Api.register_service(nick, handler) end

---Has the handler called with events, in order, once they are in the log.
---
---The fields of the payload and the actor's `nick` are fields of the event; see docs/events.md for what there is.
---What is said on channels (`message.privmsg`, `message.notice`) needs the capability "messages", `oper.*` needs
---"see-hidden", `services.*` needs "accounts", and what happens on secret channels "see-hidden"; without it nothing
---comes.  A plugin never hears of what it did itself.
---@param pattern string # name of an event, "channel.*", or "*"
---@param handler fun(event: Event)
---@return boolean?
---@return string? refused # why the server does not do it
function Api.register_event_listener(pattern, handler) end

---Has the handler called once, after so many seconds; returns a number for `cancel`.
---@param seconds number # 0.1 or more
---@param handler fun()
---@return integer?
---@return string? refused # why the server does not do it
function Api.after(seconds, handler) end

---Has the handler called again and again; returns a number for `cancel`.
---@param seconds number # 0.1 or more
---@param handler fun()
---@return integer?
---@return string? refused # why the server does not do it
function Api.every(seconds, handler) end

---Stops a timer; false if there is none of this number any more.
---@param timer integer # what `after` or `every` has returned
---@return boolean?
---@return string? refused # why the server does not do it
function Api.cancel(timer) end

---A snapshot of the user who has this nick, or nil.
---@param nick string
---@return User?
---@return string? refused # why the server does not do it
function Api.get_user(nick) end

---A snapshot of a channel with its first thousand members, or nil; its key is masked.
---
---Secret and private channels need the capability "see-hidden".
---@param name string
---@return Channel?
---@return string? refused # why the server does not do it
function Api.get_channel(name) end

---A page of the channels: `channels` (name, member_count, topic), and `next` where there are more.
---@param mask? string # with * and ?; without it all
---@param start? integer # `next` of the page before
---@return ChannelList?
---@return string? refused # why the server does not do it
function Api.list_channels(mask, start) end

---The server's clock: seconds since 1970; events have the same as `time`.
---@return number?
---@return string? refused # why the server does not do it
function Api.now() end

---A snapshot of a registered account, or nil.
---
---Needs the capability `accounts`.
---@param name string
---@return Account?
---@return string? refused # why the server does not do it
function Api.get_account(name) end

---Sends a message, as the plugin's pseudo-client or the server (send_as in config.toml).
---
---Needs the capability `send`.
---@param target string # nick or channel
---@param text string # one line
---@param source? string # nick of one of the plugin's own services
---@return boolean?
---@return string? refused # why the server does not do it
function Api.send_privmsg(target, text, source) end

---Sends a notice, which no client answers automatically.
---
---Needs the capability `send`.
---@param target string # nick or channel
---@param text string # one line
---@param source? string # nick of one of the plugin's own services
---@return boolean?
---@return string? refused # why the server does not do it
function Api.send_notice(target, text, source) end

---The same as send_privmsg.
---
---Needs the capability `send`.
---@param target string # nick or channel
---@param text string # one line
---@param source? string # nick of one of the plugin's own services
---@return boolean?
---@return string? refused # why the server does not do it
function Api.send_message(target, text, source) end

---Removes a member from a channel.  Services cannot be kicked.
---
---Needs the capability `kick`.
---@param channel string
---@param nick string
---@param reason? string
---@return boolean?
---@return string? refused # why the server does not do it
function Api.kick_user(channel, nick, reason) end

---Sets a channel's topic.
---
---Needs the capability `topics`.
---@param channel string
---@param topic string # empty removes it
---@return boolean?
---@return string? refused # why the server does not do it
function Api.set_topic(channel, topic) end

---Changes modes of a channel, and members' prefixes; masks are for add_ban.
---
---Needs the capability `modes`.
---@param channel string
---@param modes string # as in MODE: "+o-m ann"
---@return boolean?
---@return string? refused # why the server does not do it
function Api.set_modes(channel, modes) end

---Puts a mask on one of a channel's lists.
---
---Needs the capability `bans`.
---@param channel string
---@param mask string # a mask or an extended ban; ~t:MINUTES:MASK ends by itself, ~m:MASK quiets
---@param mode? string # "b" (the default), "e" or "I"
---@return boolean?
---@return string? refused # why the server does not do it
function Api.add_ban(channel, mask, mode) end

---Takes a mask off one of a channel's lists.
---
---Needs the capability `bans`.
---@param channel string
---@param mask string
---@param mode? string # "b" (the default), "e" or "I"
---@return boolean?
---@return string? refused # why the server does not do it
function Api.remove_ban(channel, mask, mode) end

---The value that the plugin keeps under a key, or nil.
---
---Needs the capability `storage`.
---@param key string
---@return any?
---@return string? refused # why the server does not do it
function Api.storage_get(key) end

---Keeps a value, in the log: it outlives the plugin and the server.
---
---Changes are written about every half second, several to one key once; a crash can lose those.
---
---Needs the capability `storage`.
---@param key string # at most 128 bytes
---@param value any # text, number, boolean or table, at most 4096 bytes as JSON
---@return boolean?
---@return string? refused # why the server does not do it
function Api.storage_set(key, value) end

---Forgets a key; false if there is none.
---
---Needs the capability `storage`.
---@param key string
---@return boolean?
---@return string? refused # why the server does not do it
function Api.storage_delete(key) end

---The keys that the plugin keeps, sorted; at most a thousand.
---
---Needs the capability `storage`.
---@param prefix? string # what they begin with
---@return string[]?
---@return string? refused # why the server does not do it
function Api.storage_keys(prefix) end

---Asks one of the hosts that config.toml names (http_hosts) over HTTP; the handler gets the answer later.
---
---Only public addresses, no redirects, no cookies, at most 64 KiB of answer and 30 seconds; a few at one time, and
---`plugins.limits.http_per_minute`.  A status of any kind is an answer; without one the handler gets nil and why.
---
---Needs the capability `http`.
---@param options HttpOptions # url, and optionally method, headers, body, timeout_s
---@param handler fun(response: HttpResponse?, problem: string?)
---@return boolean?
---@return string? refused # why the server does not do it
function Api.http_request(options, handler) end

---What init.lua returns.
---@class Plugin
---@field name? string
---@field version? string
---@field on_load fun(api: Api)
---@field on_unload? fun()

-- What test.lua sees, beside what plugins see.

---One test: it begins with a server of its own, on which the plugin is loaded.
---@param name string
---@param run fun()
function test(name, run) end

---@class TestServer
server = {}

---Settings of config.toml for this test; to be called first.
---@param settings table
function server.settings(settings) end

---What an HTTP request of the plugin to this URL gets.
---@param url string
---@param status integer
---@param body? string
function server.answer(url, status, body) end

---Connects a client, logged in to an account where one is named.
---@param nick string
---@param account? string
function server.connect(nick, account) end

---Sends a line as this client.
---@param nick string
---@param line string
function server.send(nick, line) end

---The lines that this client got since they were last looked at.
---@param nick string
---@return string[]
function server.lines(nick) end

---An error unless one of the client's lines holds this text; it and those before it are done with.
---@param nick string
---@param text string
function server.expects(nick, text) end

---Lets time pass.
---@param seconds number
function server.advance(seconds) end
