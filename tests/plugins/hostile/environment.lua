-- Another _ENV changes names, not what there is.
-- expects: contained
local kept_error, kept_pcall = error, pcall
do
  local _ENV = { api = api }
  kept_pcall(function()
    return io.open
  end)
  api = nil
end
if io or debug or package then
  kept_error("there is more than there should be")
end
