-- An error that is nothing.
-- expects: error
error(nil)
