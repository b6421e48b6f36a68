-- A table that says it is long and has something everywhere.
-- expects: timeout, memory
table.concat(setmetatable({}, {
  __len = function()
    return 1 << 40
  end,
  __index = function()
    return ""
  end,
}), "", 1, 1 << 40)
