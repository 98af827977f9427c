import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createClient } from "@libsql/client";
import { createFuse, type Fuse } from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { runCli } from "@fuse/edge/cli";
import { cli, cliInto, type Environment, json, start } from "./process.ts";

interface Site {
  readonly env: Environment;
  readonly fuse: Fuse;
  readonly folder: string;
}

/** Runs `body` with a new file that the command line has migrated, and a Fuse on it. */
async function withFile(body: (site: Site) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "fuse-cli-" });
  const env = { TURSO_DATABASE_URL: `file:${folder}/fuse.db`, FUSE_AUDIT: "calls" };
  const { applied } = await json<{ applied: string[] }>(env, "migrate");
  assert(applied.length > 0);
  const client = createClient({ url: env.TURSO_DATABASE_URL });
  try {
    await client.execute("pragma journal_mode = wal");
    await using fuse = createFuse({
      stores: { database: libsql({ client, audit: "calls" }) },
      storeTimeoutMs: 10_000,
      defaults: { failureThreshold: 1, consistency: "strong" },
    });
    await body({ env, fuse, folder });
  } finally {
    client.close();
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("history prints the trail of all circuits or of one", () =>
  withFile(async ({ env, fuse }) => {
    await fuse.make("payments").forceOpen({ reason: "drill\u001b[2J", actor: "ada" });
    await fuse.make("mail").disable({ reason: "noise", actor: "bob" });
    const all = await json<{ name: string; event: string }[]>(env, "history");
    assertEquals(all.map(({ name, event }) => `${name} ${event}`), [
      "mail disabled",
      "payments forced_open",
    ]);
    assertEquals((await json<unknown[]>(env, "history", "--limit", "1")).length, 1);
    const { stdout } = await cli(env, "history", "payments");
    assertMatch(stdout, /^\S+Z {2}forced_open {2}"payments".* {2}by ada {2}drill\\u001b\[2J\n$/);
    // The circuit is gone, and its trail remains.
    await fuse.make("mail").remove({ reason: "over" });
    const [{ event } = { event: "" }] = await json<{ event: string }[]>(env, "history", "mail");
    assertEquals(event, "removed");
    const unknown = await cli(env, "history", "pyments");
    assertEquals(unknown.code, 1);
    assertStringIncludes(unknown.stderr, 'did you mean "payments"?');
  }));

Deno.test("tail prints each new row once, until it is interrupted", () =>
  withFile(async ({ env, fuse }) => {
    const payments = fuse.make("payments");
    await payments.forceOpen({ reason: "before", actor: "ada" });
    await using tail = start(env, "tail", "--json", "--interval", "20ms", "--since", "1h");
    const next = async () => {
      const { event, metadata } = JSON.parse(await tail.next());
      return `${event} ${metadata?.reason ?? ""}`;
    };
    assertEquals(await next(), "forced_open before");
    await payments.release({ reason: "one" });
    assertEquals(await next(), "released one");
    await payments.reset({ reason: "two" });
    assertEquals(await next(), "reset two");
    assertEquals(await tail.interrupt(), 0);
  }));

Deno.test("verify proves the trail, and finds altered rows", () =>
  withFile(async ({ env, fuse, folder }) => {
    for (const name of ["a", "b"]) await fuse.make(name).forceOpen({ reason: "r", actor: "ada" });
    const { ok, checked, heads } = await json<
      { ok: boolean; checked: number; heads: Record<string, string> }
    >(env, "verify");
    assertEquals([ok, checked, Object.keys(heads)], [true, 2, ["a", "b"]]);
    const intact = await cli(env, "verify", "--head", heads["a"]!);
    assertEquals([intact.code, intact.stdout], [0, "The trail is intact: 2 rows of 2 circuits\n"]);
    assertStringIncludes(intact.stderr, "Verifying the trail of database");
    assertEquals((await cli(env, "verify", "--head", "0123")).code, 1);

    const vandal = createClient({ url: `file:${folder}/fuse.db` });
    await vandal.execute(
      `update circuit_breaker_events set metadata = '{"actor":"eve"}' where key = 'b'`,
    );
    vandal.close();
    const broken = await cli(env, "verify", "--json");
    assertEquals(broken.code, 1);
    assertEquals(JSON.parse(broken.stdout).brokenAt.circuit, "b");
  }));

Deno.test("prune deletes old rows, and prints their number", () =>
  withFile(async ({ env, fuse }) => {
    for (let i = 0; i < 3; i++) await fuse.make("a").call(() => i);
    assertEquals(await json(env, "prune", "--older-than", "30d"), { deleted: 0 });
    const { code, stdout, stderr } = await cli(env, "prune", "--older-than", "1ms");
    assertEquals([code, stdout], [0, "Deleted 3 rows\n"]);
    assertStringIncludes(stderr, "Pruning the trail of database");
  }));

Deno.test("export and import move circuits, and print progress apart from the data", () =>
  withFile(async ({ env, fuse, folder }) => {
    await fuse.make("payments").forceOpen({ reason: "drill", actor: "ada" });
    const { stdout } = await cli(env, "export");
    const file = `${folder}/export.json`;
    await Deno.writeTextFile(file, stdout);
    await fuse.make("payments").remove({ reason: "moved" });
    const { code, stdout: said, stderr } = await cli(env, "import", file, "--json");
    assertEquals([code, JSON.parse(said)], [0, { imported: 1, kept: 0 }]);
    assertStringIncludes(stderr, "Importing circuits");
    assertEquals((await fuse.make("payments").snapshot()).override?.reason, "drill");
    const kept = await cli(env, "import", file, "--existing", "keep");
    assertEquals(kept.stdout, "Imported 0 circuits, kept 1\n");

    await Deno.writeTextFile(file, "{");
    assertStringIncludes((await cli(env, "import", file)).stderr, "is not JSON");
    await Deno.writeTextFile(file, `{"version":2}`);
    assertStringIncludes((await cli(env, "import", file)).stderr, `"version" must be 1`);
  }));

Deno.test({
  name: "a command fails when its output cannot be written",
  ignore: Deno.build.os !== "linux",
  fn: () =>
    withFile(async ({ env, fuse }) => {
      await fuse.make("payments").forceOpen({ reason: "drill", actor: "ada" });
      for (const command of ["export", "status"]) {
        const { code, stderr } = await cliInto("/dev/full", env, command);
        assertEquals(code, 1, command);
        assertStringIncludes(stderr, "error: ");
      }
    }),
});

Deno.test("import refuses a memory store, which ends with the command", () =>
  withFile(async ({ env, folder }) => {
    const elsewhere = createFuse();
    await elsewhere.make("payments").forceOpen({ reason: "drill", actor: "ada" });
    const exported = await elsewhere.exportState();
    const file = `${folder}/export.json`;
    await Deno.writeTextFile(file, JSON.stringify(exported));
    // The circuit is in the store "array", which every environment has.
    for (const FUSE_STORE of ["database", "array"]) {
      const here = { ...env, FUSE_STORE };
      const imported = await json<{ imported: number }>(here, "import", file);
      assertEquals(imported, { imported: 1, kept: 0 });
      const circuits = await json<{ name: string; store: string }[]>(here, "status");
      assertEquals(circuits.map(({ name, store }) => [name, store]), [["payments", "database"]]);
      assertEquals((await cli(here, "remove", "payments", "--reason", "again")).code, 0);
    }
  }));

Deno.test("check asks every store, and migrate does nothing when the schema is up to date", () =>
  withFile(async ({ env, folder }) => {
    assertEquals((await json<{ database: { ok: boolean } }>(env, "check")).database.ok, true);
    assertEquals((await cli(env, "migrate")).stdout, "Up to date\n");
    const empty = { TURSO_DATABASE_URL: `file:${folder}/empty.db` };
    const { code, stdout } = await cli(empty, "check");
    assertEquals(code, 1);
    assertMatch(stdout, /^database {2}FAILED {2}\d+ ms {2}.*schema is missing/);
  }));

Deno.test("what-if replays the recorded calls under another policy", () =>
  withFile(async ({ env, fuse }) => {
    const payments = fuse.make("payments", { failureThreshold: 100 });
    const play = async (outcomes: string) => {
      for (const outcome of outcomes) {
        await payments.tryCall(() => outcome === "x" ? Promise.reject(new Error()) : 1);
      }
    };
    await play("..xxxxx...");
    const found = await json<
      { openings: { untilMs: number | null; refused: number }[]; calls: number; recorded: number }
    >(env, "what-if", "payments", "--failure-threshold", "3", "--cooldown-ms", "5m");
    assertEquals([found.calls, found.recorded, found.openings.length], [10, 0, 1]);
    assertEquals(found.openings[0]!.refused, 5);
    // The recorded policy would not have opened the circuit.
    const as = await json<{ openings: unknown[]; policy: unknown }>(env, "what-if", "payments");
    assertEquals(as, { ...found, openings: [], policy: { failureThreshold: 100 } });
    const { stdout } = await cli(env, "what-if", "payments", "--failure-threshold", "3");
    assertMatch(
      stdout,
      /^opened .*Z not closed since \(consecutive_failures\): 5 calls refused, 2 of which had failed\n10 calls: 1 openings, where 0 are recorded; 5 calls refused\n$/,
    );
    const bad = await cli(env, "what-if", "payments", "--failure-threshold", "0");
    assertEquals(bad.code, 1);
    assertStringIncludes(bad.stderr, `"failureThreshold" must be`);
    const unknown = await cli(env, "what-if", "nobody");
    assertStringIncludes(unknown.stderr, 'There is no circuit "nobody"');
    await fuse.make("idle").forceOpen({ reason: "r" });
    const own = fuse.make("own", { strategy: () => false, cooldownMs: () => 1_000 });
    await own.call(() => 1);
    await fuse.flush();
    const asked = await cli(env, "what-if", "own", "--strategy", "count_window");
    assertStringIncludes(asked.stderr, 'The "cooldownMs" of this circuit is a function');
    const told = await cli(
      ...[env, "what-if", "own", "--strategy", "count_window", "--cooldown-ms", "1s"] as const,
    );
    assertEquals(told.code, 0, told.stderr);
    const uncalled = await cli(env, "what-if", "idle");
    assertStringIncludes(uncalled.stderr, 'audit: "calls"');
  }));

Deno.test("what-if lets as many trials fail as the record or the option says", () =>
  withFile(async ({ env, fuse }) => {
    const policy = { failureThreshold: 100, halfOpenMaxConcurrent: 2, halfOpenFailureThreshold: 2 };
    const payments = fuse.make("flaky", policy);
    for (const outcome of "xxx" + "x.") {
      await payments.tryCall(() => outcome === "x" ? Promise.reject(new Error()) : 1);
    }
    const whatIf = async (...args: string[]) => {
      const { openings, policy } = await json<
        { openings: { reopened: number }[]; policy: Record<string, unknown> }
      >(
        ...[env, "what-if", "flaky", "--failure-threshold", "3", "--cooldown-ms", "0"] as const,
        ...["--success-threshold", "1", ...args],
      );
      return [policy["halfOpenFailureThreshold"], openings.map(({ reopened }) => reopened)];
    };
    assertEquals(await whatIf(), [2, [0]]);
    assertEquals(await whatIf("--half-open-failure-threshold", "1"), [1, [1]]);
  }));

Deno.test("--config uses the Fuse that a module exports", () =>
  withFile(async ({ env, fuse, folder }) => {
    await fuse.make("payments").forceOpen({ reason: "drill", actor: "ada" });
    const module = `${folder}/fuse.ts`;
    await Deno.writeTextFile(
      module,
      `import { fuseFromEnv } from ${JSON.stringify(import.meta.resolve("@fuse/edge/env"))};\n` +
        `export const fuse = fuseFromEnv(${JSON.stringify(env)});\n`,
    );
    const circuits = await json<{ name: string }[]>({}, "status", "--config", module);
    assertEquals(circuits.map(({ name }) => name), ["payments"]);
    assertEquals((await json<{ ok: boolean }>({}, "verify", "--config", module)).ok, true);

    await Deno.writeTextFile(module, "export const breaker = 1;");
    const { code, stderr } = await cli({}, "status", "--config", module);
    assertEquals(code, 1);
    assertStringIncludes(stderr, "exports breaker");
  }));

Deno.test("trail commands name the stores of --config that keep a trail", () =>
  withFile(async ({ env, folder }) => {
    const module = `${folder}/stores.ts`;
    await Deno.writeTextFile(
      module,
      `import { createFuse, memory } from "@fuse/edge";
       import { libsql } from "@fuse/edge/libsql";
       const books = libsql({ url: ${JSON.stringify(env["TURSO_DATABASE_URL"])} });
       export const fuse = createFuse({ stores: { books, sketches: memory() } });`,
    );
    const { code, stderr } = await cli({}, "history", "--config", module, "--store", "sketches");
    assertEquals([code, stderr], [1, 'error: Store "sketches" keeps no trail, only "books"\n']);
  }));

Deno.test("runCli() refuses trail commands when the store keeps no trail", async () => {
  const env = {
    UPSTASH_REDIS_REST_URL: "http://127.0.0.1:1",
    UPSTASH_REDIS_REST_TOKEN: "AXtoken",
  };
  for (const command of ["history", "tail", "verify", "prune --older-than 1d"]) {
    let stderr = "";
    const code = await runCli(command.split(" "), { env, stderr: (text) => stderr += text });
    assertEquals(code, 1);
    assertStringIncludes(stderr, "No store keeps a trail");
  }
});
