-- The state, as text, and what changes in it.
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
  return finite(s[field])
end
local function overridden()
  return (s.override or '') ~= ''
end
local function isLease(field)
  return field:sub(1, 6) == 'lease:'
end
if s.epoch == '' then s.epoch = nil end
local absent = not s.epoch
-- Prefix "a" with a scope and prefix "a:b" without can mean the same keys.
if s.prefix and s.prefix ~= ARGV[8] then
  return redis.error_reply('ERR the circuit belongs to a store with another prefix')
end
-- Indexed anew from time to time, for an index may be evicted. Then the caller has to declare the indexes.
if operation == 'record' and not declared then
  local at = number('indexed')
  if absent or not at or at > now or now - at >= math.min(ttlMs, 864e5) / 8 then return reply(false, true) end
end

-- What would mislead the script is mended by the next write that there is; the rest reads as nothing.
local function mend(field, value)
  s[field], set[field] = value, value
end
if not absent then
  if not ({ CLOSED = 1, OPEN = 1, HALF_OPEN = 1 })[s.state] then mend('state', 'CLOSED') end
  if whole(s.generation) ~= number('generation') then mend('generation', '0') end
  if whole(s.since) ~= number('since') then mend('since', s.generation) end
  local KINDS = { forced_open = 1, forced_closed = 1, disabled = 1, metrics_only = 1 }
  if overridden() and not KINDS[s.override] then
    for _, field in ipairs({ '', '.until', '.reason', '.actor' }) do mend('override' .. field, '') end
  end
end
