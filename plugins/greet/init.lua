-- Greets people by the account that they are logged in to: with what they have chosen themselves (/GREETING text), and
-- with operator status or voice where the settings say so.

local plugin = { name = "greet", version = "1.0" }

local function includes(accounts, account)
  for _, each in ipairs(accounts or {}) do
    if each:lower() == account:lower() then
      return true
    end
  end
  return false
end

function plugin.on_load(api)
  local settings = api.settings

  api.register_event_listener("channel.join", function(event)
    local user = api.get_user(event.member)
    if not user or not user.account then
      return
    end
    local channel = event.name:lower()
    for table_name, mode in pairs({ op = "+o", voice = "+v" }) do
      if includes((settings[table_name] or {})[channel], user.account) then
        api.set_modes(event.name, mode .. " " .. user.nick)
      end
    end
    local greeting = api.storage_get("greeting/" .. user.account:lower())
    if greeting then
      api.send_notice(event.name, "[" .. user.nick .. "] " .. greeting)
    end
  end)

  api.register_command("GREETING", function(ctx, args)
    if not ctx.account then
      ctx.reply("You need an account: /msg NickServ HELP")
      return
    end
    local key = "greeting/" .. ctx.account:lower()
    local text = table.concat(args, " ")
    if text == "" then
      api.storage_delete(key)
      ctx.reply("You are greeted no longer")
    elseif #text > (settings.longest or 200) then
      ctx.reply("That is too long")
    elseif api.storage_set(key, text) then
      ctx.reply("You will be greeted with: " .. text)
    else
      ctx.reply("There is no room for more greetings")
    end
  end, { help = "GREETING [<text>] sets, or removes, what channels are told when you join." })
end

return plugin
