-- A move over more than there is.
-- expects: timeout fatal
table.move({}, 1, 1 << 50, 2)
