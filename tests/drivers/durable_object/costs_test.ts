// The bill of Durable Objects: requests, statements, and rows read and written.
import { assertEquals } from "@std/assert";
import { durableObject } from "@fuse/edge/durable-object";
import { BILLS, costsOfTenCalls, meteredObjects } from "../../support/cloudflare/costs.ts";
import { cloudflareForFile } from "../../support/cloudflare/databases.ts";

const cloudflare = await cloudflareForFile();

for (const { name, options, audit, bill } of BILLS) {
  Deno.test(`durableObject() is billed no more than its page says for ${name}`, async () => {
    const { namespace, costs } = meteredObjects(cloudflare);
    const store = durableObject(namespace, { audit });
    const { read, ...exact } = await costsOfTenCalls(store, costs, options);
    // Rows read depend on what the tables hold already.
    assertEquals({ ...exact, read: Math.max(read, bill.read) }, { ...bill });
  });
}
