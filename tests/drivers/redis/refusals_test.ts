// Refusals of Redis over TCP, with each client: which circuits they concern, and what the error
// says.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { createFuse } from "@fuse/edge";
import type { RedisClientLike } from "@fuse/edge/redis";
import type { StoreAnswerError } from "@fuse/edge/store";
import { isStoreAnswerError } from "../../../src/errors.ts";
import { type OpeningStore, redis } from "../../support/drivers.ts";
import { type RedisServer, startRedis } from "../../support/redis_server.ts";
import { CLIENTS } from "./clients.ts";
import { read, record } from "../upstash/store.ts";

type Scope = "circuit" | "store";

async function refused(ask: () => unknown, scope: Scope, said: string): Promise<void> {
  const error: Error = await assertRejects(async () => await ask(), Error);
  assert(isStoreAnswerError(error), Deno.inspect(error));
  assertEquals((error as StoreAnswerError).scope, scope, error.message);
  assert(error.message.startsWith("Redis: "), error.message);
  assert(error.message.includes(said), error.message);
}

const write = (store: OpeningStore) => record(store, "a", { failures: 1 });
const check = (store: OpeningStore) => store.check!();
const writeTwo = (store: OpeningStore) =>
  store.together!(() => Promise.all([write(store), write(store)]));

for (const [name, connect] of Object.entries(CLIENTS)) {
  const refusal = (
    what: string,
    config: Readonly<Record<string, string>>,
    test: (server: RedisServer, store: OpeningStore, client: RedisClientLike) => Promise<void>,
    password = "",
  ) =>
    Deno.test(`redis() on ${name} ${what}`, async () => {
      await using server = await startRedis({ config });
      if (password) await server.command("CONFIG", "SET", "requirepass", password);
      await using connected = await connect(server.url.replace("//", `//:${password}@`));
      await test(server, redis(connected.client), connected.client);
    });

  refusal("is refused all writes without memory, and goes on reading", {
    "maxmemory-policy": "noeviction",
  }, async (server, store) => {
    await write(store);
    await server.command("CONFIG", "SET", "maxmemory", "1");
    for (const ask of [write, check, writeTwo]) {
      await refused(() => ask(store), "store", "OOM command not allowed");
    }
    assertEquals((await read(store, "a")).totals.failures, 1);
  });

  refusal("is refused all writes by a replica", {}, async (server, store) => {
    await server.command("REPLICAOF", "127.0.0.1", "1");
    for (const ask of [write, check, writeTwo]) {
      await refused(() => ask(store), "store", "READONLY You can't write against a read only");
    }
  });

  refusal("is refused all circuits while a script runs", {
    "busy-reply-threshold": "1",
  }, async (server, store) => {
    const endless = assertRejects(() => server.command("EVAL", "while true do end", "0"));
    while (await server.command("PING").then(() => true, () => false));
    await refused(() => write(store), "store", "BUSY Redis is busy running a script");
    await server.command("SCRIPT", "KILL");
    await endless;
  });

  refusal("is refused all circuits by a cluster, which spreads a circuit over nodes", {
    "cluster-enabled": "yes",
  }, async (server, store) => {
    for (const ask of [write, check]) await refused(() => ask(store), "store", "CLUSTERDOWN");
    await server.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383");
    while (!`${await server.command("CLUSTER", "INFO")}`.includes("cluster_state:ok"));
    for (const ask of [write, writeTwo]) await refused(() => ask(store), "store", "CROSSSLOT");
  });

  refusal("is refused all circuits without a login", {}, async (_, store, client) => {
    await write(store);
    // The connection loses its authentication.
    await ("call" in client ? client.call("RESET") : client.sendCommand(["RESET"]));
    // Redis accepts no command of that length without authentication, and its text differs from
    // NOAUTH.
    await refused(() => write(store), "store", "ERR Protocol error: unauthenticated");
  }, "hunter2");

  refusal("is refused one circuit whose key is somebody else's", {}, async (server, store) => {
    await server.command("SET", "circuit_breaker:a:state", "not ours");
    for (const ask of [write, writeTwo]) await refused(() => ask(store), "circuit", "WRONGTYPE");
    await record(store, "b", { successes: 1 });
  });

  refusal("does not take a server that is away for one that refuses", {}, async (server, store) => {
    await write(store);
    await server.kill();
    for (const ask of [write, check, writeTwo]) {
      const error: Error = await assertRejects(async () => await ask(store), Error);
      assert(!isStoreAnswerError(error), Deno.inspect(error));
      assert(!Deno.inspect(error).includes("hunter2"), Deno.inspect(error));
    }
  }, "hunter2");

  refusal("rejects calls by its deadline while the server hangs, and finds back", {}, async (
    server,
    store,
  ) => {
    const fuse = createFuse({ stores: { cache: store }, storeTimeoutMs: 50 });
    const circuit = fuse.make("a", { failureThreshold: 1 });
    server.pause();
    assertEquals(await circuit.call(() => "runs all the same"), "runs all the same");
    assertEquals((await fuse.check()).cache?.ok, false);
    server.resume();
    // Redis answers the abandoned commands before this one.
    await check(store);
    await fuse.flush();
  });
}

/** Errors of Redis that cannot be provoked here, as both libraries throw them. */
const SAID: readonly [message: string, scope: Scope, shown: string][] = [
  ["LOADING Redis is loading the dataset in memory", "store", "LOADING"],
  ["NOAUTH Authentication required.", "store", "NOAUTH"],
  ["NOREPLICAS Not enough good replicas to write.", "store", "NOREPLICAS"],
  ["MASTERDOWN Link with MASTER is down", "store", "MASTERDOWN"],
  ["MOVED 3999 10.9.8.7:6381", "store", "MOVED 3999 …"],
  ["ASK 3999 10.9.8.7:6381", "store", "ASK 3999 …"],
  ["TRYAGAIN Multiple keys request during rehashing of slot", "store", "TRYAGAIN"],
  ["ERR something about this circuit", "circuit", "ERR something"],
];

for (const [message, scope, shown] of SAID) {
  Deno.test(`redis() treats "${shown}" as the refusal of a ${scope}, and shows no command`, async () => {
    const fail = () =>
      Promise.reject(Object.assign(new Error(message), {
        name: "ReplyError",
        command: { name: "evalsha", args: ["s3cret"] },
      }));
    for (const client of [{ call: fail }, { sendCommand: fail }]) {
      const store = redis(client);
      for (const ask of [write, writeTwo]) {
        await refused(() => ask(store), scope, shown);
        const error: Error = await assertRejects(async () => await ask(store), Error);
        assert(!/s3cret|10\.9/.test(Deno.inspect(error)), Deno.inspect(error));
      }
    }
  });
}

Deno.test("redis() shows only the kind of an error that a client throws", async () => {
  const errors = [
    Object.assign(new Error("connect redis://:hunter2@h:1"), { code: "ECONNREFUSED" }),
    Object.assign(new Error("hunter2"), { name: "MaxRetriesPerRequestError" }),
    new AggregateError([new Error("hunter2")], "hunter2"),
    "hunter2",
    { message: "hunter2" },
    null,
  ];
  for (const thrown of errors) {
    const store = redis({ call: () => Promise.reject(thrown) });
    for (const ask of [write, check, writeTwo]) {
      const error: Error = await assertRejects(async () => await ask(store), Error);
      assert(!Deno.inspect(error).includes("hunter2"), Deno.inspect(error));
      assert(!isStoreAnswerError(error), Deno.inspect(error));
    }
  }
});
