-- Coroutines, each with a stack of its own.
-- expects: memory, timeout fatal
local kept = {}
while true do
  local thread = coroutine.create(function()
    coroutine.yield()
  end)
  coroutine.resume(thread)
  kept[#kept + 1] = thread
end
