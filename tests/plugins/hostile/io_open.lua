-- Files.
-- expects: error
io.open("/etc/passwd")
