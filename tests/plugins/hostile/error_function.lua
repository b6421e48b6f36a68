-- An error that is a function.
-- expects: error
error(print)
