// The bill of D1: requests, statements, and rows read and written.
import { d1 } from "@fuse/edge/d1";
import { assertBilled, BILLS, costsOfTenCalls, meteredD1 } from "../../support/cloudflare/costs.ts";
import { cloudflareForFile } from "../../support/cloudflare/databases.ts";

const cloudflare = await cloudflareForFile();

for (const { name, options, audit, bill } of BILLS) {
  Deno.test(`d1() is billed no more than its page states for ${name}`, async () => {
    await cloudflare.ask("/migrate");
    const { db, costs } = meteredD1(cloudflare);
    assertBilled(await costsOfTenCalls(d1(db, { audit }), costs, options), bill);
  });
}
