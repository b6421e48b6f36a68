-- What is not granted.
-- expects: error
api.kick_user("#c", ctx.nick, "x")
