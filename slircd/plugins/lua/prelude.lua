-- The inside of the sandbox: what a plugin sees, and how its calls leave.
--
-- The host hands over one function, `exchange`, which takes and gives text, and which only closures here can reach.
-- A plugin gets an environment that is built from a list of what is allowed, never one from which something was taken
-- away; its `string`, `table` and so on are copies, so that what it does to them harms nobody but itself.

local exchange, output, names = ...

local raw_pcall, raw_xpcall, raw_error, raw_type, raw_tostring = pcall, xpcall, error, type, tostring
local raw_next, raw_select, raw_rawget, raw_rawlen, raw_load = next, select, rawget, rawlen, load
local raw_setmetatable, raw_getmetatable, raw_ipairs = setmetatable, getmetatable, ipairs
local sethook, cpu = debug.sethook, os.clock
local create, resume, status, running, close = coroutine.create, coroutine.resume, coroutine.status, coroutine.running,
  coroutine.close
local concat, unpack, pack = table.concat, table.unpack, table.pack
local format, gsub, byte, sub, find = string.format, string.gsub, string.byte, string.sub, string.find
local math_type, huge = math.type, math.huge

-- --- time and memory -------------------------------------------------------------------------------------------------

local TIMEOUT = raw_setmetatable({}, { __metatable = "locked" })
local NO_MEMORY = "not enough memory"
local EVERY = 20000
local deadline = huge
local out_of_memory = false

local function watch()
  if cpu() > deadline then
    raw_error(TIMEOUT, 0)
  end
end

-- A timeout passes through every pcall of the plugin; that memory was short is remembered although it was caught.
local function results(ok, first, ...)
  if not ok then
    if first == TIMEOUT then
      raw_error(TIMEOUT, 0)
    elseif first == NO_MEMORY then
      out_of_memory = true
    end
  end
  return ok, first, ...
end

local function safe_pcall(f, ...)
  return results(raw_pcall(f, ...))
end

local function safe_xpcall(f, handler, ...)
  return results(raw_xpcall(f, handler, ...))
end

local function safe_create(f)
  local thread = create(f)
  sethook(thread, watch, "", EVERY)
  return thread
end

local function safe_resume(thread, ...)
  return results(resume(thread, ...))
end

local function unwrap(ok, first, ...)
  if not ok then
    raw_error(first, 0)
  end
  return first, ...
end

local function safe_wrap(f)
  local thread = safe_create(f)
  return function(...)
    return unwrap(results(resume(thread, ...)))
  end
end

-- What an error says, without calling anything that the plugin has made.
local function describe(problem)
  if problem == TIMEOUT then
    return "timeout"
  elseif raw_type(problem) == "string" then
    return sub(problem, 1, 400)
  elseif raw_type(problem) == "number" then
    return raw_tostring(problem)
  end
  return "an error that is a " .. raw_type(problem)
end

-- --- the way out -----------------------------------------------------------------------------------------------------

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function escape(character)
  return ESCAPES[character] or format("\\u%04x", byte(character))
end

local MAX_DEPTH = 16
local MAX_BYTES = 32768
local encode

local function quoted(text)
  if #text > MAX_BYTES then
    raw_error("a text of more than 32768 bytes", 0)
  end
  return '"' .. gsub(text, '[%c"\\]', escape) .. '"'
end

