-- A command of the server.
-- expects: error
api.register_command("PRIVMSG", print)
