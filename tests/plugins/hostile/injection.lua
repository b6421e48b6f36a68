-- CR, LF and NUL in whatever is sent.
-- expects: error
assert(not pcall(api.send_privmsg, ctx.nick, "x\0y"))
assert(not pcall(api.send_privmsg, ctx.nick .. "\r\nQUIT", "x"))
api.send_notice(ctx.nick, "x\r\n:irc.test KILL " .. ctx.nick)
