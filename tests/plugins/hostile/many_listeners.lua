-- More listeners than there may be.
-- expects: error
for _ = 1, 1000 do
  api.register_event_listener("user.connect", print)
end