local function encode_table(value, depth, budget)
  if depth > MAX_DEPTH then
    raw_error("a table that is nested too deeply, or contains itself", 0)
  end
  local parts, count = {}, raw_rawlen(value)
  if count > 0 then
    for index = 1, count do
      parts[index] = encode(raw_rawget(value, index), depth + 1, budget)
    end
    return "[" .. concat(parts, ",") .. "]"
  end
  for key, item in raw_next, value do
    if raw_type(key) ~= "string" then
      raw_error("a table with keys that are neither texts nor 1, 2, 3 ...", 0)
    end
    parts[#parts + 1] = quoted(key) .. ":" .. encode(item, depth + 1, budget)
  end
  return "{" .. concat(parts, ",") .. "}"
end

encode = function(value, depth, budget)
  local kind = raw_type(value)
  local text
  if kind == "string" then
    text = quoted(value)
  elseif kind == "nil" then
    text = "null"
  elseif kind == "boolean" then
    text = value and "true" or "false"
  elseif kind == "number" then
    if math_type(value) == "integer" then
      text = format("%d", value)
    elseif value ~= value or value == huge or value == -huge then
      raw_error("a number that is not finite", 0)
    else
      text = format("%.17g", value)
      if not find(text, "[.e]") then
        text = text .. ".0"
      end
    end
  elseif kind == "table" then
    return encode_table(value, depth, budget)
  else
    raw_error("a " .. kind, 0)
  end
  budget.left = budget.left - #text
  if budget.left < 0 then
    raw_error("arguments of more than 32768 bytes", 0)
  end
  return text
end

-- Handlers stay here; what leaves is their number.
local handlers = {}

local function encode_argument(value, budget)
  if raw_type(value) == "function" then
    handlers[#handlers + 1] = value
    return format('{"$handler":%d}', #handlers)
  end
  return encode(value, 1, budget)
end

local function encode_all(arguments)
  local parts, budget = {}, { left = MAX_BYTES }
  for index = 1, arguments.n do
    parts[index] = encode_argument(arguments[index], budget)
  end
  return "[" .. concat(parts, ",") .. "]"
end

-- What the server refuses is nil and the reason; what is wrong in the plugin is an error, at the line of the plugin:
-- `level` counts as error() does, and closures that end in a call of this leave no level behind.
local function invoke(name, level, ...)
  local ok, text = raw_pcall(encode_all, pack(...))
  if not ok then
    raw_error(name .. ": cannot take " .. describe(text), level)
  end
  local outcome, value = exchange(name, text)
  if outcome == "refused" then
    return nil, value
  elseif outcome ~= "ok" then
    raw_error(value, level)
  end
  return value
end

-- --- what a plugin sees ----------------------------------------------------------------------------------------------

local function copy(from, leave_out)
  local to = {}
  for key, value in raw_next, from do
    if key ~= leave_out then
      to[key] = value
    end
  end
  return to
end

-- ("x"):upper() and getmetatable(""): a table that nothing of the plugin can reach, and no metatable at all.
local strings = raw_getmetatable("")
strings.__index = copy(string, "dump")
strings.__metatable = "locked"

local env = {
  _VERSION = _VERSION,
  assert = assert,
  error = raw_error,
  getmetatable = raw_getmetatable,
  ipairs = raw_ipairs,
  next = raw_next,
  pairs = pairs,
  pcall = safe_pcall,
  rawequal = rawequal,
  rawget = raw_rawget,
  rawlen = raw_rawlen,
  rawset = rawset,
  select = raw_select,
  tonumber = tonumber,
  tostring = raw_tostring,
  type = raw_type,
  xpcall = safe_xpcall,
  math = copy(math),
  string = copy(string, "dump"),
  table = copy(table),
  utf8 = copy(utf8),
  os = { clock = os.clock, date = os.date, time = os.time },
  coroutine = {
    close = close,
    create = safe_create,
    isyieldable = coroutine.isyieldable,
    resume = safe_resume,
    running = running,
    status = status,
    wrap = safe_wrap,
    yield = coroutine.yield,
  },
}
env._G = env

-- A finalizer would run at moments when no deadline is counted.
function env.setmetatable(value, metatable)
  if raw_type(metatable) == "table" and raw_rawget(metatable, "__gc") ~= nil then
    raw_error("setmetatable: __gc is not allowed", 2)
  end
  return raw_setmetatable(value, metatable)
end

function env.load(chunk, name, _, environment)
  if environment == nil then
    environment = env
  end
  return raw_load(chunk, name or "=load", "t", environment)
end

function env.print(...)
  local words = pack(...)
  for index = 1, words.n do
    words[index] = raw_tostring(words[index])
  end
  output(sub(concat(words, "\t"), 1, 4000))
end

-- --- the API ---------------------------------------------------------------------------------------------------------

local api = {}
local listeners = {}
local matching = {}

local function matches(pattern, kind)
  if pattern == "*" or pattern == kind then
    return true
  end
  return sub(pattern, -2) == ".*" and sub(kind, 1, #pattern - 1) == sub(pattern, 1, -2)
end

for _, name in raw_ipairs(names) do
  api[name] = function(first, ...)
    -- Both api.print(...) and api:print(...) are right.
    if first == api then
      return invoke(name, 2, ...)
    end
    return invoke(name, 2, first, ...)
  end
end

local function listen(pattern, handler, ...)
  if raw_type(handler) ~= "function" then
    raw_error("register_event_listener: argument 2 (handler) must be a function, not " .. raw_type(handler), 2)
  end
  local value = invoke("register_event_listener", 3, pattern, ...)
  listeners[#listeners + 1] = { pattern = pattern, handler = handler }
  matching = {}
  return value
end

function api.register_event_listener(first, ...)
  if first == api then
    return listen(...)
  end
  return listen(first, ...)
end

-- --- what the host calls ---------------------------------------------------------------------------------------------

local entry = {}
local plugin

-- Returns what went wrong, or nil; and whether memory ran out meanwhile.
local function guarded(seconds, f, ...)
  deadline = cpu() + seconds
  out_of_memory = false
  sethook(watch, "", EVERY)
  local ok, problem = raw_pcall(f, ...)
  sethook()
  deadline = huge
  if ok then
    return nil, out_of_memory
  end
  local text = describe(problem)
  return text, out_of_memory or text == NO_MEMORY
end

local function load_plugin(source, chunk)
  local loaded, problem = raw_load(source, "@" .. chunk, "t", env)
  if loaded == nil then
    raw_error(problem, 0)
  end
  local made = loaded()
  if raw_type(made) ~= "table" then
    raw_error("init.lua must return a table, not " .. raw_type(made), 0)
  end
  if raw_type(raw_rawget(made, "on_load")) ~= "function" then
    raw_error("the table that init.lua returns needs a function on_load(api)", 0)
  end
  plugin = made
end

local function field(name)
  local value = plugin and raw_rawget(plugin, name)
  if raw_type(value) == "string" or raw_type(value) == "number" then
    return sub(raw_tostring(value), 1, 64)
  end
end

function entry.load(seconds, source, chunk)
  local problem, memory = guarded(seconds, load_plugin, source, chunk)
  return problem, memory, field("name"), field("version")
end

function entry.on_load(seconds, settings)
  api.settings = settings
  return guarded(seconds, plugin.on_load, api)
end

function entry.on_unload(seconds)
  local handler = plugin and raw_rawget(plugin, "on_unload")
  if raw_type(handler) == "function" then
    return guarded(seconds, handler)
  end
end

function entry.call(seconds, id, call, subject, argument)
  local handler = handlers[id]
  if handler == nil then
    return "no handler " .. raw_tostring(id)
  end
  if call ~= nil and subject ~= nil then
    subject.reply = function(first, second)
      return invoke("reply", 2, call, first == subject and second or first)
    end
  end
  return guarded(seconds, handler, subject, argument)
end

local function interested(kind)
  local found = matching[kind]
  if found == nil then
    found = {}
    for _, listener in raw_ipairs(listeners) do
      if matches(listener.pattern, kind) then
        found[#found + 1] = listener.handler
      end
    end
    matching[kind] = found
  end
  return found
end

function entry.event(seconds, kind, event)
  local first, memory
  for _, handler in raw_ipairs(interested(kind)) do
    local problem, short = guarded(seconds, handler, event)
    first, memory = first or problem, memory or short
  end
  return first, memory
end

-- For `slircd plugin test`: the plugin's own tests, which see `server` and `test` beside what plugins see.
function entry.run_tests(seconds, source, chunk, helpers)
  local environment, tests = copy(env), {}
  environment._G = environment
  environment.server = {}
  for _, name in raw_ipairs(helpers) do
    environment.server[name] = function(...)
      return invoke(name, 2, ...)
    end
  end
  function environment.test(name, run)
    tests[#tests + 1] = { name = name, run = run }
  end
  local problem = guarded(seconds, function()
    local loaded, wrong = raw_load(source, "@" .. chunk, "t", environment)
    if loaded == nil then
      raw_error(wrong, 0)
    end
    loaded()
  end)
  if problem ~= nil then
    return problem
  end
  for _, each in raw_ipairs(tests) do
    problem = guarded(seconds, function()
      invoke("begin", 1, each.name)
      each.run()
    end)
    exchange("finish", encode_all(pack(problem)))
  end
end

return entry
