import { createClient } from "@libsql/client";
import { migrate } from "@fuse/edge/migrations";
import { libsql } from "@fuse/edge/libsql";
import { chaos, storeContract } from "@fuse/edge/testing";
const memory = createClient({ url: ":memory:" });
await migrate(memory);
const opts = Deno.args.includes("calls") ? { audit: "calls" as const } : {};
let bad = 0, n = 0;
for (const wrap of [(s: any) => s, (s: any) => chaos(s, { duplicateRate: 1 })]) {
  for (
    const { name, run } of storeContract(({ clock }) =>
      wrap(libsql({ client: memory, clock, ...opts }))
    )
  ) {
    n++;
    try {
      await run();
    } catch (e) {
      bad++;
      if (bad < 12) console.log(name, "=>", (e as Error).message);
    }
  }
}
console.log(n, bad);
