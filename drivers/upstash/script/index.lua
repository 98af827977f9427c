-- The indexes of a prefix: sorted sets of one score, so that a page can begin after any key. The
-- member "" says that the index contains every circuit. While a list searches the database, a mark
-- after byte 255, where no key can be, says that the index was not lost since.
local circuits, open, declared = KEYS[#KEYS - 1], KEYS[#KEYS], #KEYS ~= 4
local END = string.char(255)

-- Circuits continue to work when an index's key has another type; that key is not changed.
local ours = {}
local function file(list, belongs, key)
  local filed = redis.pcall(belongs and 'ZADD' or 'ZREM', list, unpack(belongs and { 0, key } or { key }))
  ours[list] = type(filed) == 'number'
end
local function enter(key, there, plain)
  key = key:sub(#circuits - 7, -7)
  -- A foreign key may end like ours; no circuit has the name of a mark.
  if key == '' or key >= END then return end
  file(circuits, there, key)
  file(open, there and not plain, key)
end
local function prolong(ms)
  for list in pairs(ours) do
    local left = ours[list] and call('PTTL', list) or -2
    if left ~= -2 and left < ms then call('PEXPIRE', list, text(ms)) end
  end
end

-- Returns a page of an index, or none if circuits may be missing from it, which must then be
-- searched for.
if operation == 'page' then
  local list, mark = KEYS[tonumber(ARGV[9])], END .. ARGV[12]
  if ARGV[12] ~= '' and call('ZREM', circuits, mark) + call('ZREM', open, mark) == 2 then
    for _, found in ipairs(KEYS) do
      call('ZREMRANGEBYLEX', found, '[' .. END, '+')
      file(found, true, '')
    end
  end
  if not call('ZSCORE', list, '') then
    for _, lost in ipairs(KEYS) do file(lost, true, END .. id) end
    prolong(ttlMs)
    return reply(false)
  end
  local page = reply(true)
  for _, key in ipairs(call('ZRANGEBYLEX', list, '(' .. ARGV[10], '(' .. END, 'LIMIT', 0, ARGV[11])) do
    page[#page + 1] = '=' .. key
  end
  return page
end

-- Updates the index entries of circuits from the circuits themselves.
if operation == 'index' then
  for i = 1, #KEYS - 2 do
    local held = redis.pcall('HMGET', KEYS[i], 'epoch', 'prefix', 'state', 'override', 'override.until')
    local there = not held.err and (held[1] or '') ~= '' and (held[2] or ARGV[8]) == ARGV[8]
    local ends = tonumber(held[5])
    enter(KEYS[i], there, held[3] == 'CLOSED' and ((held[4] or '') == '' or ends and ends <= now))
  end
  prolong(ttlMs)
  return reply(true)
end

if operation == 'remove' then
  enter(S)
  return reply(call('DEL', S, M, F, W) > 0)
end

-- The outbox: a field "row:<generation> <epoch>" of the state for each change that the trail has
-- not confirmed.
if operation == 'confirm' then
  call('HDEL', S, unpack(ARGV, 9))
  return reply(true)
end

if ARGV[3] == '' then
  local known, time = pcall(call, 'TIME')
  if known then now = time[1] * 1000 + math.floor(time[2] / 1000) end
end
