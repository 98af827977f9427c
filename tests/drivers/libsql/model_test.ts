/**
 * The sessions of `fleet/model/model_test.ts` on real databases: fewer, because each request is
 * real.
 */
import { assertEquals } from "@std/assert";
import { check } from "../../fleet/model/verify.ts";
import { busy } from "../../support/busy.ts";
import { databasesForFile } from "../../support/databases.ts";
import { libsql } from "../../support/drivers.ts";

const storeTimeoutMs = 30_000;

for (const { name, connect } of await databasesForFile()) {
  const client = connect();
  addEventListener("unload", () => client.close());
  const share = name === "file" ? 1 / 25 : 1 / 75;
  /** All sessions share one circuit, which is removed before each; its chain continues. */
  const forget = async () => {
    const store = libsql({ client });
    assertEquals((await store.verifyTrail()).brokenAt, null);
    await store.remove("model");
  };

  Deno.test(`CircuitBreaker() agrees with the model when strong over libsql on ${name}`, async () => {
    await check({ alone: false, clockGoesBack: true, share }, async (clock) => {
      await forget();
      return {
        ...busy(libsql({ client, clock: clock.now })),
        options: { consistency: "strong" },
        agreement: "exact",
        settle: true,
        storeTimeoutMs,
      };
    });
  });

  Deno.test(`CircuitBreaker() accounts for every call when eventual over libsql on ${name}`, async () => {
    await check({ alone: false, clockGoesBack: false, share }, async (clock) => {
      await forget();
      return {
        ...busy(libsql({ client, clock: clock.now })),
        options: { consistency: "eventual", flushSize: 4 },
        agreement: "settled",
        storeTimeoutMs,
      };
    });
  });
}
