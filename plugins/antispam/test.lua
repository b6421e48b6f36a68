local function on_channel()
  server.connect("ann")
  server.connect("bob")
  server.send("ann", "JOIN #tea")
  server.send("bob", "JOIN #tea")
  server.lines("ann")
  server.lines("bob")
end

test("repeats are quieted, and the second time kicked", function()
  on_channel()
  for _ = 1, 4 do
    server.send("bob", "PRIVMSG #tea :buy now")
  end
  server.expects("ann", "MODE #tea +b ~t:5:~m:*!*@")
  server.expects("bob", "You are quiet on #tea for 5 minutes")
  server.send("bob", "PRIVMSG #tea :buy now")
  server.expects("bob", " 404 bob #tea ")
  server.advance(301)
  for _ = 1, 4 do
    server.send("bob", "PRIVMSG #tea :buy now")
  end
  server.expects("ann", "KICK #tea bob :Flooding")
end)

test("floods are quieted", function()
  on_channel()
  for number = 1, 8 do
    server.send("bob", "PRIVMSG #tea :line " .. number)
  end
  server.expects("ann", "MODE #tea +b ~t:5:~m:*!*@")
end)

test("who has a prefix is left alone", function()
  on_channel()
  server.send("ann", "MODE #tea +v bob")
  for _ = 1, 20 do
    server.send("bob", "PRIVMSG #tea :buy now")
  end
  for _, line in ipairs(server.lines("ann")) do
    assert(not line:find(" +b ", 1, true), line)
  end
end)

test("people who talk are left alone", function()
  on_channel()
  for number = 1, 20 do
    server.send("bob", "PRIVMSG #tea :line " .. number)
    server.advance(5)
  end
  for _, line in ipairs(server.lines("ann")) do
    assert(not line:find(" +b ", 1, true), line)
  end
end)
