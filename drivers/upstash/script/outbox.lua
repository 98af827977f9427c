-- The outbox: changes that wait in the state until the trail has them.

local COUNTED = {
  'consecutiveFailures', 'consecutiveSuccesses',
  'sinceClosed.failures', 'sinceClosed.successes', 'sinceClosed.slow',
  'totals.failures', 'totals.successes', 'totals.rejected', 'totals.slow',
  'halfOpen.successes', 'halfOpen.failures'
}
-- Adds a change to the outbox before it is made: its event, the state before, and the caller's
-- words. A full outbox drops its oldest row, and the next one counts it.
local function keep(event, to, began, said, kind, ends, generation, epoch)
  if words == '' then return end
  local rows, lives = {}, {}
  for field, value in pairs(s) do
    local of, life = field:match('^row:(%d+) %-?%d+ (.*)$')
    if of then
      local at = tonumber(value:match('^%S+ %S+ %S+ %S+ (%S+)')) or 0
      local row, first = { at, tonumber(of), life, field }, lives[life]
      rows[#rows + 1] = row
      if not first or at < first[1] or at == first[1] and row[2] < first[2] then lives[life] = row end
    end
  end
  if #rows >= 64 then
    -- Life by life, in the order in which they began: after a removal generations start again.
    for _, row in ipairs(rows) do
      local first = lives[row[3]]
      row[5] = ('%020.0f%020.0f%s %020.0f'):format(first[1], first[2], row[3], row[2])
    end
    table.sort(rows, function(a, b) return a[5] < b[5] end)
    local gone, after = rows[1][4], rows[2][4]
    local missed, rest = s[after]:match('^(%d+)(.*)$')
    put(after, text((missed or 0) + 1 + (s[gone]:match('^%d+') or 0)) .. (rest or ''))
    drop(gone)
  end
  local row = { 0, event, s.state, to or s.state, text(now), kind or '-', text(ends or '-') }
  for _, name in ipairs(COUNTED) do row[#row + 1] = text(of(name)) end
  row[#row + 1] = said or words
  generation = text(generation or number('generation') + 1)
  began = text(began or now)
  put('row:' .. generation .. ' ' .. began .. ' ' .. (epoch or s.epoch), table.concat(row, ' '))
end
