-- Generations and lives of the circuit, and the override.

-- The next generation owns no lease, and no evidence if that is cleared.
local function begin(generation, began, clears)
  put('generation', generation)
  put('began', began)
  if clears then put('since', generation) end
  for field in pairs(s) do
    if isLease(field) then drop(field) end
  end
  renew()
end
local function advance(began, clears)
  begin(number('generation') + 1, began, clears)
end
-- A Redis that is restored to an earlier state repeats numbers, but not moments.
local function isCurrent(epoch, generation, began)
  return epoch == s.epoch and tonumber(generation) == number('generation')
    and tonumber(began) == number('began')
end
-- True if the state may have lost its TTL, or must lose it.
local renewed = false
-- The epoch of a life is the id of the request that began it, with the moment: if that request is
-- repeated after the circuit was lost, it begins another life.
local birth = id .. '.' .. text(now)
local function create(generation)
  for field in pairs(s) do
    -- An unconfirmed change stays in a record that replaces its own, and no TTL is shortened.
    if field:sub(1, 4) ~= 'row:' and field ~= 'expires' then drop(field) end
  end
  m, renewed = {}, true
  put('epoch', birth)
  put('state', 'CLOSED')
  put('prefix', ARGV[8])
  begin(generation, now, true)
end
-- The policy: a field for each option, replacing the previous ones.
local function follow(from)
  if not ARGV[from] then return end
  for field in pairs(s) do
    if field:sub(1, 7) == 'policy.' then drop(field) end
  end
  for i = from, #ARGV, 2 do put(ARGV[i], ARGV[i + 1]) end
end
local function lay(began, kind, ends, reason, actor)
  put('override', kind)
  put('override.until', ends)
  put('override.reason', reason)
  put('override.actor', actor)
  renewed = true
  advance(began, true)
end

-- The first operation that writes releases an expired override.
local released = {}
local function lapse()
  local ends = number('override.until')
  if overridden() and ends and ends <= now then
    local why = '{"reason":"expired","actor":null,' .. (words:match('"isolate":.*') or '}')
    keep('released', nil, ends, why, s.override)
    for field, value in pairs(s) do
      if field:sub(1, 8) == 'override' then released['released' .. field:sub(9)] = value end
    end
    -- Readers have already seen that end.
    lay(ends)
  end
end
