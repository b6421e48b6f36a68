-- Attribute walks from everything that is handed in lead nowhere.
-- expects: contained
local names = {
  "__class__",
  "__globals__",
  "__dict__",
  "__self__",
  "__code__",
  "__call__",
  "__mro__",
  "__subclasses__",
  "__builtins__",
  "__init__",
  "__reduce__",
  "gi_frame",
  "f_globals",
}
local function walk(value, seen)
  if type(value) == "table" and not seen[value] then
    seen[value] = true
    assert(getmetatable(value) == nil)
    for _, name in ipairs(names) do
      assert(value[name] == nil)
    end
    for key, item in pairs(value) do
      walk(key, seen)
      walk(item, seen)
    end
  elseif type(value) == "function" then
    assert(tostring(value):find("^function: ") or tostring(value):find("builtin"))
    assert(getmetatable(value) == nil)
    for _, name in ipairs(names) do
      assert(not pcall(function()
        return value[name]
      end))
    end
  else
    assert(type(value) ~= "userdata" and type(value) ~= "thread")
  end
end
walk(api, {})
walk(ctx, {})
walk(_G, {})
walk(api.get_user(ctx.nick), {})
walk(api.list_channels(), {})
walk({ pcall(api.get_user) }, {})
