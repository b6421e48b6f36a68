-- A comparison that contradicts itself, over and over.
-- expects: timeout, error
local values = {}
for index = 1, 20000 do
  values[index] = index
end
while true do
  pcall(table.sort, values, function()
    return true
  end)
end
