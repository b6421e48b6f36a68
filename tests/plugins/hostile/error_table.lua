-- An error that is a table.
-- expects: error
error({})
