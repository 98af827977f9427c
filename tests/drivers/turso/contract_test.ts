// Turso's new engine passes the contract, with the same statements.
import { libsql } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { storeContract } from "@fuse/edge/testing";
import { scaled } from "../../support/scale.ts";
import { tursoInMemory } from "../../support/turso.ts";

for (const audit of ["transitions", "calls"] as const) {
  const client = await tursoInMemory();
  await migrate(client);
  const nth = audit === "calls" ? scaled(4, 1) : 1;
  for (
    const [i, { name, run }] of storeContract(({ clock }) => libsql({ client, clock, audit }))
      .entries()
  ) {
    Deno.test({
      name: `storeContract(Turso's engine, audit: ${audit}) ${name}`,
      ignore: i % nth !== 0,
      fn: run,
    });
  }
}
