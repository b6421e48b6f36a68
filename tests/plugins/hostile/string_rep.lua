-- Nothing, a quintillion times.
-- expects: timeout fatal
local _ = string.rep("", 1 << 60)
