// The bill of D1: requests, statements, and rows read and written.
import { assertEquals } from "@std/assert";
import type { Clock } from "@fuse/edge";
import { d1 } from "@fuse/edge/d1";
import { assertBilled, BILLS, costsOfTenCalls, meteredD1 } from "../../support/cloudflare/costs.ts";
import { cloudflareForFile } from "../../support/cloudflare/databases.ts";

const cloudflare = await cloudflareForFile();

for (const { name, options, audit, bill } of BILLS) {
  Deno.test(`d1() is billed no more than its page states for ${name}`, async () => {
    await cloudflare.ask("/migrate");
    const { db, costs } = meteredD1(cloudflare);
    const storeOf = (clock: Clock) => d1(db, { audit, clock });
    assertBilled(await costsOfTenCalls(storeOf, costs, options), bill);
  });
}

Deno.test("d1() is billed one row more where a segment of the time window begins", async () => {
  await cloudflare.ask("/migrate");
  const { db, costs } = meteredD1(cloudflare);
  // Each call waits for its record: two that become one would be billed less.
  const storeOf = (clock: Clock) => d1(db, { audit: "calls", clock });
  const options = { consistency: "strong", windowMs: 120_000 } as const;
  const { written: still } = await costsOfTenCalls(storeOf, costs, options);
  const { written: passing } = await costsOfTenCalls(storeOf, costs, options, 12_000);
  assertEquals(passing - still, 1);
});
