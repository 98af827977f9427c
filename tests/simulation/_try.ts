import { scenarioOf } from "./scenario.ts";
import { play } from "./fleet.ts";
const from = Number(Deno.args[0] ?? 0), n = Number(Deno.args[1] ?? 100);
const by = new Map<string, [number, number, number, number]>();
const bad: string[] = [];
const agg: Record<string, any> = {};
for (let s = from; s < from + n; s++) {
  const sc = scenarioOf(s);
  const t = performance.now();
  let r;
  r = await play(sc);
  const ms = performance.now() - t;
  const b = by.get(sc.kind) ?? [0, 0, 0, 0];
  b[0]++;
  b[1] += ms;
  b[2] += r.calls.length;
  b[3] += r.requests;
  by.set(sc.kind, b);
  if (sc.kind === "healthy") {
    const k = sc.policy.consistency!;
    agg[k] ??= [0, 0, 0];
    agg[k][0] += r.opened;
    agg[k][1] += r.exact;
    agg[k][2] += r.calls.length;
  }
  if (r.violation) {
    bad.push(
      `${s} ${sc.kind} ${sc.policy.consistency} ${r.violation.invariant}: ${r.violation.message}`,
    );
  }
}
console.log(by, agg);
console.log(bad.length);
console.log(bad.slice(0, 30).join("\n"));
