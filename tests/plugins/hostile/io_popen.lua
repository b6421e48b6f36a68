-- Processes.
-- expects: error
io.popen("id")
