import { scenarioOf } from "./scenario.ts";
import { play } from "./fleet.ts";
import { OVERTAKING } from "./planted.ts";
for (const iso of [3, 6, 12, 30]) {
  for (const o of [OVERTAKING]) {
    const t: any = {};
    for (let s = 0; s < 400; s++) {
      const sc = scenarioOf(s, iso);
      if (sc.kind !== "healthy") continue;
      const r = await play(sc, o);
      const k = sc.policy.consistency! + sc.policy.failureThreshold!;
      const a = (t[k] ??= [0, 0, 0, 0, 0]);
      a[0] += r.opened;
      a[1] += r.exact;
      const ran = r.calls.filter((c) => c.ranAt !== null).length;
      a[2] += ran * (1 - sc.errorRate) * sc.errorRate ** sc.policy.failureThreshold!;
      a[3] += ran;
      if (r.violation) a[4]++;
    }
    console.log(iso, t);
  }
}
