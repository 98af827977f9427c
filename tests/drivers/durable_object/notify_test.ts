// Cursors of drain() on Cloudflare's own databases.
import { assertEquals } from "@std/assert";
import { createFuse, type Store } from "@fuse/edge";
import { d1 } from "@fuse/edge/d1";
import { durableObject, type NamespaceLike } from "@fuse/edge/durable-object";
import { cloudflareForFile } from "../../support/cloudflare/databases.ts";
import { notify } from "@fuse/edge/notify";
import { channel } from "../../support/notices.ts";

const cloudflare = await cloudflareForFile();

const database = d1({
  prepare: (sql) => ({ bind: (...args) => ({ sql, args }) }),
  async batch(statements) {
    const results = await cloudflare.ask<{ rows: unknown }[]>("/bound", statements);
    return results.map(({ rows }) => ({ results: rows }));
  },
});
const own = crypto.randomUUID();
const objects: NamespaceLike = {
  idFromName: (name) => `${own} ${name}`,
  get: (id) => cloudflare.objects.get(id),
};
const STORES: Record<string, Store> = {
  "d1()": database,
  "durableObject() of three shards": durableObject(objects, { shards: 3 }),
};

for (const [name, store] of Object.entries(STORES)) {
  Deno.test(`drain() sends the notices of the trail of ${name}, each of them once`, async () => {
    await cloudflare.ask("/migrate");
    const isolate = () => createFuse({ stores: { store }, storeTimeoutMs: 30_000 });
    const { tell, notices } = channel();
    const names = Array.from({ length: 9 }, (_, i) => `c${i}`);
    const dead = isolate();
    for (const circuit of names) await dead.make(circuit).forceOpen();
    const fuse = isolate();
    const { drain } = notify(fuse, { channels: [tell] });
    assertEquals(await drain(), 9);
    assertEquals(notices.map(({ circuit }) => circuit).sort(), names);
    for (const circuit of names) await fuse.make(circuit).release();
    await fuse.flush();
    assertEquals([notices.length, await drain()], [18, 0]);
    const { drain: again } = notify(isolate(), { channels: [tell] });
    assertEquals(await again(), 0);
  });
}
