import { createClient } from "@libsql/client";
import { migrate } from "@fuse/edge/migrations";
import { libsql } from "@fuse/edge/libsql";
const memory = createClient({ url: ":memory:" });
await migrate(memory);
const client = {
  execute: (s: any) =>
    memory.execute(s).catch((e) => {
      console.log(e.message, s.sql);
      throw e;
    }),
  batch: async (ss: any, m: any) => {
    try {
      return await memory.batch(ss, m);
    } catch (e) {
      console.log((e as Error).message);
      throw e;
    }
  },
};
const s = libsql({ client: client as any });
const shape = { windowMs: 1000, windowSize: 10 };
console.log(await s.read("a", { shape, at: 0 }));
await s.record("a", {
  id: "x",
  at: 0,
  shape,
  epoch: "",
  generation: 0,
  successes: 1,
  failures: 0,
  rejected: 0,
  slow: 0,
  ageMs: 0,
  lease: null,
  policyHash: "",
});
