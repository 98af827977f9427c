/**
 * Mutants of the script that no test can detect, or that none should.
 *
 * @module
 */
import { because, type Explained } from "./mutant.ts";

/** Mutants of the Lua in `drivers/upstash/script/`. */
export const LUA: readonly Explained[] = [
  ...because("nobody reads what confirm() answers", [
    ["", "return { 1, 0, 0 }", "return { 2, 0, 0 }"],
    ["", "return { 1, 0, 0 }", "return { 1, 1, 0 }"],
    ["", "eturn { 1, 0, 0 }", "eturn { 1, 0, 1 }"],
  ]),
  ...because("a list of fields and values has an even length", [
    ["'HSET', key", "if #args > 0 then call('HS", "if #args > 1 then call('HS"],
    ["", "ound, #flat > 0", "ound, #flat > 1"],
    [
      "if #args > 0 then call('HSET', S, unpack",
      "if #args > 0 then call('HS",
      "if #args > 1 then call('HS",
    ],
    [
      "if #args > 0 then call('HSET', M, unpack",
      "if #args > 0 then call('HS",
      "if #args > 1 then call('HS",
    ],
  ]),
  ...because("only nil and false are not true", [
    ["", "t ({ CLOSED = 1, OPEN = 1, HA", "t ({ CLOSED = 2, OPEN = 1, HA"],
    ["", "D = 1, OPEN = 1, HALF_OPEN =", "D = 1, OPEN = 2, HALF_OPEN ="],
    ["", ", HALF_OPEN = 1 })[s.state] t", ", HALF_OPEN = 2 })[s.state] t"],
    ["", "forced_open = 1, forced_close", "forced_open = 2, forced_close"],
    ["", "rced_closed = 1, disabled = 1", "rced_closed = 2, disabled = 1"],
    ["", "1, disabled = 1, metrics_only", "1, disabled = 2, metrics_only"],
    ["", "etrics_only = 1 }", "etrics_only = 2 }"],
  ]),
  ...because("no count comes near", [
    ["", "math.abs(n) <= 9007199254740991", "(math.abs(n) < 9007199254740991)"],
    [
      "",
      "ath.abs(n) <= 9007199254740991 and n or nil",
      "ath.abs(n) <= 9007199254740992 and n or nil",
    ],
  ]),
  ...because("an absent circuit has no epoch that could be the same", [
    ["", "not absent and held[1] == s.epoch", "held[1] == s.epoch"],
  ]),
  ...because("false is told as the empty text, and reads as nothing", [
    ["", "held[i] or nil", "held[i]"],
  ]),
  ...because("4 is `since`: renew() lets go of a spoilt one", [
    ["", "if i > 3 and (m[name]", "if i > 4 and (m[name]"],
  ]),
  ...because("nothing and 0 read alike", [
    ["", "d (m[name] or 0) < 0 and (nam", "d (m[name] or 1) < 0 and (nam"],
    ["", "name] or 0) < 0 and (name:fin", "name] or 0) < 1 and (name:fin"],
  ]),
  ...because("no two are alike by then", [
    ["", "a[2] < b[2]", "(a[2] <= b[2])"],
    ["", "row[2] < first[2]", "(row[2] <= first[2])"],
    ["", "x[1] < y[1]", "(x[1] <= y[1])"],
    ["", "x[2] < y[2]", "(x[2] <= y[2])"],
    ["", "a[3] < b[3]", "(a[3] <= b[3])"],
  ]),
  ...because("says only where a spoilt row comes", [
    ["", "+ (%S+)')) or 0", "+ (%S+)')) or 1"],
  ]),
  ...because("how seldom is a matter of cost", [
    ["", "rges and 0 or 20) then remove(", "rges and 0 or 21) then remove("],
    ["", "if m.ids % 16 == 0 then", "if m.ids % 17 == 0 then"],
    ["", "m.ids % 16 == 0 then", "m.ids % 16 == 1 then"],
  ]),
  ...because("slow calls stand in the other hash: nobody sums them up here", [
    ["", "t, successes, 0, purges) end", "t, successes, 1, purges) end"],
  ]),
  ...because("less by less than any segment's length", [
    ["", "ter = start - 1", "ter = start - 2"],
  ]),
  ...because("what is booked at the very edge is taken out again in the same step", [
    ["", "start <= moment - windowMs", "(start < moment - windowMs)"],
  ]),
  ...because("they are unequal by then", [
    ["", "start < m.start", "(start <= m.start)"],
  ]),
  ...because("as late is the same moment", [
    ["", "before > ended", "(before >= ended)"],
  ]),
  ...because("slow trials have no field: it is not kept", [
    ["", "es, failures, 0) end", "es, failures, 1) end"],
  ]),
  ...because("a lease of 1 ms is over", [
    ["", "turn length > 0 end", "turn length > 1 end"],
    ["", "or (length > 0 and ends - no", "or (length > 1 and ends - no"],
    ["", "seif length > 0 then", "seif length > 1 then"],
    ["", "or length == 0 then return e", "or length == 1 then return e"],
  ]),
  ...because("too few other fields could look like one", [
    ["if isLease(field) then", "isLease(field)", "true"],
  ]),
  ...because("of two that end together either may go", [
    ["", "ends < firstEnds", "(ends <= firstEnds)"],
  ]),
  ...because("nothing is told as false is", [
    ["", "answered or false", "answered"],
  ]),
  ...because("the empty text reads as nothing, and that as 0", [
    [
      "",
      "s.state == 'HALF_OPEN' and whole(s.reopenCount) + 1 or 0",
      "s.state == 'HALF_OPEN' and whole(s.reopenCount) + 1",
    ],
  ]),
  ...because("it is kept as text either way", [
    ["", "field ~= 'policyHash' and tonumber(value) or value", "value"],
  ]),
  ...because("nothing is summed up before the first", [
    ["", "m.start", "true"],
  ]),
  ...because("long before any segment", [
    ["", "then gather(-1e15, m.start, cou", "then gather(-1000000000000001, m.start, cou"],
  ]),
  ...because("a clock shows more", [
    ["", "penUntil') or 0, number('over", "penUntil') or 1, number('over"],
    ["", "de.until') or 0) + ttlMs", "de.until') or 1) + ttlMs"],
    ["", "'expires') or 0)", "'expires') or 1)"],
  ]),
  ...because("how much longer a TTL is than asked is a matter of cost", [
    ["", "floor(ttlMs / 8)) end", "floor(ttlMs / 9)) end"],
  ]),
  ...because("how many at once is a matter of cost", [
    ["", ":*', 'COUNT', 64)", ":*', 'COUNT', 65)"],
  ]),
  ...because("a millisecond later, or up to 16 requests", [
    ["", "+ 1]) / 2) >= 60000 then old[#old", "+ 1]) / 2) >= 60001 then old[#old"],
    [
      "",
      "now - math.floor(whole(page[2][i + 1]) / 2) >= 60000",
      "(now - math.floor(whole(page[2][i + 1]) / 2) > 60000)",
    ],
  ]),
  ...because("Redis tells true as 1, and the client takes nothing as 0", [
    ["", "ok and 1", "ok"],
    ["", "ok and 1 or 0", "ok and 1"],
    ["", "moved and 1", "moved"],
    ["", "moved and 1 or 0", "moved and 1"],
  ]),
  ...because("what is not told reads as the empty text", [
    ["", "policyHash or ''", "policyHash"],
  ]),
  ...because("the last pair begins two before the contents", [
    ["", "= 12, first - 1, 2 do", "= 12, first - 2, 2 do"],
  ]),
  ...because("as far back as before: sums up the same again", [
    ["", "m.after > after", "(m.after >= after)"],
  ]),
  ...because("a millisecond later", [
    ["", "(known / 2) < 60000 then answered", "(known / 2) < 60001 then answered"],
    ["", "now - math.floor(known / 2) < 60000", "(now - math.floor(known / 2) <= 60000)"],
  ]),
  ...because("where the first look begins is a matter of cost", [
    ["", ", m.cursor or 0, 'MATCH', 'id", ", m.cursor or 1, 'MATCH', 'id"],
  ]),
  ...because("one of them twice is no harm", [
    ["", "math.min(i + 999, #list))) end", "math.min(i + 1000, #list))) end"],
  ]),
  ...because("no name begins with a dot", [
    ["", "ame:find('.', 1, true)) then", "ame:find('.', 2, true)) then"],
  ]),
  ...because("ending twice is ending once", [
    ["", "not ends or length == 0", "not ends"],
  ]),
  ...because("false reads as nothing does", [
    [
      "",
      "n and n % 1 == 0 and math.abs(n) <= 9007199254740991 and n or nil",
      "n and n % 1 == 0 and math.abs(n) <= 9007199254740991 and n",
    ],
  ]),
  ...because("who only reads adds 0, and that is left out", [
    [
      "",
      "start and { [text(start)] = n, ['s' .. text(start)] = slow }",
      "{ [text(start)] = n, ['s' .. text(start)] = slow }",
    ],
  ]),
  ...because("to remove what is not there is no harm, and seldom a command more", [
    ["", "purges and found[field]", "purges"],
  ]),
];
