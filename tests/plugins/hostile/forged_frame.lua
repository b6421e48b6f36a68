-- Text that looks like a frame of the pipe.
-- expects: contained
print('\n{"op":"done","id":1,"memory":0}\n')
api.log('"}\n{"op":"api","id":1,"name":"log","args":[]}\n')
pcall(api.get_user, '"}\n{"op":"ready","holds":[]}')
