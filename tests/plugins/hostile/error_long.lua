-- An error of a megabyte, which is no UTF-8.
-- expects: error
error(("\xff\xfe\n"):rep(300000), 0)
