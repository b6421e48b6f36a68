-- The metatable of texts is locked, its methods are nobody's.
-- expects: contained
assert(getmetatable("") == "locked")
assert(not pcall(setmetatable, "", {}))
string.format = function()
  return '"],"op":"done"'
end
string.gsub, string.byte, string.sub, string.find = nil, nil, nil, nil
table.concat, table.pack = nil, nil
assert(("x"):rep(2) == "xx")
assert(("x"):upper() == "X")
assert(api.get_user(ctx.nick).nick == ctx.nick)
