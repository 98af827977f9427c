import { createClient } from "@libsql/client";
import { migrate } from "@fuse/edge/migrations";
import { answersAsMemory } from "../../support/twin.ts";
import { libsql } from "../../support/drivers.ts";

Deno.test("libsql() answers as memory() does to random requests", async () => {
  const client = createClient({ url: ":memory:" });
  await migrate(client);
  try {
    await answersAsMemory((clock) => libsql({ client, clock }), { forgets: false });
  } finally {
    client.close();
  }
});
