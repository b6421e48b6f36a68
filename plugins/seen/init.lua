-- Remembers who was last where: /SEEN nick
--
-- What it keeps goes into the log, so it outlives restarts.  It is not told of secret channels, so it cannot tell of
-- them either.

local plugin = { name = "seen", version = "1.0" }

local DAY = 86400

local function ago(seconds)
  for _, unit in ipairs({ { DAY, "day" }, { 3600, "hour" }, { 60, "minute" } }) do
    local count = seconds // unit[1]
    if count >= 1 then
      return count .. " " .. unit[2] .. (count > 1 and "s" or "") .. " ago"
    end
  end
  return "just now"
end

function plugin.on_load(api)
  local keep = (api.settings.keep_days or 90) * DAY

  local function note(nick, what)
    if nick then
      api.storage_set("nick/" .. nick:lower(), { nick = nick, what = what, at = api.now() })
    end
  end

  api.register_event_listener("channel.join", function(event)
    note(event.member, "joining " .. event.name)
  end)
  api.register_event_listener("channel.part", function(event)
    note(event.member, "leaving " .. event.name)
  end)
  api.register_event_listener("channel.kick", function(event)
    note(event.member, "being kicked from " .. event.name)
  end)
  api.register_event_listener("user.nick_change", function(event)
    note(event.nick, "becoming " .. event.new_nick)
  end)
  api.register_event_listener("user.disconnect", function(event)
    note(event.nick, "leaving the network")
  end)

  api.register_command("SEEN", function(ctx, args)
    local kept = api.storage_get("nick/" .. args[1]:lower())
    local online = api.get_user(args[1]) and ", and is here now" or ""
    if kept then
      ctx.reply(("%s was last seen %s, %s%s"):format(kept.nick, kept.what, ago(api.now() - kept.at), online))
    else
      ctx.reply("Nothing is known of " .. args[1] .. online)
    end
  end, { min_args = 1, help = "SEEN <nick> tells when somebody was last here." })

  -- A page of a thousand keys an hour is enough to keep up with those who come.
  api.every(3600, function()
    for _, key in ipairs(api.storage_keys("nick/")) do
      local kept = api.storage_get(key)
      if kept and api.now() - kept.at > keep then
        api.storage_delete(key)
      end
    end
  end)
end

return plugin
