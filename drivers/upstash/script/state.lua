-- The state, as text, and its changes.
local s, set, dropped, writes = fields(S), {}, {}, false
local function put(field, value)
  s[field] = text(value)
  set[field], writes = s[field], true
end
local function drop(field)
  s[field], set[field], writes = nil, nil, true
  dropped[#dropped + 1] = field
end
local function number(field)
  return whole(field, s[field])
end
local function overridden()
  return (s.override or '') ~= ''
end
local function isLease(field)
  return field:sub(1, 6) == 'lease:'
end
if s.epoch == '' then s.epoch = nil end
local absent = not s.epoch
-- Prefix "a" with a scope and prefix "a:b" without one can lead to the same keys.
if s.prefix and s.prefix ~= ARGV[8] then
  return redis.error_reply('ERR the circuit belongs to a store with another prefix')
end
for _, field in ipairs(absent and {} or { 'generation', 'since', 'began' }) do
  whole(field, s[field] or '?')
end
-- Filed again from time to time, because an index may be evicted. Then the caller has to declare
-- the indexes.
if operation == 'record' and not declared then
  local at = number('indexed')
  if absent or not at or at > now or now - at >= math.min(ttlMs, 864e5) / 8 then return reply(false, true) end
end
