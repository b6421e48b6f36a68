-- The functions that the prelude relies on are not those that a plugin can change.
-- expects: contained
type = function()
  return "string"
end
tostring = function()
  return "x"
end
error = function() end
assert(not pcall(api.send_notice, {}, 1))
assert(api.get_user(ctx.nick).nick == ctx.nick)
