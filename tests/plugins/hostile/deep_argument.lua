-- A table of a thousand levels.
-- expects: error
local deep = {}
for _ = 1, 1000 do
  deep = { deep }
end
api.register_command("DEEP", print, deep)
