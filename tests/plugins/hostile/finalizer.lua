-- A finalizer would run when nobody counts.
-- expects: error
setmetatable({}, {
  __gc = function()
    while true do end
  end,
})
