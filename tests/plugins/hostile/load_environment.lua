-- load with an environment of its own gets nothing more.
-- expects: contained
assert(load("return os == nil and io == nil and debug == nil", "x", "t", {})())
assert(load("return io == nil and debug == nil and python == nil and os.execute == nil")())
assert(select(2, load("\27Lua")):find("binary"))
