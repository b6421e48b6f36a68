-- More timers than there may be.
-- expects: error
for _ = 1, 1000 do
  api.after(1000, print)
end
