-- An endless loop in a coroutine, which has a hook of its own.
-- expects: timeout
local function spin()
  while true do end
end
while true do
  coroutine.resume(coroutine.create(spin))
  pcall(coroutine.wrap(spin))
end
