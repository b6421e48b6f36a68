-- Bytecode, made.
-- expects: error
string.dump(function() end)
