-- A circuit is four hashes, and each operation on it is a single, atomic run of this script.
--
-- KEYS  state, metrics, failures, successes; then, for operations that change them, the indexes of the
--       prefix: its circuits, and those that are not plainly CLOSED.
-- ARGV  operation, caller's clock, a clock that replaces the server's if there is one, id of the
--       request, windowMs, windowSize, ttlMs, length of the keys' prefix, then the operation's
--       arguments; last the caller's words for the outbox, if it keeps this change, and whether to
--       return the outbox. Those of `record` are the number of tallies, which count in order, and 12 of
--       each tally: its id first; those of `read` are the fields of tallies that it may contain.
--
-- Fields have the names of a Snapshot. A steady record is five billed commands: EVALSHA, TIME,
-- HGETALL state, HMGET metrics, HSET metrics. For that reason `metrics` contains the newest segment
-- of the window and the sum of the older ones; `failures` and `successes` hold the older ones, and
-- are used only at the end of a segment.
--
-- The script only counts, compares and sets. The library decides what follows.
local S, M, F, W = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local operation, id, call = ARGV[1], ARGV[4], redis.call
local windowMs, windowSize, ttlMs = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local hands = table.remove(ARGV) ~= ''
local words = table.remove(ARGV)
local ids, tallies = { id }, operation == 'record' and ARGV[9] + 0 or 0
for i = 1, tallies do ids[i] = ARGV[12 * i - 2] end

-- Read once: TIME advances within a script. If it is refused, the caller's clock is used.
local now = math.floor(ARGV[3] ~= '' and ARGV[3] or ARGV[2])

-- Every answer names its request and key, because a client or a proxy may deliver it to another
-- request. Texts follow "=", so that no client converts "123" to a number or "" to nothing.
local function reply(ok, moved)
  return { ok and 1 or 0, moved and 1 or 0, now, '=' .. table.concat(ids, ' '), '=' .. S }
end

-- The form for Redis: tostring() returns 1e+15, and nil is the empty string.
local function text(value)
  return type(value) == 'number' and string.format('%.0f', value) or value or ''
end

-- Somebody may have overwritten any field. An invalid one ends the script before it has written.
local function whole(field, value)
  local n = tonumber(value)
  if n and n % 1 == 0 and n < 9007199254740992 and n > -9007199254740992 then return n end
  if value and value ~= '' then error('the field "' .. field .. '" of the circuit is invalid', 0) end
end

-- In parts: unpack() accepts some thousand values at most.
local function remove(key, list)
  for i = 1, #list, 1000 do call('HDEL', key, unpack(list, i, math.min(i + 999, #list))) end
end

local function fields(key)
  local found, flat = {}, call('HGETALL', key)
  for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
  return found, #flat > 0
end
