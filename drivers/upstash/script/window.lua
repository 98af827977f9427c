-- The window: segments, the newest in the metrics and the older ones in hashes of their own.

-- Segments are tagged with the beginning of their evidence.
local function tag()
  return s.epoch .. ':' .. s.since
end

-- Adds to the older segments in one hash, and returns the sum of those that began after a moment.
-- Slow calls are stored beside failures, under the segment's start with an "s" before it.
local born = {}
local function sum(key, after, start, n, slow, purges)
  local found, any = fields(key)
  -- Segments of other evidence count as absent.
  if found.of ~= tag() then
    if start and any then call('DEL', key) end
    found = {}
    born[key] = start
  end
  local args, totals, from, old = {}, { 0, 0 }, nil, {}
  local function grow(field, by)
    if by == 0 then return end
    found[field] = text((whole(field, found[field]) or 0) + by)
    args[#args + 1], args[#args + 2] = field, found[field]
  end
  local fresh = start and { [text(start)] = n, ['s' .. text(start)] = slow } or {}
  for field, by in pairs(fresh) do
    -- Dropped outcomes do not count again together with the added ones.
    if purges and found[field] then
      found[field], old[#old + 1] = nil, field
    end
    grow(field, by)
  end
  for field, count in pairs(found) do
    local mark, began = field:match('^(s?)(%-?%d+)$')
    began = tonumber(began)
    if began and (began > after or began == start) then
      local i = #mark + 1
      totals[i] = totals[i] + whole(field, count)
      from = math.min(from or began, began)
    elseif began then
      old[#old + 1] = field
    end
  end
  -- Rarely, because each time is one more command.
  if start and #old > (purges and 0 or 20) then remove(key, old) end
  if #args > 0 then call('HSET', key, 'of', tag(), unpack(args)) end
  return totals[1], totals[2], from
end

-- Sums up the older segments after one of them has grown. A hash without content is not read.
local function gather(after, start, successes, failures, slow)
  local good, bad, slowly = counts('older')
  -- A segment that began this long ago still counts, but older ones in the same hash do not.
  local purges = start and start <= after
  local all, _, from, from2 = purges or (m.after and m.after > after), nil, nil, nil
  if all or good + successes > 0 then good, _, from = sum(W, after, start, successes, 0, purges) end
  if all or bad + slowly + failures + slow > 0 then
    bad, slowly, from2 = sum(F, after, start, failures, slow, purges)
  end
  if purges then
    after = start - 1
    m.floor = after
  end
  m['older.successes'], m['older.failures'], m['older.slow'] = good, bad, slowly
  m.after, m.from = after, from and from2 and math.min(from, from2) or from or from2
end

-- Books outcomes in the segment of the window in which they ended.
local function book(successes, failures, slow, age)
  local length, moment, start = math.ceil(windowMs / 10), now, m.start
  if not start or age > 0 or now >= start + length then
    -- A clock that was set back counts as standing still.
    moment = math.max(now, start or now)
    start = math.floor((moment - age) / length) * length
    if start <= moment - windowMs then return end
  end
  if start ~= m.start then
    local floor = math.max(m.floor or moment - windowMs, moment - windowMs)
    m.floor = floor
    if m.start and start < m.start then return gather(floor, start, successes, failures, slow) end
    if m.start and m.start > floor then
      gather(floor, m.start, counts('newest'))
    else
      clear('after', 'from', 'older.successes', 'older.failures', 'older.slow')
    end
    clear('newest.successes', 'newest.failures', 'newest.slow')
    m.start = start
  end
  addTo('newest', successes, failures, slow)
end

-- The window: the newest segment, and the sum of the older ones unless time has passed since.
local function windowed()
  local start = m.start
  local after = math.max(now, start or now) - windowMs
  after = math.max(after, m.floor or after)
  if not start or start <= after then return 0, 0, 0 end
  if (m.after or after) > after or (m.from or now) <= after then gather(after, nil, 0, 0, 0) end
  local good, bad, slow = counts('newest')
  return good + of('older.successes'), bad + of('older.failures'), slow + of('older.slow')
end

-- Returns the later of two moments, unless the stored one was written before the clock was set
-- back.
local function latest(name, ended)
  local before = m[name]
  if not (before and before > ended and before <= now) then m[name] = ended end
end

-- Counts outcomes that are current: the successes first, then the failures, the first of which is as old
-- as `first`.
local function count(successes, failures, slow, age, first)
  addTo('sinceClosed', successes, failures, slow)
  if successes > 0 then
    add('consecutiveSuccesses', successes)
    clear('consecutiveFailures')
    latest('lastSuccessAt', now - first)
  end
  if failures > 0 then
    -- Failures that ended before the last success do not lengthen the run. If it ended after the
    -- first one, only the last one surely followed it. A success in the future was written before
    -- the clock was set back.
    local since = math.max(0, now - (m.lastSuccessAt or -1e15))
    if age <= since then
      add('consecutiveFailures', first > since and 1 or failures)
      clear('consecutiveSuccesses')
    end
    latest('lastFailureAt', now - age)
  end
  if s.state == 'HALF_OPEN' then addTo('halfOpen', successes, failures, 0) end
  book(successes, failures, slow, age)
  if windowSize > 0 then
    local ended = ('S'):rep(math.min(successes, windowSize)) .. ('F'):rep(failures)
    m.outcomes = ((m.outcomes or '') .. ended):sub(-windowSize)
  end
end
