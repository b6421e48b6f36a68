-- The shell.
-- expects: error
os.execute("touch /tmp/slircd-was-here")
