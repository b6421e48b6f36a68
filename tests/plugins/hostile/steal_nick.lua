-- The nick of a service of the server.
-- expects: error
assert(api.register_service("NickServ", print))
