-- Writes what has changed, and answers with the circuit.

if s.epoch and not pieces[1] then piece() end

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

  -- Once there are many, and no more than once a minute, all fields are searched for ids that have
  -- expired, a page with each request.
  add('ids', #notes / 2)
  local sweeps = (m.cursor or '0') ~= '0'
  if notes[1] and (sweeps or of('ids') > 64 and math.abs(now - of('swept')) >= 60000) then
    if not sweeps then m.swept, m.ids = now, nil end
    local page = call('HSCAN', M, (m.cursor or ''):match('^%d+$') or 0, 'COUNT', 64 + 2 * #notes)
    m.cursor = page[1]
    for i = 1, #page[2], 2 do
      local field, noted = page[2][i], tonumber(page[2][i + 1]) or 0
      if now - math.floor(noted / 2) >= 60000 and field:sub(1, 3) == 'id:' then old[#old + 1] = field end
    end
  end
  for i = 1, COUNT do
    local name = NAMES[i]
    if m[name] ~= before[i] then notes[#notes + 1], notes[#notes + 2] = name, text(m[name]) end
  end
  born[S], born[M] = renewed, not held[1]
  if stale then call('DEL', M) end
  remove(M, old)
  if notes[1] then call('HSET', M, unpack(notes)) end

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

-- The counts, then the fields and their values. Those that are for one caller come last.
local answer = reply(ok, moved)
local function tell(found, before, rows)
  for field, value in pairs(found) do
    local mark = field:sub(1, 4)
    if (mark == 'row:') == (rows or false) and not (mark == 'leas' and value:sub(-2) == ' 0') then
      answer[#answer + 1], answer[#answer + 2] = (before or '') .. field, '=' .. text(value)
    end
  end
end
if s.epoch then
  answer[#answer + 1] = '=' .. table.concat(pieces, ';')
  tell(s)
  tell({ policyHash = policyHash or '' })
  -- The tallies that the caller asks for, with their times.
  if operation == 'read' and ARGV[9] then
    for i, known in ipairs(call('HMGET', M, unpack(ARGV, 9))) do tell({ [ARGV[i + 8]] = known }) end
  end
  if operation == 'dump' then
    tell(fields(F), 'failures:')
    tell(fields(W), 'successes:')
  end
  tell(released)
  if hands then tell(s, '', true) end
end
return answer
