-- Greets whoever connects, and greets on request: /GREET [nick]

local plugin = { name = "welcome", version = "1.0" }

function plugin.on_load(api)
  api.register_event_listener("user.connect", function(event)
    api.send_notice(event.nick, "Welcome to our IRC network!")
  end)

  api.register_command("GREET", function(ctx, args)
    local target = args[1] or ctx.nick
    api.send_privmsg(ctx.channel, "Hello, " .. target .. "!")
  end)
end

return plugin
