-- Leases of trials.

-- A lease: its end and its length, which is 0 once its trial has ended. The token is remembered for
-- this long, so that a late request does not take the slot again; and at most this many tokens.
local ENDED = 100
local function leaseOf(field)
  local ends, length = (s[field] or ''):match('^(%S+) (%S+)$')
  return whole(field, ends or s[field]), whole(field, length)
end
local function lease(token, max, leaseMs)
  local out = 0
  for field in pairs(s) do
    if isLease(field) then
      local ends, length = leaseOf(field)
      if ends <= now or (length > 0 and ends - now > 2 * length) then
        -- Expired, or granted before the clock was set back.
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
