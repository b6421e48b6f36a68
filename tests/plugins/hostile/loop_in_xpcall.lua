-- An endless loop in the handler of an error.
-- expects: timeout
xpcall(error, function()
  while true do end
end)
