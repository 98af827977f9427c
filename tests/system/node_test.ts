import { createFuse } from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { createClient } from "@libsql/client";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { deno, readConfig, root } from "../tools/gate/project.ts";
import { type NpmProject, npmProject } from "../support/npm_project.ts";
import { startStreams, STREAM_CASES } from "../support/stream_server.ts";
import { startRedis } from "../support/redis_server.ts";
import { IN_FULL } from "../support/scale.ts";
import { startFace } from "../support/upstash_face.ts";

const { compilerOptions, exports, imports } = readConfig();

/** The settings of a strict project, with the types of Node alone. */
const TSCONFIG = {
  compilerOptions: {
    module: "nodenext",
    target: "es2022",
    lib: ["es2023", "esnext.disposable"],
    types: ["node"],
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    outDir: "out",
  },
  files: ["main.ts", "all.ts"],
};

Deno.test("a Node project installs, compiles and runs the package", async (t) => {
  await using project = await npmProject([
    ...[
      "@hono/node-server",
      "@libsql/client",
      "@opentelemetry/api",
      "@upstash/redis",
      "commander",
      "drizzle-orm",
      "hono",
    ],
  ]);
  const program = new URL("tests/system/node/main.ts", root);
  await project.write("main.ts", await Deno.readTextFile(program));
  await project.write("tsconfig.json", JSON.stringify(TSCONFIG));
  const all = Object.keys(exports).map((entry, i) =>
    `export * as entry${i} from "@fuse/edge${entry.slice(1)}";\n`
  );
  await project.write("all.ts", all.join(""));

  await t.step(
    "the program and the package's types compile, without DOM and Deno types",
    async () => {
      // Types of other packages are not checked: Drizzle's need databases that are not installed.
      const found = await project.tsc();
      assertEquals(found.filter((line) => /^(main|all)\.ts|@fuse\/edge/.test(line)), []);
    },
  );

  await t.step("the program compiles with a bundler's resolution", async () => {
    const bundler = ["--module", "esnext", "--moduleResolution", "bundler", "--lib", "es2023,dom"];
    assertEquals(await project.tsc("--noEmit", "--skipLibCheck", ...bundler), []);
  });

  await t.step("CommonJS can require the package", async () => {
    const program = 'const { createFuse } = require("@fuse/edge"); console.log(typeof createFuse);';
    await project.write("main.cjs", program);
    const { stdout, stderr } = await project.node(["main.cjs"]);
    assertEquals(stdout.trim(), "function", stderr);
  });

  await t.step("the command line runs by the line of its page", async () => {
    const page = await Deno.readTextFile(new URL("src/cli/README.md", root));
    const [, line = ""] = /^echo '(.+)' > fuse\.mjs$/m.exec(page) ?? [];
    await project.write("fuse.mjs", line);
    const database = { CB_DB_URL: `file:${project.folder}/circuits.db` };
    for (const command of ["migrate", "check"]) {
      const { ok, stdout, stderr } = await project.node(["fuse.mjs", command], database);
      assert(ok, stdout + stderr);
    }
    // A pipe of Node takes 64 KB at once, and `process.exit()` drops the rest.
    await fillDatabase(database.CB_DB_URL, 300);
    const { stdout } = await project.node(["fuse.mjs", "status", "--json"], database);
    assertEquals(JSON.parse(stdout).length, 300);
  });

  await t.step({
    name: "the command line survives a reader that leaves, and tells of output that is lost",
    ignore: Deno.build.os !== "linux",
    async fn() {
      const database = { CB_DB_URL: `file:${project.folder}/circuits.db` };
      const shell = (command: string) => project.run("sh", ["-c", command], database);
      const tail = "node fuse.mjs tail --since 1h --interval 100ms";
      const left = await shell(`(${tail}; echo "ended with $?" >&2) | head -n 1`);
      assertMatch(left.stdout, /^\S+ {2}forced_open {2}"[^\n]+\n$/);
      assertEquals(left.stderr, "ended with 0\n");
      const full = await shell("node fuse.mjs export > /dev/full");
      assertEquals([full.ok, full.stderr], [
        false,
        "error: the output cannot be written: ENOSPC\n",
      ]);
    },
  });

  await t.step("the command line writes all errors before it ends", async () => {
    const database = { CB_DB_URL: `file:${project.folder}/circuits.db` };
    const client = createClient({ url: database.CB_DB_URL });
    await client.execute("update circuit_breakers set total_successes = 'oops'");
    client.close();
    // A pipe between processes that the reader empties no faster than it counts.
    const count = "node fuse.mjs status 2>&1 >/dev/null | grep -c '^error: circuit '";
    const { stdout } = await project.run("sh", ["-c", count], database);
    assertEquals(stdout, "300\n");
  });

  await t.step("the program runs", () => runProgram(project, "node"));

  await t.step({
    name: "the program runs under Bun",
    ignore: IN_FULL.ignore || Deno.build.target !== "x86_64-unknown-linux-gnu",
    async fn() {
      await project.install(`${BUN}@1.4.5`);
      await runProgram(project, `node_modules/${BUN}/bin/bun`);
    },
  });
});

/** Forces circuits open, with long names and scopes, and reasons of 1 000 characters. */
async function fillDatabase(url: string, circuits: number): Promise<void> {
  const client = createClient({ url });
  await using fuse = createFuse({ stores: { database: libsql({ client }) } });
  const tenant = fuse.for({ type: "tenant", id: "名".repeat(255) });
  for (let i = 0; i < circuits; i++) {
    await tenant.make(`circuit ${i} ${"of many ".repeat(25)}`).forceOpen({
      reason: "drill ".repeat(166),
    });
  }
  client.close();
}

/** The binary of Bun that runs on all processors of the architecture. */
const BUN = "@oven/bun-linux-x64-baseline";

async function runProgram(project: NpmProject, runtime: string): Promise<void> {
  await using redis = await startRedis();
  await using face = await startFace({ redis });
  await using streams = await startStreams();
  const { ok, stdout, stderr } = await project.run(runtime, ["out/main.js"], {
    SHOP_DATABASE: `${project.folder}/${runtime.replaceAll("/", "-")}.db`,
    SHOP_STREAMS: streams.url,
    SHOP_STREAM_CASES: JSON.stringify(STREAM_CASES),
    SHOP_ENTRY_POINTS: JSON.stringify(Object.keys(exports)),
    UPSTASH_REDIS_REST_URL: face.url,
    UPSTASH_REDIS_REST_TOKEN: face.token,
  });
  assert(ok, stdout + stderr);
  const parts = [
    "core",
    "fetch",
    "bodies",
    "upstash",
    "libsql",
    "localClient",
    "env",
    "hono",
    "testing",
  ];
  assertEquals(stdout.trimEnd().split("\n"), parts.map((part) => `${part} works`));
  assert(face.requests > 0);
}

/** Entry points that need no other package. */
const ALONE = [
  ".",
  "./log",
  "./migrations",
  "./notify",
  "./prometheus",
  "./redis",
  "./store",
  "./testing",
];

Deno.test("a Node project that uses only the core installs no other package", async () => {
  await using project = await npmProject([]);
  const installed = [...Deno.readDirSync(`${project.folder}/node_modules`)].map(({ name }) => name);
  // Packages of the test's own tools.
  const own = /^(\..*|@types|@typescript|typescript|undici-types)$/;
  assertEquals(installed.filter((name) => !own.test(name)), ["@fuse"]);
  const load = (entries: readonly string[]) =>
    project.node([
      "--input-type=module",
      "-e",
      entries.map((entry) => `await import("@fuse/edge${entry.slice(1)}");`).join("\n"),
    ]);
  const { ok, stderr } = await load(ALONE);
  assert(ok, stderr);
  const refused = await load(["./libsql"]);
  assert(refused.stderr.includes("Cannot find package 'drizzle-orm'"), refused.stderr);
});

Deno.test("README.md explains how to install the package before it is published", async () => {
  const readme = await Deno.readTextFile(new URL("README.md", root));
  const { tasks } = readConfig();
  assert(tasks.pack?.endsWith("tests/tools/npm/pack.ts"));
  for (const command of ["npx -y deno@2 task pack", "npm install ./fuse-edge.tgz"]) {
    assert(readme.includes(command), command);
  }
});

Deno.test("the source uses no API that Node 20 lacks", async () => {
  // Only the types of Node 20's globals: `Map.groupBy`, of ES2024, is an error.
  const lib = ["es2023", "es2024.string", "dom", "dom.iterable", "dom.asynciterable"];
  const folder = await Deno.makeTempDir({ prefix: "fuse-node20-" });
  try {
    const config = `${folder}/deno.json`;
    await Deno.writeTextFile(
      config,
      JSON.stringify({
        imports: Object.fromEntries(
          Object.entries(imports).filter(([, target]) => target.startsWith("npm:")),
        ),
        compilerOptions: { ...compilerOptions, lib: [...lib, "esnext.disposable"] },
      }),
    );
    const { ok, stderr } = await deno(
      ["check", "--quiet", "--no-lock", "--config", config, ...Object.values(exports)],
    );
    assert(ok, stderr);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
