-- The hash of metrics: the counts, with their life and their generation.

-- The metrics, as numbers except for the first four, because a cursor may exceed the range of
-- numbers. Answers contain those from `FIRST` to `LAST`. From `sinceClosed` on, and with the outcomes,
-- they are evidence: a closing, a reset and an override clear them.
local NAMES, FIRST, EVIDENCE, LAST, COUNT = {
  'epoch', 'policyHash', 'cursor', 'outcomes', 'since', 'trial', 'ids', 'swept',
  'halfOpen.successes', 'halfOpen.failures',
  'totals.successes', 'totals.failures', 'totals.rejected', 'totals.slow',
  'lastFailureAt', 'lastSuccessAt', 'traffic', 'traffic.before',
  'sinceClosed.successes', 'sinceClosed.failures', 'sinceClosed.slow',
  'consecutiveSuccesses', 'consecutiveFailures',
  'start', 'newest.successes', 'newest.failures', 'newest.slow', 'floor',
  'after', 'from', 'older.successes', 'older.failures', 'older.slow'
}, 9, 19, 28, 33
for i, each in ipairs(ids) do NAMES[COUNT + i] = 'id:' .. each end
-- `before`: as they were, so that those without a change are neither formatted nor written.
-- `answers`: those to requests that were seen before.
local m, before, answers, notes, stale = {}, {}, {}, {}, false
local held = call('HMGET', M, unpack(NAMES))
if not absent and held[1] == s.epoch then
  for i = 1, COUNT do
    local value = held[i] or nil
    if value and i > 4 then value = whole(NAMES[i], value) end
    before[i], m[NAMES[i]] = value, value
  end
  -- Such a request is known by its time, and in the last bit its answer.
  for i, each in ipairs(ids) do
    local known = whole('id', held[COUNT + i])
    if known and now - math.floor(known / 2) < 60000 then answers[each] = known % 2 == 1 end
  end
else
  -- Metrics of another life of the circuit count as absent.
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

-- Drops the counts of an earlier generation.
local function renew()
  if m.since ~= number('since') then
    clear('outcomes', unpack(NAMES, EVIDENCE, COUNT))
    m.since = number('since')
  end
  if m.trial ~= number('generation') then
    clear('halfOpen.successes', 'halfOpen.failures')
    m.trial = number('generation')
  end
end
renew()

local function remember(answer)
  answers[id], writes = answer, true
  notes[#notes + 1], notes[#notes + 2] = 'id:' .. id, text(now * 2 + (answer and 1 or 0))
end
