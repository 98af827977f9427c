// A real database with partial failures: their effect on a dead upstream and on other circuits.
import { assert, assertEquals, assertLessOrEqual, assertRejects } from "@std/assert";
import { type Client, createClient } from "@libsql/client";
import type { LibsqlClient } from "@fuse/edge/libsql";
import { isStoreAnswerError } from "../../../src/errors.ts";
import { inMemory } from "../../support/databases.ts";
import { libsql } from "../../support/drivers.ts";
import { troubled } from "../../support/troubled_isolate.ts";
import { request } from "./store.ts";

const THRESHOLD = 3;
const POLICY = { failureThreshold: THRESHOLD, cooldownMs: 60_000 };
/**
 * The number of calls that a dead upstream may receive in its first cooldown, whatever the store
 * does.
 */
const MOST = 2 * THRESHOLD + 2;

function isolate(client: LibsqlClient, options: Parameters<typeof troubled>[1] = {}) {
  return troubled((clock) => libsql({ client, clock: clock.now }), options);
}

/** A client, and the number of requests through it. */
function counted(client: Client) {
  const counter = {
    requests: 0,
    execute: (statement: Parameters<LibsqlClient["execute"]>[0]) => {
      counter.requests++;
      return client.execute(statement);
    },
    batch: (...args: Parameters<LibsqlClient["batch"]>) => {
      counter.requests++;
      return client.batch(...args);
    },
  };
  return counter;
}

for (const consistency of ["eventual", "strong"] as const) {
  Deno.test(`CircuitBreaker() protects a dead upstream when the database refuses writes (trap 45, ${consistency})`, async () => {
    await inMemory(async (client) => {
      const here = isolate(client);
      const circuit = { ...POLICY, consistency };
      await here.fuse.make("a", circuit).call(() => "ok");
      await here.fuse.flush();
      await client.execute("pragma query_only = 1");
      assertLessOrEqual(await here.callDead("a", 12, circuit), MOST);
      const { cause } = await assertRejects(() => here.fuse.make("a").reset(), Error, "refuses");
      assert(isStoreAnswerError(cause) && cause.message.includes("refuses writes"), `${cause}`);

      await client.execute("pragma query_only = 0");
      here.clock.advance(10_000);
      assertEquals(await here.callDead("a", 2, circuit), 0);
      await here.fuse.flush();
      const store = libsql({ client, clock: here.clock.now });
      assertEquals((await store.read("a", request())).state, "OPEN");
    });
  });
}

Deno.test("CircuitBreaker() shares all circuits except the one whose row is invalid (trap 47)", async () => {
  await inMemory(async (client) => {
    const here = isolate(client, { defaults: { onStoreError: "reject" } });
    const [good, bad] = [here.fuse.make("good"), here.fuse.make("bad")];
    await bad.call(() => "ok");
    await here.fuse.flush();
    // The row's own data causes the refusal, as a constraint of the user's does.
    await client.execute(
      "create trigger spoilt before update on circuit_breakers when old.key = 'bad' " +
        "begin select raise(abort, 'not this one'); end",
    );
    for (let i = 0; i < 50; i++) {
      await bad.tryCall(() => "whatever becomes of it");
      assertEquals(await good.call(() => i), i);
      await here.settled();
      here.clock.advance(100);
    }
    await here.fuse.flush();
    const store = libsql({ client, clock: here.clock.now });
    assertEquals((await store.read("good", request())).totals.successes, 50);
    const [error] = here.told("store_error") as { circuit?: { name: string } }[];
    assertEquals(error?.circuit?.name, "bad");
  });
});

Deno.test("one circuit at a time asks a database without tables, and the error names the cause (trap 66)", async () => {
  const client = createClient({ url: ":memory:" });
  const counter = counted(client);
  const here = isolate(counter);
  const breakers = Array.from({ length: 200 }, (_, i) => here.fuse.make(`c${i}`));
  for (const breaker of breakers) await breaker.call(() => "ok");
  await here.settled();
  counter.requests = 0;
  for (let second = 0; second < 30; second++) {
    for (const breaker of breakers) await breaker.call(() => "ok");
    await here.settled();
    here.clock.advance(1_000);
  }
  // Requests of two kinds, each after 0.5, 1, 2, 4 and 8 s at the earliest.
  assertLessOrEqual(counter.requests, 2 * 6);
  const { cause } = await assertRejects(() => here.fuse.make("c0").forceOpen(), Error);
  assert(`${(cause as Error).message}`.includes("migrate"), `${cause}`);
  client.close();
});
