// Cursors from another store: they come back in addresses, which people keep when the store is
// replaced.
import { assertEquals } from "@std/assert";
import { DRIVERS } from "../support/fuzz_drivers.ts";

const FOREIGN = ["another's", "{}", "null", '["","x",""]', "999:", "1e309"];

for (const driver of DRIVERS) {
  Deno.test(`list() returns a page when the cursor comes from another store (${driver.name})`, async () => {
    await using world = await driver.open();
    for (const cursor of FOREIGN) {
      const shape = () => ({ windowMs: 120_000, windowSize: 0 });
      const page = await world.store.list({ cursor, limit: 100, at: Date.now(), shape });
      assertEquals(page.records, []);
    }
  });
}
