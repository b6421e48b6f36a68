-- Code from files.
-- expects: error
dofile("/etc/passwd")
