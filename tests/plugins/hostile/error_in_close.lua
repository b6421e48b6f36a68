-- An error while a variable is closed for another error.
-- expects: error
local _ <close> = setmetatable({}, {
  __close = function()
    error(coroutine.running())
  end,
})
error("first")
