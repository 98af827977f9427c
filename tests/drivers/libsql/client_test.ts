// Options of the libSQL store, and its requests to the client.
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { createClient } from "@libsql/client";
import { createClient as createWebClient } from "@libsql/client/web";
import { createFuse } from "@fuse/edge";
import type { LibsqlClient, LibsqlOptions } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { inMemory } from "../../support/databases.ts";
import {
  acquiring,
  changing,
  databases,
  eventsOf,
  laying,
  request,
  SHAPE,
  tally,
  withStore,
} from "./store.ts";
import { libsql, memory, tiered, upstash } from "../../support/drivers.ts";

/** The requests that a client received. */
function spying(client: LibsqlClient) {
  const asked: { statements: number; mode: string | undefined }[] = [];
  const spy: LibsqlClient = {
    execute(statement) {
      asked.push({ statements: 1, mode: undefined });
      return client.execute(statement);
    },
    batch(statements, mode) {
      asked.push({ statements: statements.length, mode });
      return client.batch(statements, mode);
    },
  };
  return { spy, asked };
}

Deno.test("libsql() creates only a store: it uses no client and reads no clock", () => {
  const refuse = (): never => {
    throw new Error("asked");
  };
  libsql({ client: refuse, replica: refuse, clock: refuse });
  libsql({ url: "libsql://example.turso.io", authToken: "token" });
});

const REFUSED: Record<string, [options: unknown, message: string]> = {
  "no options": [undefined, '"options" must be an object'],
  "neither client nor url": [{}, '"url" must be :memory: or begin with libsql:, https:,'],
  "a url without a scheme": [{ url: "fuse.db" }, 'received "no scheme"'],
  "a url with a password": [{ url: "postgres://me:hunter2@db" }, 'received "postgres:"'],
  "a url that is no text": [{ url: new URL("http://a") }, "received an object"],
  "client and url": [{ client: () => {}, url: "http://a" }, '"url" must be left out'],
  "client and token": [{ client: () => {}, authToken: "a" }, '"authToken" must be left out'],
  "a token that is no text": [{ url: "http://a", authToken: 1 }, '"authToken" must be a string'],
  "a client that is none": [{ client: {} }, '"client" must be a client of @libsql/client'],
  "a replica that is none": [{ client: () => {}, replica: 1 }, '"replica" must be a client'],
  "a clock that is none": [{ client: () => {}, clock: 1 }, '"clock" must be a function'],
  "a negative time": [{ client: () => {}, busyTimeoutMs: -1 }, '"busyTimeoutMs" must be'],
  "an option that is none": [{ client: () => {}, trail: "calls" }, 'no option "trail"'],
  "an audit that is none": [{ client: () => {}, audit: "all" }, '"audit" must be one of'],
  "a trail key that is empty": [{ client: () => {}, trailKey: "" }, '"trailKey" must be a text'],
  "a trail key that is no text": [
    { client: () => {}, trailKey: { hunter2: 1 } },
    '"trailKey" must',
  ],
  "a redact that is none": [{ client: () => {}, redact: "all" }, '"redact" must be a function'],
};

for (const [what, [options, message]] of Object.entries(REFUSED)) {
  Deno.test(`libsql() refuses ${what}`, () => {
    const error = assertThrows(() => libsql(options as LibsqlOptions), Error, message);
    assert(error.message.startsWith("Cannot create libsql store: "), error.message);
    assert(!error.message.includes("hunter2"), error.message);
  });
}

const SECRET = "libsql://a.turso.io?authToken=hunter2";
const MISPLACED: Record<string, () => unknown> = {
  "libsql(url)": () => libsql(SECRET as never),
  "libsql({ client })": () => libsql({ client: SECRET as never }),
  "libsql({ replica })": () => libsql({ client: () => null as never, replica: SECRET as never }),
  "libsql({ schema })": () => libsql({ client: () => null as never, schema: SECRET as never }),
  "migrate(url)": () => migrate(SECRET as never),
  "tiered(url)": () => tiered(SECRET as never),
  "tiered({ state })": () => tiered({ state: SECRET as never, audit: null as never }),
  "tiered({ audit })": () => tiered({ state: memory(), audit: SECRET as never }),
  "upstash(url)": () => upstash(SECRET as never),
  "upstash({ redis })": () => upstash({ redis: SECRET as never }),
  "createFuse({ stores })": () => createFuse({ stores: SECRET as never }),
  "createFuse({ stores: { a } })": () => createFuse({ stores: { a: SECRET as never } }),
};

