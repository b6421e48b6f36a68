-- Bytecode, loaded: what is no text is refused, whatever mode is asked for.
-- expects: error
assert(load("\27Lua\x54\0\x19\x93\r\n\x1a\n\4\8\8xV\0\0\0\0\0\0\0", "x", "b"))
