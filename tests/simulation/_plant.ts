import { scenarioOf } from "./scenario.ts";
import { play } from "./fleet.ts";
import { PLANTED } from "./planted.ts";
import { shrink } from "./shrink.ts";
for (const p of PLANTED) {
  let found = -1, tried = 0;
  const others: Record<string, number> = {};
  const t = performance.now();
  let sc, v;
  for (let s = 0; s < 400; s++) {
    sc = scenarioOf(s);
    if (!p.kinds.includes(sc.kind) || sc.clocks.length > 12) continue;
    tried++;
    const r = await play(sc, p.options);
    v = r.violation;
    if (v?.invariant === p.invariant) {
      found = s;
      break;
    }
    if (v) {
      others[v.invariant + ": " + v.message.slice(0, 80)] =
        (others[v.invariant + ": " + v.message.slice(0, 80)] ?? 0) + 1;
    }
  }
  const ms = performance.now() - t;
  console.log(
    p.invariant,
    "|",
    p.mistake,
    "| seed",
    found,
    "tried",
    tried,
    ms.toFixed(0) + "ms",
    v?.message.slice(0, 120),
    JSON.stringify(others).slice(0, 400),
  );
  if (found >= 0) {
    const t = performance.now();
    const m = await shrink({ scenario: sc!, violation: v! }, p.options);
    console.log(
      "   shrunk",
      sc!.steps.length,
      "->",
      m.scenario.steps.length,
      (performance.now() - t).toFixed(0) + "ms",
      m.violation.message.slice(0, 100),
    );
  }
}
