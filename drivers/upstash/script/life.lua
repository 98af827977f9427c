-- Generations and lives of the circuit, and the override.

-- The next generation owns no lease, and no evidence where that is cleared.
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
-- Numbers repeat when Redis is put back to an earlier state, moments do not.
local function isCurrent(epoch, generation, began)
  return epoch == s.epoch and tonumber(generation) == number('generation')
    and tonumber(began) == number('began')
end
-- True if the state may have lost its TTL, or has to lose it.
local renewed = false
-- A life has the id of the request that began it, and the moment: sent again after all was
-- forgotten, the request begins another one.
local birth = id .. '.' .. text(now)
local function create(generation)
  for field in pairs(s) do
    -- An untold change is not forgotten with the record it was made in, and no TTL is shortened.
    if field:sub(1, 4) ~= 'row:' and field ~= 'expires' then drop(field) end
  end
  m, renewed = {}, true
  put('epoch', birth)
  put('state', 'CLOSED')
  put('prefix', ARGV[8])
  begin(generation, now, true)
end
-- The policy: a field for each option, in place of those before.
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

-- An override past its end is released by the first operation that writes.
local released = {}
local function lapse()
  local ends = number('override.until')
  if overridden() and ends and ends <= now then
    local why = '{"reason":"expired","actor":null,' .. (words:match('"isolate":.*') or '}')
    keep('released', nil, ends, why, s.override)
    for field, value in pairs(s) do
      if field:sub(1, 8) == 'override' then released['released' .. field:sub(9)] = value end
    end
    -- Readers know that end already.
    lay(ends)
  end
end
