-- throttle.lua: doing something at most once in a while, over all threads of the server.
--
--   local throttle = require "throttle"
--   purlin.on("drift.alert", function(event)
--     if not throttle("retrain:" .. event.key, 3600) then return end
--     purlin.op.training.start{ ... }
--   end)

---Whether it is time again for `name`: true once in `seconds`. If what follows fails, call throttle.forget(name).
---@param name string
---@param seconds number
---@return boolean
local function throttle(_, name, seconds)
  local key = "throttle:" .. name
  local _, version = purlin.shared.get(key)
  return version == 0 and purlin.shared.cas(key, 0, true, seconds)
end

local function forget(name) purlin.shared.delete("throttle:" .. name) end

return setmetatable({ forget = forget }, { __call = throttle })
