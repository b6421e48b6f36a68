-- A gigabyte at once.
-- expects: memory fatal
local _ = ("x"):rep(1000000000)
