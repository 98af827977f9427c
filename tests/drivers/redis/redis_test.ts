// Options of redis(), what it sends, and its database beside that of upstash().
import { assertEquals, assertThrows } from "@std/assert";
import { createFuse } from "@fuse/edge";
import type { RedisClientLike, RedisOptions } from "@fuse/edge/redis";
import { Redis } from "ioredis";
import { redis } from "../../support/drivers.ts";
import { face, freshPrefix, read, record, redis as server } from "../upstash/store.ts";
import { upstash } from "../../support/drivers.ts";
import { CLIENTS } from "./clients.ts";

const NOTHING: RedisClientLike = { call: () => Promise.resolve(null) };

Deno.test("redis() refuses invalid options, naming the option, what came and what is allowed", () => {
  const refused: [unknown, unknown, string][] = [
    [NOTHING, { prefix: "" }, '"prefix" must be a text of 1-200 characters, received ""'],
    [NOTHING, { ttlMs: 0 }, '"ttlMs" must be a positive integer, received 0'],
    [NOTHING, { clock: 5 }, '"clock" must be a function, received 5'],
    [NOTHING, { url: "redis://h" }, 'there is no option "url", only prefix, ttlMs, clock'],
    [NOTHING, null, '"options" must be an object'],
    [{}, {}, '"client" must be a client of ioredis or node-redis, or a function that gives one'],
    ["redis://:hunter2@h", {}, "function that gives one, received a string"],
    [undefined, {}, "received undefined"],
    [null, {}, "received null"],
  ];
  for (const [client, options, message] of refused) {
    assertThrows(
      () => redis(client as RedisClientLike, options as RedisOptions),
      Error,
      `Cannot create redis store: `,
    );
    assertThrows(() => redis(client as RedisClientLike, options as RedisOptions), Error, message);
  }
});

Deno.test("redis() refuses a client that adds a prefix to keys", () => {
  const client = new Redis({ lazyConnect: true, keyPrefix: "app:" });
  assertThrows(() => redis(client), TypeError, '"client" must have no "keyPrefix"');
});

Deno.test("redis() sends nothing when it is created, and calls a client function at each request", async () => {
  let asked = 0;
  await using connected = await CLIENTS.ioredis!(server.url);
  const store = redis(() => (asked++, connected.client), { prefix: freshPrefix() });
  assertEquals([store.name, store.traits.shared, asked], ["redis", true, 0]);
  assertEquals((await read(store, "a")).totals.failures, 0);
  await record(store, "a", { failures: 1 });
  assertEquals(asked, 2);
});

for (const [name, connect] of Object.entries(CLIENTS)) {
  Deno.test(`redis() on ${name} sends all operations that start together before the first answer`, async () => {
    await using connected = await connect(server.url);
    const { client, sent } = counting(connected.client);
    const store = redis(client, { prefix: freshPrefix() });
    const all = Array.from({ length: 20 }, (_, i) => `circuit-${i}`);
    // A circuit that was never read would need the indexes in a separate request.
    for (const key of all) await read(store, key);
    sent.splice(0);
    await server.command("SCRIPT", "FLUSH");
    const write = () =>
      store.together!(() => Promise.all(all.map((key) => record(store, key, { failures: 1 }))));
    await write();
    // Redis refuses all of them at first. The first sends the script, and the rest follow.
    assertEquals(
      sent.splice(0),
      [...Array(20).fill("EVALSHA 20"), "EVALSHA 1", "EVAL 1"].concat(
        Array(19).fill("EVALSHA 19"),
      ),
    );
    await write();
    assertEquals(sent, Array(20).fill("EVALSHA 20"));
    assertEquals((await read(store, "circuit-3")).totals.failures, 2);
  });

  Deno.test(`redis() on ${name} shares circuits with upstash() on the same database`, async () => {
    await using connected = await connect(server.url);
    const prefix = freshPrefix();
    await using here = createFuse({ stores: { cache: redis(connected.client, { prefix }) } });
    await using there = createFuse({
      stores: { cache: upstash({ url: face.url, token: face.token, prefix }) },
    });
    const down = () => Promise.reject(new Error("down"));
    await here.make("api", { failureThreshold: 1 }).tryCall(down);
    await here.flush();
    assertEquals(await there.make("api").getState(), "OPEN");
    assertEquals((await here.exportState()).circuits.length, 1);
    await there.make("api").reset();
    assertEquals(await here.make("api").getState(), "CLOSED");
  });

  Deno.test(`record() over ${name} takes five Redis commands, and sends one of them`, async () => {
    await using connected = await connect(server.url);
    const { client, sent } = counting(connected.client);
    const store = redis(client, { prefix: freshPrefix() });
    await record(store, "a", { successes: 1 });
    sent.length = 0;
    // The server's clock may pass into the next segment: of three, two fall into one.
    const counts = [];
    for (let i = 0; i < 3; i++) {
      const before = await server.commandCalls();
      await record(store, "a", { successes: 1 });
      counts.push(await server.commandCalls() - before);
    }
    assertEquals([Math.min(...counts), sent], [5, Array(3).fill("EVALSHA 1")]);
  });
}

/** A client that notes each command, and the number that were sent before the first answer. */
function counting(client: RedisClientLike): { client: RedisClientLike; sent: string[] } {
  const sent: string[] = [];
  let flight: { command: string; at: number }[] = [];
  const settle = () => {
    for (const { command, at } of flight) sent[at] = `${command} ${flight.length}`;
    flight = [];
  };
  return {
    sent,
    client: {
      async call(...command) {
        flight.push({ command: command[0], at: sent.push("on its way") - 1 });
        try {
          return await ("call" in client ? client.call(...command) : client.sendCommand(command));
        } finally {
          settle();
        }
      },
    },
  };
}
