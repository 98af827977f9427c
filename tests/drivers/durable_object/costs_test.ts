// The bill of Durable Objects: requests, statements, and rows read and written.
import type { Clock } from "@fuse/edge";
import { durableObject } from "@fuse/edge/durable-object";
import {
  assertBilled,
  BILLS,
  costsOfTenCalls,
  meteredObjects,
} from "../../support/cloudflare/costs.ts";
import { cloudflareForFile } from "../../support/cloudflare/databases.ts";

const cloudflare = await cloudflareForFile();

for (const { name, options, audit, bill } of BILLS) {
  Deno.test(`durableObject() is billed no more than its page states for ${name}`, async () => {
    const { namespace, costs } = meteredObjects(cloudflare);
    const storeOf = (clock: Clock) => durableObject(namespace, { audit, clock });
    assertBilled(await costsOfTenCalls(storeOf, costs, options), bill);
  });
}
