-- Lines without end into the server's log.
-- expects: timeout
while true do
  print(("flood "):rep(1000))
end
