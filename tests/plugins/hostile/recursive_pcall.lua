-- Recursion through pcall: every level catches the error of the one below.
-- expects: timeout, memory
local function f()
  pcall(f)
  pcall(f)
end
while true do
  f()
end
