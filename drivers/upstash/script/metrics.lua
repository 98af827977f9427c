-- The hash of metrics: what is counted, of which life and of which generation.

-- The metrics, as numbers but for the first four: a cursor may be larger than a number can be. The
-- last ones, from `sinceClosed` on, and the outcomes are evidence: what a closing, a reset and an
-- override clear.
local NAMES, EVIDENCE = {
  'epoch', 'policyHash', 'outcomes', 'cursor', 'since', 'trial', 'halfOpen.successes', 'halfOpen.failures',
  'totals.successes', 'totals.failures', 'totals.rejected', 'totals.slow',
  'lastFailureAt', 'lastSuccessAt', 'ids', 'traffic', 'traffic.before',
  'sinceClosed.successes', 'sinceClosed.failures', 'sinceClosed.slow',
  'consecutiveSuccesses', 'consecutiveFailures',
  'start', 'newest.successes', 'newest.failures', 'newest.slow',
  'floor', 'after', 'from', 'older.successes', 'older.failures', 'older.slow'
}, 18
local m, answered, remembers, stale = {}, nil, false, false
local held = call('HMGET', M, 'id:' .. id, unpack(NAMES))
local known = whole('id', table.remove(held, 1))
if not absent and held[1] == s.epoch then
  for i, name in ipairs(NAMES) do
    if i > 4 then m[name] = whole(name, held[i]) else m[name] = held[i] or nil end
  end
  -- A request that was seen before: when, and in the last bit what it was told.
  if known and now - math.floor(known / 2) < 60000 then answered = known % 2 == 1 end
else
  -- Of another life of the circuit they count as absent.
  held, stale = {}, held[1]
end
local policyHash = m.policyHash
local function of(name)
  return m[name] or 0
end
local function add(name, n)
  if n ~= 0 then m[name] = of(name) + n end
end
local function addTo(group, successes, failures, slow)
  add(group .. '.successes', successes)
  add(group .. '.failures', failures)
  add(group .. '.slow', slow)
end
local function counts(group)
  return of(group .. '.successes'), of(group .. '.failures'), of(group .. '.slow')
end
local function clear(...)
  for _, name in ipairs({ ... }) do m[name] = nil end
end

-- Lets go of what an earlier generation counted.
local function renew()
  if m.since ~= number('since') then
    clear('outcomes', unpack(NAMES, EVIDENCE))
    m.since = number('since')
  end
  if m.trial ~= number('generation') then
    clear('halfOpen.successes', 'halfOpen.failures')
    m.trial = number('generation')
  end
end
renew()

local function remember(answer)
  answered, remembers, writes = answer, true, true
end
