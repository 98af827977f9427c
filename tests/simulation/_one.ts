import { scenarioOf } from "./scenario.ts";
import { play } from "./fleet.ts";
const sc = scenarioOf(Number(Deno.args[0]));
const r = await play(sc, { trace: true });
console.log(JSON.stringify(sc.policy), JSON.stringify(sc.clocks), sc.latencyMs);
console.log(r.trace.join("\n"));
console.log(r.violation);
