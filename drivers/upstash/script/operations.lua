-- The operations. Each runs at most once for an id.

-- An expired override is released before anything else, because the answers to several tallies have one
-- state. A repeated change releases none.
local lapses = operation == 'acquire'
for _, each in ipairs(ids) do lapses = lapses or answers[each] == nil end
if lapses and operation ~= 'read' and operation ~= 'dump' then lapse() end

local ok, moved = true, false
-- The common part of all changes: each is made at most once.
local function change(creates, apply)
  ok = s.epoch or creates
  if not ok then return end
  if not s.epoch then create(1) end
  if answers[id] == nil then remember(apply()) end
  ok = answers[id]
end

-- The counts after each tally: a verdict may be due by one, and no more by the next.
local pieces = {}
local function piece()
  local good, bad, slow = windowed()
  local list = { ok and 1 or 0, good, bad, slow, m.outcomes or '' }
  for i = FIRST, LAST do
    local value = m[NAMES[i]]
    list[#list + 1] = value == before[i] and held[i] or text(value)
  end
  pieces[#pieces + 1] = table.concat(list, ' ')
end

if operation == 'record' then
  for i = 1, tallies do
    -- The index of its id.
    local a = 12 * i - 2
    local epoch, generation = ARGV[a + 1], tonumber(ARGV[a + 2])
    local successes, failures, slow = tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5]), tonumber(ARGV[a + 7])
    id = ids[i]
    change(true, function()
      local current = isCurrent(epoch, generation, ARGV[a + 3])
      -- Admitted while the circuit was unknown.
      if epoch == '' then current = generation == 0 and number('generation') == 1 end
      addTo('totals', successes, failures, slow)
      add('totals.rejected', tonumber(ARGV[a + 6]))
      if ARGV[a + 11] ~= '' then m.policyHash = ARGV[a + 11] end
      -- A tally with a policy is alone.
      if current and tallies == 1 then follow(22) end
      if current and successes + failures > 0 then
        local age = math.max(0, math.floor(ARGV[a + 8]))
        count(successes, failures, slow, age, math.max(age, math.floor(ARGV[a + 9])))
      end
      endLease(ARGV[a + 10])
      -- The second, in millions, with how many tallies came in it; and how many in the second before.
      local second = math.floor(now / 1000)
      local passed = second - math.floor(of('traffic') / 1e6)
      if passed ~= 0 then
        m['traffic.before'], m.traffic = passed == 1 and of('traffic') % 1e6 or nil, second * 1e6
      end
      add('traffic', 1)
      return current
    end)
    piece()
  end
elseif operation == 'acquire' and s.epoch then
  moved = answers[id] or false
  if overridden() then
    ok = s.override ~= 'forced_open'
  elseif s.state ~= 'CLOSED' then
    local left, length = (number('openUntil') or now) - now, number('cooldownMs')
    -- Further ahead than that, it was written before the clock was set back. A request that has
    -- moved it does not move it again.
    local back = length and left > length + math.max(length, 60000)
    if not moved and s.state == 'OPEN' and (left <= 0 or back) then
      keep('half_opened', 'HALF_OPEN')
      put('state', 'HALF_OPEN')
      put('reason', 'cooldown_passed')
      advance(now)
      moved = true
      remember(true)
    end
    ok = s.state == 'HALF_OPEN' and lease(ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11]))
  end
elseif operation == 'transition' then
  local to, expects = ARGV[9], ARGV[14] ~= ''
  change(not expects, function()
    if expects and not isCurrent(ARGV[13], ARGV[14], ARGV[15]) then return false end
    if ARGV[10] == 'closed' and of('halfOpen.failures') >= tonumber(ARGV[17]) then return false end
    keep(ARGV[10], to)
    if to == 'OPEN' then
      put('reopenCount', s.state == 'HALF_OPEN' and (number('reopenCount') or 0) + 1 or 0)
      put('openedAt', now)
      put('openUntil', now + ARGV[11])
      put('cooldownMs', ARGV[11])
      put('lastFailure', ARGV[16])
    else
      if s.state ~= 'CLOSED' then put('closedAt', now) end
      put('reopenCount', 0)
      put('openUntil')
      put('cooldownMs')
    end
    follow(18)
    put('state', to)
    put('reason', ARGV[12])
    advance(now, to == 'CLOSED')
    return true
  end)
elseif operation == 'override' then
  local kind, ends = ARGV[9], tonumber(ARGV[10])
  change(kind ~= '', function()
    if kind == '' and not overridden() then return false end
    ends = ends and math.floor(ends - ARGV[2] + now)
    keep(kind == '' and 'released' or kind, nil, nil, nil, kind == '' and s.override or kind, ends)
    lay(now, kind, ends, ARGV[11], ARGV[12])
    return true
  end)
elseif operation == 'restore' then
  local before = s.epoch
  change(true, function()
    if before and ARGV[9] == 'keep' then return false end
    local generation = math.max(number('generation'), ARGV[10]) + 1
    -- The contents begin with the state.
    keep('imported', ARGV[13]:sub(2), nil, nil, nil, nil, generation, birth)
    create(generation)
    -- "=" precedes a text, and "@" a time on the caller's clock.
    local function shifted(value)
      local mark = value:sub(1, 1)
      if mark == '=' then return value:sub(2) end
      return mark == '@' and text(value:sub(2) - ARGV[2] + now) or value
    end
    local first, metric = 12 + 2 * ARGV[11], {}
    for _, name in ipairs(NAMES) do metric[name] = true end
    for i = 12, first - 1, 2 do
      local field, value = ARGV[i], shifted(ARGV[i + 1])
      if metric[field] then
        m[field] = field ~= 'policyHash' and tonumber(value) or value
      else
        put(field, value)
      end
    end
    -- Oldest first: each in turn becomes the newest.
    for i = first, #ARGV, 4 do
      if m.start then gather(-1e15, m.start, counts('newest')) end
      m.start, m['newest.successes'] = tonumber(shifted(ARGV[i])), tonumber(ARGV[i + 1])
      m['newest.failures'], m['newest.slow'] = tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
    end
    policyHash = m.policyHash
    return true
  end)
end
