import { assertEquals, assertMatch } from "@std/assert";
import { createFuse } from "@fuse/edge";
import { runCli } from "@fuse/edge/cli";
import { libsql, type LibsqlStore } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { createClient } from "@libsql/client";

type Query = Parameters<LibsqlStore["history"]>[0];

/**
 * Runs before each read of the trail. Returns the number of rows after which the read fails, if it
 * does.
 */
type Before = (look: number, force: (reason: string) => Promise<void>) => Promise<number | void>;

/** A store whose trail fails while it is read. */
function failing(store: LibsqlStore, before: (look: number) => Promise<number | void>) {
  let looks = 0;
  async function* history(query: Query) {
    const rows = await before(looks++) ?? Infinity;
    let left = rows;
    for await (const row of store.history(query)) {
      if (left-- === 0) break;
      yield row;
    }
    if (rows < Infinity) throw new Error("it does not answer");
  }
  return new Proxy(store, {
    get(_, name) {
      const value = Reflect.get(store, name, store);
      if (name === "history") return history;
      return typeof value === "function" ? value.bind(store) : value;
    },
  });
}

/** Runs `tail` until it has printed a number of rows. */
async function tailed(
  rows: number,
  before: Before,
): Promise<{ reasons: string[]; stderr: string }> {
  const folder = await Deno.makeTempDir({ prefix: "fuse-tail-" });
  const client = createClient({ url: `file:${folder}/fuse.db` });
  const own = createFuse({ stores: { database: libsql({ client }) }, storeTimeoutMs: 10_000 });
  const reasons: string[] = [];
  let stderr = "";
  const ended = new AbortController();
  const late = setTimeout(() => ended.abort(), 10_000);
  try {
    await migrate(client);
    const force = async (reason: string) => {
      await own.make("payments").forceOpen({ reason, actor: "ada" });
    };
    const store = failing(libsql({ client }), (look) => before(look, force));
    Object.assign(globalThis, { fuseOfTest: createFuse({ stores: { database: store } }) });
    await Deno.writeTextFile(`${folder}/fuse.ts`, "export default globalThis.fuseOfTest;\n");
    const args = ["tail", "--json", "--interval", "1ms", "--config", `${folder}/fuse.ts`];
    const code = await runCli(args, {
      env: {},
      signal: ended.signal,
      stdout(text) {
        reasons.push(JSON.parse(text).metadata.reason);
        if (reasons.length >= rows) ended.abort();
      },
      stderr: (text) => stderr += text,
    });
    assertEquals(code, 0, stderr);
    return { reasons, stderr };
  } finally {
    clearTimeout(late);
    Reflect.deleteProperty(globalThis, "fuseOfTest");
    client.close();
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("tail prints each row once when the trail fails while it is read", async () => {
  const { reasons, stderr } = await tailed(3, async (look, force) => {
    // The first two reads find the newest row and the row from which the others continue.
    if (look === 0) await force("before");
    if (look !== 2) return;
    for (const reason of ["one", "two", "three"]) await force(reason);
    return 2;
  });
  assertEquals(reasons, ["one", "two", "three"]);
  assertMatch(stderr, /^error: it does not answer; trying on\nstore database answers again\n$/);
});

Deno.test("tail prints later rows when its first reads fail", async () => {
  const { reasons } = await tailed(2, async (look, force) => {
    if (look === 0) await force("before");
    if (look === 2) await force("meanwhile");
    if (look === 4) await force("after");
    return look === 1 || look === 2 ? 0 : undefined;
  });
  assertEquals(reasons, ["meanwhile", "after"]);
});