for (const [what, make] of Object.entries(MISPLACED)) {
  Deno.test(`${what} does not show a string that was passed in place of an object`, async () => {
    const { message } = await assertRejects(async () => await make(), TypeError);
    assertMatch(message, /^Cannot create .*, received a string$/);
  });
}

Deno.test("libsql() names the type of a token that is not a string", () => {
  for (const [token, came] of [[5, "5"], [null, "null"], [{ hunter2: 1 }, "an object"]] as const) {
    assertThrows(
      () => libsql({ url: "http://a", authToken: token as never }),
      TypeError,
      `"authToken" must be a string, received ${came}`,
    );
  }
});

Deno.test("acquire() of a known closed circuit only reads, and writes when another isolate has opened it", async () => {
  await inMemory(async (client) => {
    const { spy, asked } = spying(client);
    const [store, other] = [libsql({ client: spy }), libsql({ client })];
    const { snapshot } = await store.record("a", tally({ successes: 1 }));
    asked.length = 0;
    const granted = await store.acquire("a", acquiring());
    assertEquals([granted.granted, granted.moved, asked.length], [true, false, 1]);
    assertEquals(granted.snapshot.totals, snapshot.totals);
    await other.transition("a", { ...changing(), cooldownMs: 60_000 });
    asked.length = 0;
    const refused = await store.acquire("a", acquiring());
    assertEquals([refused.granted, refused.snapshot.state, asked.length], [false, "OPEN", 2]);
  });
});

Deno.test("each primitive is one statement or one write batch", async () => {
  await inMemory(async (client) => {
    const { spy, asked } = spying(client);
    const store = libsql({ client: spy });
    const costs: Record<string, number> = {};
    const cost = async (name: string, ask: () => unknown) => {
      asked.length = 0;
      await ask();
      assertEquals(asked.length, 1, name);
      const [{ statements, mode }] = asked as [typeof asked[number]];
      assertEquals(mode, statements === 1 ? undefined : "write", name);
      costs[name] = statements;
    };
    await cost("first record", () => store.record("a", tally({ successes: 1 })));
    await cost("record", () => store.record("a", tally({ failures: 1 })));
    await cost("record of rejections", () => store.record("a", tally({ rejected: 1 })));
    await cost("record of a trial", () => store.record("a", tally({ successes: 1, lease: "t" })));
    await cost("read", () => store.read("a", request()));
    await cost("acquire", () => store.acquire("a", acquiring()));
    await cost("open", () => store.transition("a", changing()));
    await cost("close", () =>
      store.transition(
        "a",
        changing({
          to: "CLOSED",
          event: "closed",
          expected: { epoch: "", generation: 0, began: 0 },
        }),
      ));
    await cost("override", () => store.override("a", { ...laying(), kind: "disabled" }));
    await cost("release", () => store.override("a", { ...laying(), kind: null }));
    await cost("list", () => store.list({ cursor: null, limit: 10, at: 0, shape: () => SHAPE }));
    const { records } = await store.list({ cursor: null, limit: 10, at: 0, shape: () => SHAPE });
    await cost(
      "restore",
      () => store.restore("a", { ...laying(), record: records[0]!, existing: "replace" }),
    );
    await cost("history", () => eventsOf(store));
    await cost("remove", () => store.remove("a"));
    assertEquals(costs, {
      ...{ "first record": 7, record: 4, "record of rejections": 3, "record of a trial": 5 },
      ...{ read: 1, acquire: 1, open: 5, close: 5, override: 5, release: 5, list: 1 },
      ...{ restore: 6, history: 1, remove: 8 },
    });
  });
});

const EDIT = "update circuit_breakers set failure_count = failure_count + 1";

Deno.test("edits by hand are read only where an answer counts some", async () => {
  await inMemory(async (client) => {
    const { spy, asked } = spying(client);
    const store = libsql({ client: spy });
    await store.record("a", tally({ successes: 1 }));
    await client.execute(EDIT);
    await store.read("a", request());
    asked.length = 0;
    await store.override("a", { ...laying(), kind: "disabled" });
    assertEquals(asked.map(({ statements }) => statements), [1, 6]);
    asked.length = 0;
    await store.override("a", { ...laying(), kind: null });
    assertEquals(asked.map(({ statements }) => statements), [5]);
    assertEquals((await store.verifyTrail()).ok, true);
  });
});

