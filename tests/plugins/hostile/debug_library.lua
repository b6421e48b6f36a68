-- The debug library: upvalues of the API's closures lead to the host.
-- expects: error
debug.getupvalue(api.send_notice, 1)
