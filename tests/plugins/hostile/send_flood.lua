-- Notices without end: only so many calls a second, whoever catches the error.
-- expects: error, timeout
while true do
  api.send_notice(ctx.nick, "flood")
end
