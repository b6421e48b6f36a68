-- The same, and it does not give up.
-- expects: timeout
while true do
  pcall(api.send_notice, ctx.nick, "flood")
end
