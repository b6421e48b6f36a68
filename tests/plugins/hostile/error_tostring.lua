-- An error whose __tostring never ends: nobody calls it.
-- expects: error
error(setmetatable({}, {
  __tostring = function()
    while true do end
  end,
  __name = ("x"):rep(1000000),
}))
