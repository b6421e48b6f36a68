-- Arguments of every wrong sort, to every function: errors, and nothing else.
-- expects: contained
local odd = {
  function() end,
  coroutine.create(function() end),
  {},
  { {} },
  { [1.5] = 1 },
  { x = function() end },
  setmetatable({}, {
    __index = function()
      error("metamethods are not asked")
    end,
    __len = function()
      return 1 << 60
    end,
    __pairs = function()
      while true do end
    end,
    __tostring = function()
      while true do end
    end,
  }),
  0 / 0,
  1 / 0,
  -1 / 0,
  math.maxinteger,
  math.mininteger,
  1e308,
  true,
  "",
  "\0",
  "\r\nQUIT :x",
  "\xff\xfe",
  ("x"):rep(40000),
  "#",
  "#" .. ("x"):rep(1000),
  "]}",
  '"}\n{"op":"done"',
}
local cyclic = {}
cyclic[1] = cyclic
odd[#odd + 1] = cyclic
local tried = 0
for name, call in pairs(api) do
  if type(call) == "function" then
    for _, first in ipairs(odd) do
      pcall(call, first)
      pcall(call, "#nowhere", first)
      pcall(call, first, function() end, first)
      tried = tried + 3
    end
    pcall(call)
    pcall(call, nil, nil, nil, nil, nil, nil)
  end
end
assert(tried > 500)
