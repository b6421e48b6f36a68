-- A text that doubles.
-- expects: memory, timeout fatal
local text = "x"
while true do
  text = text .. text
end
