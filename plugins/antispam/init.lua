-- Quiets, and then kicks, members who repeat themselves or flood a channel.  Who has a prefix there (voice or more) and
-- operators of the network are left alone.

local plugin = { name = "antispam", version = "1.0" }

function plugin.on_load(api)
  local settings = api.settings
  local repeats, lines = settings.repeats or 4, settings.lines or 8
  local seconds, minutes = settings.seconds or 10, settings.quiet_minutes or 5
  local talk = {} -- channel and user to what they said lately
  local offences = {} -- the same to when they were quieted

  -- Who said nothing lately is forgotten; nothing here grows with the network.
  api.every(60, function()
    local now = api.now()
    for key, said in pairs(talk) do
      if now - said.last > seconds then
        talk[key] = nil
      end
    end
    for key, at in pairs(offences) do
      if now - at > 3600 then
        offences[key] = nil
      end
    end
  end)

  local function is_spam(key, text, now)
    local said = talk[key]
    if not said or now - said.first > seconds then
      said = { first = now, count = 0, texts = {} }
      talk[key] = said
    end
    said.last = now
    said.count = said.count + 1
    said.texts[text] = (said.texts[text] or 0) + 1
    return said.texts[text] >= repeats or said.count >= lines
  end

  api.register_event_listener("message.*", function(event)
    if event.prefixes ~= "" then
      return
    end
    local key = event.target .. " " .. event.actor
    if not is_spam(key, event.text, event.time) then
      return
    end
    talk[key] = nil
    local user = api.get_user(event.nick)
    if not user or user.is_oper then
      return
    end
    if offences[key] then
      api.kick_user(event.channel, event.nick, "Flooding")
    else
      api.add_ban(event.channel, ("~t:%d:~m:*!*@%s"):format(minutes, user.host))
      api.send_notice(event.nick, ("You are quiet on %s for %d minutes: do not flood"):format(event.channel, minutes))
    end
    offences[key] = event.time
  end)
end

return plugin
