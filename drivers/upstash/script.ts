// Made of script.lua by `deno task lua`: change that, and run it.

/** What a store runs in Redis, for any operation. */
export const SCRIPT: string = `local S, M, F, W = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local operation, id, call = ARGV[1], ARGV[4], redis.call
local windowMs, windowSize, ttlMs = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local hands = table.remove(ARGV) ~= ''
local words = table.remove(ARGV)
if operation == 'confirm' then
call('HDEL', S, unpack(ARGV, 9))
return { 1, 0, 0 }
end
local now = math.floor(ARGV[3] ~= '' and ARGV[3] or ARGV[2])
if ARGV[3] == '' then
local known, time = pcall(call, 'TIME')
if known then now = time[1] * 1000 + math.floor(time[2] / 1000) end
end
local function text(value)
return type(value) == 'number' and string.format('%.0f', value) or value or ''
end
local function finite(value)
local n = tonumber(value)
return n and n % 1 == 0 and math.abs(n) <= 9007199254740991 and n or nil
end
local function whole(value)
return math.max(0, finite(value) or 0)
end
local function remove(key, list)
for i = 1, #list, 1000 do call('HDEL', key, unpack(list, i, math.min(i + 999, #list))) end
end
local function fields(key)
local found, flat = {}, call('HGETALL', key)
for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
return found, #flat > 0
end
local s, set, dropped, writes = fields(S), {}, {}, false
local function put(field, value)
s[field] = text(value)
set[field], writes = s[field], true
end
local function drop(field)
s[field], set[field], writes = nil, nil, true
dropped[#dropped + 1] = field
end
local function number(field)
return finite(s[field])
end
local function overridden()
return (s.override or '') ~= ''
end
local function isLease(field)
return field:sub(1, 6) == 'lease:'
end
if s.epoch == '' then s.epoch = nil end
local absent = not s.epoch
if s.prefix and s.prefix ~= ARGV[8] then
return redis.error_reply('ERR the circuit belongs to a store with another prefix')
end
local function mend(field, value)
s[field], set[field] = value, value
end
if not absent then
if not ({ CLOSED = 1, OPEN = 1, HALF_OPEN = 1 })[s.state] then mend('state', 'CLOSED') end
if whole(s.generation) ~= number('generation') then mend('generation', '0') end
if whole(s.since) ~= number('since') then mend('since', s.generation) end
local KINDS = { forced_open = 1, forced_closed = 1, disabled = 1, metrics_only = 1 }
if overridden() and not KINDS[s.override] then
for _, field in ipairs({ '', '.until', '.reason', '.actor' }) do mend('override' .. field, '') end
end
end
local NAMES, EVIDENCE = {
'epoch', 'policyHash', 'outcomes', 'since', 'trial', 'halfOpen.successes', 'halfOpen.failures',
'totals.successes', 'totals.failures', 'totals.rejected', 'totals.slow',
'lastFailureAt', 'lastSuccessAt', 'ids', 'cursor',
'sinceClosed.successes', 'sinceClosed.failures', 'sinceClosed.slow',
'consecutiveSuccesses', 'consecutiveFailures',
'start', 'newest.successes', 'newest.failures', 'newest.slow',
'floor', 'after', 'from', 'older.successes', 'older.failures', 'older.slow'
}, 16
for _, name in ipairs(NAMES) do
if s[name] and name ~= 'epoch' and name ~= 'since' then
s[name], dropped[#dropped + 1] = nil, name
end
end
local m, answered, remembers, stale = {}, nil, false, false
local held = call('HMGET', M, 'id:' .. id, unpack(NAMES))
local known = finite(table.remove(held, 1))
if not absent and held[1] == s.epoch then
for i, name in ipairs(NAMES) do
if i > 3 then m[name] = finite(held[i]) else m[name] = held[i] or nil end
if i > 3 and (m[name] or 0) < 0 and (name:find('^[ic]') or name:find('.', 1, true)) then m[name] = nil end
end
if known and now - math.floor(known / 2) < 60000 then answered = known % 2 == 1 end
else
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
local COUNTED = {
'consecutiveFailures', 'consecutiveSuccesses',
'sinceClosed.failures', 'sinceClosed.successes', 'sinceClosed.slow',
'totals.failures', 'totals.successes', 'totals.rejected', 'totals.slow',
'halfOpen.successes', 'halfOpen.failures'
}
local function keep(event, to, said, kind, ends, generation, epoch)
if words == '' then return end
local rows, began = {}, {}
for field, value in pairs(s) do
local of, life = field:match('^row:(%d+) (.*)$')
if of then
local at = tonumber(value:match('^%S+ %S+ %S+ %S+ (%S+)')) or 0
local row, first = { at, tonumber(of), life, field }, began[life]
rows[#rows + 1] = row
if not first or at < first[1] or at == first[1] and row[2] < first[2] then began[life] = row end
end
end
if #rows >= 64 then
table.sort(rows, function(a, b)
local x, y = began[a[3]], began[b[3]]
if x == y then return a[2] < b[2] end
if x[1] ~= y[1] then return x[1] < y[1] end
if x[2] ~= y[2] then return x[2] < y[2] end
return a[3] < b[3]
end)
local gone, after = rows[1][4], rows[2][4]
local missed, rest = s[after]:match('^(%d+)(.*)$')
put(after, text(whole(missed) + 1 + whole(s[gone]:match('^%d+'))) .. (rest or ''))
drop(gone)
end
local row = { 0, event, s.state, to or s.state, text(now), kind or '-', text(ends or '-') }
for _, name in ipairs(COUNTED) do row[#row + 1] = text(of(name)) end
row[#row + 1] = said or words
generation = text(generation or number('generation') + 1)
put('row:' .. generation .. ' ' .. (epoch or s.epoch), table.concat(row, ' '))
end
local function begin(generation, clears)
put('generation', generation)
if clears then put('since', generation) end
for field in pairs(s) do
if isLease(field) then drop(field) end
end
renew()
end
local function advance(clears)
begin(number('generation') + 1, clears)
end
local renewed = false
local birth = id .. '.' .. text(now)
local function create(generation)
for field in pairs(s) do
if field:sub(1, 4) ~= 'row:' and field ~= 'expires' then drop(field) end
end
m, renewed = {}, true
put('epoch', birth)
put('state', 'CLOSED')
put('prefix', ARGV[8])
begin(generation, true)
end
local function lay(kind, ends, reason, actor)
put('override', kind)
put('override.until', ends)
put('override.reason', reason)
put('override.actor', actor)
renewed = true
advance(true)
end
local released = {}
local function lapse()
local ends = number('override.until')
if overridden() and ends and ends <= now then
local why = '{"reason":"expired","actor":null,' .. (words:match('"isolate":.*') or '}')
keep('released', nil, why, s.override)
for field, value in pairs(s) do
if field:sub(1, 8) == 'override' then released['released' .. field:sub(9)] = value end
end
lay()
end
end
local function tag()
return s.epoch .. ':' .. s.since
end
local born = {}
local function sum(key, after, start, n, slow, purges)
local found, any = fields(key)
if found.of ~= tag() then
if start and any then call('DEL', key) end
found = {}
born[key] = start
end
local args, totals, from, old = {}, { 0, 0 }, nil, {}
local function grow(field, by)
if by == 0 then return end
found[field] = text(whole(found[field]) + by)
args[#args + 1], args[#args + 2] = field, found[field]
end
local fresh = start and { [text(start)] = n, ['s' .. text(start)] = slow } or {}
for field, by in pairs(fresh) do
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
totals[i] = totals[i] + whole(count)
from = math.min(from or began, began)
elseif began then
old[#old + 1] = field
end
end
if start and #old > (purges and 0 or 20) then remove(key, old) end
if #args > 0 then call('HSET', key, 'of', tag(), unpack(args)) end
return totals[1], totals[2], from
end
local function gather(after, start, successes, failures, slow)
local good, bad, slowly = counts('older')
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
local function book(successes, failures, slow, age)
local length, moment, start = math.ceil(windowMs / 10), now, m.start
if not start or age > 0 or now >= start + length then
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
local function latest(name, ended)
local before = m[name]
if not (before and before > ended and before <= now) then m[name] = ended end
end
local function count(successes, failures, slow, age)
addTo('sinceClosed', successes, failures, slow)
if successes > 0 then
add('consecutiveSuccesses', successes)
clear('consecutiveFailures')
latest('lastSuccessAt', now - age)
end
if failures > 0 then
local last = m.lastSuccessAt
if not last or math.max(now, last) - age >= last then
add('consecutiveFailures', failures)
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
local ENDED = 100
local function leaseOf(field)
local ends, length = (s[field] or ''):match('^(%S+) (%S+)$')
ends, length = finite(ends), finite(length)
if ends and length then return ends, length end
end
local function lease(token, max, leaseMs)
local out = 0
for field in pairs(s) do
if isLease(field) then
local ends, length = leaseOf(field)
if not ends or ends <= now or (length > 0 and ends - now > 2 * length) then
drop(field)
elseif length > 0 then
out = out + 1
end
end
end
local field = 'lease:' .. token
local ends, length = leaseOf(field)
if ends then return length > 0 end
if out >= max then return false end
put(field, text(now + leaseMs) .. ' ' .. text(leaseMs))
return true
end
local function endLease(token)
local ends, length = leaseOf('lease:' .. token)
if not ends or length == 0 then return end
put('lease:' .. token, text(ends) .. ' 0')
local count, first, firstEnds = 0, nil, nil
for field in pairs(s) do
if isLease(field) then
ends, length = leaseOf(field)
if length == 0 then
count = count + 1
if not first or ends < firstEnds then first, firstEnds = field, ends end
end
end
end
if count > ENDED then drop(first) end
end
local ok, moved = true, false
local function change(creates, apply)
ok = s.epoch or creates
if not ok then return end
if not s.epoch then create(1) end
if answered == nil then
lapse()
remember(apply())
end
ok = answered
end
if operation == 'record' then
local epoch, generation = ARGV[9], tonumber(ARGV[10])
local successes, failures, slow = tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[14])
change(true, function()
local mine = number('generation')
local current = epoch == s.epoch and generation == mine
if epoch == '' then current = generation == 0 and mine == 1 end
addTo('totals', successes, failures, slow)
add('totals.rejected', tonumber(ARGV[13]))
m.policyHash = ARGV[17]
if current and successes + failures > 0 then
count(successes, failures, slow, math.max(0, math.floor(ARGV[15])))
end
endLease(ARGV[16])
return current
end)
elseif operation == 'acquire' and s.epoch then
lapse()
moved = answered or false
if overridden() then
ok = s.override ~= 'forced_open'
elseif s.state ~= 'CLOSED' then
local left = (number('openUntil') or now) - now
if not moved and s.state == 'OPEN' and (left <= 0 or left > tonumber(ARGV[12])) then
keep('half_opened', 'HALF_OPEN')
put('state', 'HALF_OPEN')
put('reason', 'cooldown_passed')
advance()
moved = true
remember(true)
end
ok = s.state == 'HALF_OPEN' and lease(ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11]))
end
elseif operation == 'transition' then
local to, expects = ARGV[9], ARGV[14] ~= ''
change(not expects, function()
if expects and (ARGV[13] ~= s.epoch or tonumber(ARGV[14]) ~= number('generation')) then return false end
if ARGV[10] == 'closed' and of('halfOpen.failures') > 0 then return false end
keep(ARGV[10], to)
if to == 'OPEN' then
put('reopenCount', s.state == 'HALF_OPEN' and whole(s.reopenCount) + 1 or 0)
put('openedAt', now)
put('openUntil', now + ARGV[11])
else
if s.state ~= 'CLOSED' then put('closedAt', now) end
put('reopenCount', 0)
put('openUntil')
end
put('state', to)
put('reason', ARGV[12])
advance(to == 'CLOSED')
return true
end)
elseif operation == 'override' then
local kind, ends = ARGV[9], tonumber(ARGV[10])
change(kind ~= '', function()
if kind == '' and not overridden() then return false end
ends = ends and math.floor(ends - ARGV[2] + now)
keep(kind == '' and 'released' or kind, nil, nil, kind == '' and s.override or kind, ends)
lay(kind, ends, ARGV[11], ARGV[12])
return true
end)
elseif operation == 'restore' then
local before = s.epoch
change(true, function()
if before and ARGV[9] == 'keep' then return false end
local generation = math.max(number('generation'), ARGV[10]) + 1
keep('imported', ARGV[13]:sub(2), nil, nil, nil, generation, birth)
create(generation)
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
for i = first, #ARGV, 4 do
if m.start then gather(-1e15, m.start, counts('newest')) end
m.start, m['newest.successes'] = tonumber(shifted(ARGV[i])), tonumber(ARGV[i + 1])
m['newest.failures'], m['newest.slow'] = tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
end
policyHash = m.policyHash
return true
end)
end
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
local target = math.max(now, number('openUntil') or 0, number('override.until') or 0) + ttlMs
local extends = target > (number('expires') or 0)
if extends then put('expires', target + math.floor(ttlMs / 8)) end
remove(S, dropped)
local args, old = {}, {}
for field, value in pairs(set) do args[#args + 1], args[#args + 2] = field, value end
if #args > 0 then call('HSET', S, unpack(args)) end
args = {}
if remembers then
m.ids = of('ids') + 1
if m.ids % 16 == 0 then
local page = call('HSCAN', M, m.cursor or 0, 'MATCH', 'id:*', 'COUNT', 64)
m.cursor = tonumber(page[1])
for i = 1, #page[2], 2 do
if now - math.floor(whole(page[2][i + 1]) / 2) >= 60000 then old[#old + 1] = page[2][i] end
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
for _, key in ipairs(KEYS) do
if key == S and overridden() and not number('override.until') then
if renewed then call('PERSIST', S) end
elseif born[key] or (extends and not absent) then
call('PEXPIRE', key, text(number('expires') - now))
end
end
end
local answer = { ok and 1 or 0, moved and 1 or 0, now }
local function tell(found, before)
for field, value in pairs(found) do
local silent = field:sub(1, 4) == 'row:' and not hands
if not silent and not (isLease(field) and value:sub(-2) == ' 0') then
answer[#answer + 1], answer[#answer + 2] = (before or '') .. field, '=' .. text(value)
end
end
end
if s.epoch then
tell(m)
tell(s)
tell(released)
tell({ policyHash = policyHash or '', successes = good, failures = bad, slow = slow }, 'answer.')
if operation == 'dump' then
tell(fields(F), 'failures:')
tell(fields(W), 'successes:')
end
end
return answer`;

/** Its SHA-1, by which Redis knows it. */
export const SCRIPT_SHA1: string = "620b6fe42b5077207eff026c15998f91126bf518";
