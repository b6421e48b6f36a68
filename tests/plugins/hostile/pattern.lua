-- A pattern that takes longer than the universe: in C, where no hook runs.
-- expects: timeout fatal
local _ = ("a"):rep(200):find((".-"):rep(8) .. "b")
