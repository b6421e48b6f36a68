-- A table that grows until there is no more, and catches that.
-- expects: memory, timeout fatal
local kept = {}
while pcall(function()
  for _ = 1, 1000 do
    kept[#kept + 1] = { tostring(#kept):rep(10) }
  end
end) do end
