import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createFuse, memory } from "@fuse/edge";
import { runCli } from "@fuse/edge/cli";
import { serveDashboard } from "./dashboard_api.ts";
import { cli, json } from "./process.ts";

const TOKEN = "AXsecretOfTheDashboard";

Deno.test("--api reads circuits and acts on them through a dashboard", async (t) => {
  const fuse = createFuse({ stores: { array: memory() }, defaults: { failureThreshold: 1 } });
  await using dashboard = serveDashboard(fuse, TOKEN);
  const api = ["--api", `${dashboard.url}/`, "--header", `authorization: Bearer ${TOKEN}`];
  for (const name of ["a", "b", "c", "d"]) await fuse.make(name).call(() => 1);
  await fuse.make("d").tryCall(() => Promise.reject(new TypeError("down")));
  const odd = fuse.for({ type: "tenant", id: "4/2 ü" }).make("odd name/%");
  await odd.call(() => 1);

  await t.step("status reads every page", async () => {
    const circuits = await json<{ name: string }[]>({}, "status", ...api);
    assertEquals(circuits.map(({ name }) => name), ["d", "a", "b", "c", "odd name/%"]);
    const { code, stdout } = await cli({}, "status", "--fail", ...api);
    assertEquals(code, 2);
    assertMatch(stdout, /^STATE.*\nOPEN +"d" +array +50 % +since .*Z, until .*Z, TypeError\n/);
  });

  await t.step("show finds a circuit by any name and scope", async () => {
    const scoped = ["--context", "tenant:4/2 ü"];
    const { circuit } = await json<{ circuit: { name: string } }>(
      ...[{}, "show", "odd name/%", ...scoped, ...api] as const,
    );
    assertEquals(circuit.name, "odd name/%");
  });

  await t.step("an action carries its reason, its end and the dashboard's actor", async () => {
    const { code, stderr } = await cli(
      ...[{}, "disable", "a", "--reason", "drill", "--for", "10m", ...api] as const,
    );
    assertEquals([code, stderr], [0, ""]);
    const { override } = await fuse.make("a").snapshot();
    assertEquals([override?.kind, override?.reason, override?.actor], [
      ...["disabled", "drill", "from the session"],
    ]);
    assert(override!.until!.getTime() <= Date.now() + 600_000);
    await cli({}, "open", "new", "--reason", "drill", "--create", ...api);
    assertEquals((await fuse.make("new").snapshot()).override?.until, null);
  });

  await t.step("disable accepts no end, and names of dots are acted on and removed", async () => {
    for (const name of ["..", "."]) {
      const { code, stderr } = await cli(
        ...[{}, "disable", name, "--reason", "drill", "--no-end", "--create", ...api] as const,
      );
      assertEquals([code, stderr], [0, ""]);
      assertEquals((await fuse.make(name).snapshot()).override?.until, null);
      const removed = await cli({}, "remove", name, "--reason", "drill", ...api);
      assertEquals([removed.code, removed.stderr], [0, ""]);
      assertEquals((await fuse.make(name).snapshot()).generation, 0);
    }
  });

  await t.step("an unknown circuit is refused before anything is posted", async () => {
    dashboard.log.length = 0;
    const { code, stderr } = await cli({}, "release", "nobody", "--reason", "r", ...api);
    assertEquals(code, 1);
    assertStringIncludes(stderr, 'There is no circuit "nobody"');
    assertEquals(dashboard.log.filter((line) => line.startsWith("POST")), []);
  });

  await t.step("an error says what to do, and never shows the token", async () => {
    const wall = api.with(1, dashboard.readOnlyUrl);
    const readOnly = await cli({}, "open", "a", "--reason", "r", ...wall);
    assertEquals(readOnly.code, 1);
    assertStringIncludes(readOnly.stderr, "it is read-only");
    const stranger = await cli(
      ...[
        {},
        "status",
        "--api",
        dashboard.url,
        "--header",
        "authorization: Bearer AXwrong",
      ] as const,
    );
    assertEquals(stranger.code, 1);
    assertStringIncludes(stranger.stderr, "it asks for authentication");
    const below = await cli({}, "status", ...api.with(1, `${dashboard.url}/api`));
    assertEquals(below.code, 1);
    assertStringIncludes(below.stderr, "give --api the address of its page, without /api");
    const elsewhere = await cli({}, "status", ...api.with(1, "http://127.0.0.1:1/ops"));
    assertEquals(elsewhere.code, 1);
    for (const { stderr } of [readOnly, stranger, elsewhere]) {
      assert(!stderr.includes("AX"), stderr);
    }
  });
});

/** Runs a command in this process against a server that answers paths of the API with JSON. */
async function against(answers: (path: string) => unknown, ...args: string[]) {
  await using server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    (request) => Response.json(answers(new URL(request.url).pathname.replace(/^.*\/api\//, ""))),
  );
  let [stdout, stderr] = ["", ""];
  const api = ["--api", `http://127.0.0.1:${server.addr.port}/ops`];
  const code = await runCli([...args, ...api], {
    env: {},
    stdout: (text) => stdout += text,
    stderr: (text) => stderr += text,
  });
  return { code, stdout, stderr };
}

Deno.test("--api says so when JSON is not that of a dashboard", async () => {
  for (const answer of [{}, null, "ok", [1, null], [{ name: 1 }]]) {
    const { code, stderr } = await against(() => answer, "status");
    assertEquals(code, 1);
    assertStringIncludes(stderr, "The dashboard did not answer with JSON of its API");
  }
  const stores = [{ name: "database", ok: true }];
  const { stderr } = await against((path) => path === "stores" ? stores : {}, "status");
  assertStringIncludes(stderr, "The dashboard did not answer with JSON of its API");
});

Deno.test("--api reads a dashboard that does not report refused circuits", async () => {
  const stores = [{ name: "database", ok: true }];
  const page = { circuits: [], cursor: null, missing: [] };
  const { code, stderr } = await against((path) => path === "stores" ? stores : page, "status");
  assertEquals([code, stderr], [0, ""]);
});
