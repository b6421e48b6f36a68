-- Recursion without end through C.
-- expects: error
local function f()
  return (("x"):gsub(".", f))
end
f()
