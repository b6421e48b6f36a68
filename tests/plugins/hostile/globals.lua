-- The environment is the plugin's own to break.
-- expects: contained
local globals, set = _G, rawset
setmetatable(globals, {
  __index = function(_, name)
    return name
  end,
  __newindex = function() end,
})
for name in pairs(globals) do
  set(globals, name, nil)
end
