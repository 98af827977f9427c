import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { createFuse, type Fuse } from "@fuse/edge";
import { runCli } from "@fuse/edge/cli";
import { dashboard } from "@fuse/edge/dashboard";
import { libsql } from "@fuse/edge/libsql";
import { Hono } from "hono";
import { fileForFile } from "../support/databases.ts";
import { cli, cliLeft } from "./process.ts";

const database = await fileForFile();
const INVALID = 'the field "total_successes" of the circuit is invalid';

/** Runs commands on a database in which the record of the circuit `name` is invalid. */
async function withSpoilt(
  name: string,
  body: (run: typeof runIn, fuse: Fuse) => Promise<void>,
): Promise<void> {
  const client = database.connect();
  try {
    await using fuse = createFuse({ stores: { database: libsql({ client }) } });
    fuse.on("store_error", () => {});
    await fuse.make(name).forceOpen({ reason: "drill" });
    await fuse.make(`${name}-other`).forceOpen({ reason: "drill" });
    const sql = "update circuit_breakers set total_successes = 'oops' where key = ?";
    await client.execute({ sql, args: [name] });
    await body(runIn, fuse);
    await fuse.make(name).remove({ reason: "over" });
    await fuse.make(`${name}-other`).remove({ reason: "over" });
  } finally {
    client.close();
  }
}

/** Runs a command in this process. */
async function runIn(...args: string[]) {
  let [stdout, stderr] = ["", ""];
  const env = { TURSO_DATABASE_URL: database.url };
  const code = await runCli(args, {
    env,
    stdout: (text) => stdout += text,
    stderr: (text) => stderr += text,
  });
  return { code, stdout, stderr };
}

Deno.test("status and export name a circuit whose record is invalid, and exit with 1", () =>
  withSpoilt("unlisted", async (run) => {
    for (const args of [["status"], ["status", "--json"], ["export"]]) {
      const { code, stdout, stderr } = await run(...args);
      assertEquals(code, 1, args.join(" "));
      assertStringIncludes(stdout, "unlisted-other");
      assertStringIncludes(stderr, `circuit "unlisted" of store database is missing: `);
      assertStringIncludes(stderr, INVALID);
    }
  }));

for (const cure of ["reset", "remove"]) {
  Deno.test(`${cure} cures a circuit whose record is invalid, and other commands name the field`, () =>
    withSpoilt(`spoilt-${cure}`, async (run, fuse) => {
      for (const args of [["show"], ["open", "--reason", "drill"]]) {
        const { code, stderr } = await run(...args, `spoilt-${cure}`);
        assertEquals(code, 1);
        assertStringIncludes(stderr, INVALID);
        assert(!stderr.includes("did not answer"), stderr);
      }
      const { code, stderr } = await run(cure, `spoilt-${cure}`, "--reason", "drill");
      assertEquals([code, stderr], [0, ""]);
      const { generation, override } = await fuse.make(`spoilt-${cure}`).snapshot();
      assertEquals([generation > 0, override], [cure === "reset", null]);
    }));
}

Deno.test("--api cures a circuit whose record is invalid", () =>
  withSpoilt("remote", async (run, fuse) => {
    const app = new Hono().route("/ops", dashboard({ fuse, auth: (_, next) => next() }));
    await using server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen: () => {} },
      (request) => app.fetch(request),
    );
    const api = ["--api", `http://127.0.0.1:${server.addr.port}/ops`];
    const listed = await run("status", ...api);
    assertEquals(listed.code, 1);
    assertStringIncludes(listed.stderr, `circuit "remote" of store database is missing: `);
    assertStringIncludes(listed.stderr, INVALID);
    const shown = await run("show", "remote", ...api);
    assertEquals(shown.code, 1);
    assertStringIncludes(shown.stderr, "refuses this circuit");
    const reset = await run("reset", "remote", "--reason", "drill", ...api);
    assertEquals([reset.code, reset.stderr], [0, ""]);
    const { local, generation } = await fuse.make("remote").snapshot();
    assertEquals([local, generation > 0], [false, true]);
  }));

Deno.test("a command reports a circuit that its store refuses once", () =>
  withSpoilt("once", async () => {
    const { stderr } = await cli({ TURSO_DATABASE_URL: database.url }, "status");
    assertEquals(stderr.trimEnd().split("\n").length, 1, stderr);
  }));

Deno.test("status keeps its exit code when the reader leaves early", () =>
  withSpoilt("unread", async () => {
    const { code } = await cliLeft({ TURSO_DATABASE_URL: database.url }, "status");
    assertEquals(code, 1);
  }));

Deno.test("what-if refuses a circuit whose record is invalid", () =>
  withSpoilt("replayed", async (run) => {
    const client = database.connect();
    const stores = { database: libsql({ client, audit: "calls" }) };
    try {
      await using fuse = createFuse({ stores });
      const breaker = fuse.make("replayed-other", { failureThreshold: 2 });
      await breaker.release({ reason: "drill" });
      await breaker.call(() => 1);
      await fuse.flush();
      const sql = "update circuit_breakers set total_successes = 'oops' where key = ?";
      await client.execute({ sql, args: ["replayed-other"] });
    } finally {
      client.close();
    }
    const { code, stdout, stderr } = await run("what-if", "replayed-other");
    assertEquals([code, stdout], [1, ""]);
    assertStringIncludes(stderr, INVALID);
  }));
