-- A circuit is four hashes, and each operation on it is a single, atomic run of this script.
--
-- KEYS  state, metrics, failures, successes; then, for what changes them, the indexes of the prefix: its
--       circuits, and those that are not plainly CLOSED.
-- ARGV  operation, caller's clock, a clock that decides in place of the server's if there is one,
--       id of the request, windowMs, windowSize, ttlMs, length of the keys' prefix, then what the
--       operation takes; last the caller's words for the outbox, if it is to keep what this changes,
--       and whether it is to be handed out.
--
-- Fields have the names that a Snapshot has. A steady record is five billed commands: EVALSHA,
-- TIME, HGETALL state, HMGET metrics, HSET metrics. For that the newest segment of the window stands
-- in `metrics`, with the sum of the older ones; `failures` and `successes` hold those, and are
-- touched when a segment is over.
--
-- Everything here counts, compares and sets. What follows from it is decided elsewhere.
local S, M, F, W = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local operation, id, call = ARGV[1], ARGV[4], redis.call
local windowMs, windowSize, ttlMs = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local hands = table.remove(ARGV) ~= ''
local words = table.remove(ARGV)

-- Asked once: within a script TIME goes on. Where it is refused, the caller's clock has to do.
local now = math.floor(ARGV[3] ~= '' and ARGV[3] or ARGV[2])

-- Every answer names the request and the key that it is about: a client or a proxy may hand it to
-- another request. Texts are behind "=", so that no client takes "123" for a number or "" for nothing.
local function reply(ok, moved)
  return { ok and 1 or 0, moved and 1 or 0, now, '=' .. id, '=' .. S }
end

-- As Redis is to keep it: tostring() gives 1e+15, and nothing is the empty string.
local function text(value)
  return type(value) == 'number' and string.format('%.0f', value) or value or ''
end

-- Somebody may have written over anything. What makes no sense ends the script, before it has written.
local function whole(field, value)
  local n = tonumber(value)
  if n and n % 1 == 0 and math.abs(n) <= 9007199254740991 then return n end
  if value and value ~= '' then error('the field "' .. field .. '" of the circuit makes no sense', 0) end
end

-- Not all at once: unpack() takes some thousand values and no more.
local function remove(key, list)
  for i = 1, #list, 1000 do call('HDEL', key, unpack(list, i, math.min(i + 999, #list))) end
end

local function fields(key)
  local found, flat = {}, call('HGETALL', key)
  for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
  return found, #flat > 0
end
