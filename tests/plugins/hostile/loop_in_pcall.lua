-- An endless loop that catches whatever would end it.
-- expects: timeout
while true do
  pcall(function()
    while true do end
  end)
end
