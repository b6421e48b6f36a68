-- An endless loop.
-- expects: timeout
while true do end