Deno.test("edits by hand of another circuit are taken into no chain", async () => {
  await inMemory(async (client) => {
    const slipping: LibsqlClient = {
      batch: (statements, mode) => client.batch(statements, mode),
      execute({ sql, args }) {
        const slips = sql.includes("'edits'");
        return client.execute({ sql, args: args.map((arg) => slips && arg === "a" ? "b" : arg) });
      },
    };
    const store = libsql({ client: slipping });
    for (const key of ["a", "b"]) await store.record(key, tally({ successes: 1 }));
    await client.execute(EDIT);
    await store.read("a", request());
    await assertRejects(
      async () => await store.override("a", { ...laying(), kind: "disabled" }),
      Error,
      "its answer is to another request",
    );
    await libsql({ client }).override("a", { ...laying(), kind: "disabled" });
    assertEquals((await store.verifyTrail()).ok, true);
  });
});

Deno.test("each primitive is one HTTP request", async () => {
  const { url } = databases[1]!;
  let requests = 0;
  const client = createWebClient({
    url,
    fetch: (request: Request) => {
      requests++;
      return fetch(request);
    },
  });
  const store = libsql({ client });
  await store.record("http", tally({ failures: 1 }));
  await store.acquire("http", acquiring());
  await store.transition("http", changing());
  await store.read("http", request());
  await store.override("http", { ...laying(), kind: "disabled" });
  assertEquals(requests, 5);
  client.close();
});

Deno.test("libsql() with url sends HTTP requests through its own client", async () => {
  const store = libsql({ url: databases[1]!.url });
  await store.record("by-url", tally({ successes: 2 }));
  assertEquals((await store.read("by-url", request())).totals.successes, 2);
});

Deno.test("libsql() calls a client function for each unit of work", async () => {
  await inMemory(async (client) => {
    let asked = 0;
    const store = libsql({
      client: () => {
        asked++;
        return client;
      },
    });
    await store.record("a", tally({ successes: 1 }));
    await store.read("a", request());
    assertEquals(asked, 2);
  });
});

Deno.test("history() reads from the replica, and decisions never do", async () => {
  await inMemory(async (client) => {
    const main = spying(client);
    const replica = spying(client);
    const store = libsql({ client: main.spy, replica: replica.spy });
    await store.read("a", request());
    await store.record("a", tally({ successes: 1 }));
    await store.override("a", { ...laying(), kind: "disabled" });
    assertEquals([main.asked.length, replica.asked.length], [3, 0]);
    assertEquals((await eventsOf(store)).length, 1);
    assertEquals([main.asked.length, replica.asked.length], [3, 1]);
  });
});

Deno.test("history() continues past a page, and stops at the limit", async () => {
  await withStore(async ({ store }) => {
    for (let i = 0; i < 250; i++) await store.override("a", { ...laying(), kind: "disabled" });
    const ids = (await eventsOf(store)).map(({ id }) => Number(id));
    assertEquals(ids, Array.from({ length: 250 }, (_, i) => 250 - i));
    const some = [];
    for await (const { id } of store.history({ limit: 120 })) some.push(id);
    assertEquals(some.length, 120);
  });
});

Deno.test("history() refuses an invalid limit and an invalid cursor", async () => {
  await withStore(async ({ store }) => {
    const first = (query: object) => store.history(query).next();
    await assertRejects(
      () => first({ limit: -1 }),
      RangeError,
      'Cannot read history: "limit" must be',
    );
    await assertRejects(
      () => first({ cursor: "'; drop table a" }),
      RangeError,
      'Cannot read history: "cursor" must be',
    );
  });
});

Deno.test({
  name: "libsql({ url: 'file:…' }) keeps circuits and their trail in a file",
  // The native client keeps its file open until the process ends.
  sanitizeResources: false,
  async fn() {
    const folder = await Deno.makeTempDir();
    try {
      const url = `file:${folder}/circuits.db`;
      await migrate(createClient({ url }));
      for (const state of ["CLOSED", "OPEN"]) {
        const database = libsql({ url });
        await using fuse = createFuse({ storeTimeoutMs: 30_000, stores: { database } });
        const breaker = fuse.make("api", { failureThreshold: 1, consistency: "strong" });
        assertEquals(await breaker.getState(), state as "OPEN");
        await breaker.tryCall(() => Promise.reject(new Error("down")));
        assertEquals((await Array.fromAsync(database.history())).length, 1);
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
