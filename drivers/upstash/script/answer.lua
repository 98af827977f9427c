-- Writes what has changed, and answers with the circuit.

-- The window: the newest segment, and the sum of the older ones unless time has passed since.
local good, bad, slow = 0, 0, 0
local after = math.max(now, m.start or now) - windowMs
after = math.max(after, m.floor or after)
if m.start and m.start > after then
  if (m.after or after) > after or (m.from or now) <= after then gather(after, nil, 0, 0, 0) end
  good, bad, slow = counts('newest')
  good, bad, slow = good + of('older.successes'), bad + of('older.failures'), slow + of('older.slow')
end

if writes then
  m.epoch = s.epoch
  -- A circuit that never opened is cheap to create again.
  if not number('openedAt') and not overridden() then ttlMs = math.min(ttlMs, 864e5) end
  local target = math.max(now, number('openUntil') or 0, number('override.until') or 0) + ttlMs
  -- A TTL is only ever extended, and by slightly more than requested: each extension is a command.
  local extends = target > (number('expires') or 0)
  if extends then put('expires', target + math.floor(ttlMs / 8)) end
  if declared then put('indexed', now) end
  remove(S, dropped)
  local args, old = {}, {}
  for field, value in pairs(set) do args[#args + 1], args[#args + 2] = field, value end
  if #args > 0 then call('HSET', S, unpack(args)) end

  args = {}
  if remembers then
    m.ids = of('ids') + 1
    if m.ids % 16 == 0 then
      local page = call('HSCAN', M, (m.cursor or ''):match('^%d+$') or 0, 'MATCH', 'id:*', 'COUNT', 64)
      m.cursor = page[1]
      for i = 1, #page[2], 2 do
        if now - math.floor((tonumber(page[2][i + 1]) or 0) / 2) >= 60000 then old[#old + 1] = page[2][i] end
      end
    end
    args = { 'id:' .. id, text(now * 2 + (answered and 1 or 0)) }
  end
  for i, name in ipairs(NAMES) do
    local value = text(m[name])
    if value ~= (held[i] or '') then args[#args + 1], args[#args + 2] = name, value end
  end
  born[S], born[M] = renewed, not held[1]
  if stale then call('DEL', M) end
  remove(M, old)
  if #args > 0 then call('HSET', M, unpack(args)) end

  if declared then
    enter(S, true, s.state == 'CLOSED' and not overridden())
    prolong(number('expires') - now)
  end
  for _, key in ipairs({ S, M, F, W }) do
    if key == S and overridden() and not number('override.until') then
      if renewed then call('PERSIST', S) end
    elseif born[key] or (extends and not absent) then
      call('PEXPIRE', key, text(number('expires') - now))
    end
  end
end

-- The fields and their values.
local answer = reply(ok, moved)
local function tell(found, before)
  for field, value in pairs(found) do
    local silent = field:sub(1, 4) == 'row:' and not hands
    if not silent and not (isLease(field) and value:sub(-2) == ' 0') then
      answer[#answer + 1], answer[#answer + 2] = (before or '') .. field, '=' .. text(value)
    end
  end
end
if s.epoch then
  tell(s)
  -- After the state: fields of the state with the same names do not count.
  tell(m)
  tell(released)
  tell({ policyHash = policyHash or '', successes = good, failures = bad, slow = slow }, 'answer.')
  -- The tallies that the caller asks for, with their times.
  if operation == 'read' and ARGV[9] then
    for i, known in ipairs(call('HMGET', M, unpack(ARGV, 9))) do tell({ [ARGV[i + 8]] = known }) end
  end
  if operation == 'dump' then
    tell(fields(F), 'failures:')
    tell(fields(W), 'successes:')
  end
end
return answer
