import { assert, assertEquals } from "@std/assert";
import { deno, readConfig, root } from "../tools/gate/project.ts";
import { npmProject } from "../support/npm_project.ts";
import { startRedis } from "../support/redis_server.ts";
import { startFace } from "../support/upstash_face.ts";

const { compilerOptions, exports, imports } = readConfig();

/** What a strict project of today has, in the types of Node alone. */
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

Deno.test("a Node project installs, compiles and runs it", async (t) => {
  await using project = await npmProject([
    ...["@hono/node-server", "@libsql/client", "commander", "drizzle-orm", "hono"],
  ]);
  const program = new URL("tests/system/node/main.ts", root);
  await project.write("main.ts", await Deno.readTextFile(program));
  await project.write("tsconfig.json", JSON.stringify(TSCONFIG));
  const all = Object.keys(exports).map((entry, i) =>
    `export * as entry${i} from "@fuse/edge${entry.slice(1)}";\n`
  );
  await project.write("all.ts", all.join(""));

  await t.step("its program and the package's types compile, without DOM and Deno", async () => {
    // Types of other packages are theirs: Drizzle's want databases that nobody here has.
    const found = await project.tsc();
    assertEquals(found.filter((line) => /^(main|all)\.ts|@fuse\/edge/.test(line)), []);
  });

  await t.step("the program compiles, by a bundler's resolution", async () => {
    const bundler = ["--module", "esnext", "--moduleResolution", "bundler", "--lib", "es2023,dom"];
    assertEquals(await project.tsc("--noEmit", "--skipLibCheck", ...bundler), []);
  });

  await t.step("CommonJS may require it", async () => {
    const program = 'const { createFuse } = require("@fuse/edge"); console.log(typeof createFuse);';
    await project.write("main.cjs", program);
    const { stdout, stderr } = await project.node(["main.cjs"]);
    assertEquals(stdout.trim(), "function", stderr);
  });

  await t.step("the program runs", async () => {
    await using redis = await startRedis();
    await using face = await startFace({ redis });
    const { ok, stdout, stderr } = await project.node(["out/main.js"], {
      SHOP_DATABASE: `${project.folder}/fuse.db`,
      SHOP_ENTRY_POINTS: JSON.stringify(Object.keys(exports)),
      UPSTASH_REDIS_REST_URL: face.url,
      UPSTASH_REDIS_REST_TOKEN: face.token,
    });
    assert(ok, stdout + stderr);
    const parts = ["core", "fetch", "upstash", "libsql", "env", "hono", "testing"];
    assertEquals(stdout.trimEnd().split("\n"), parts.map((part) => `${part} works`));
    assert(face.requests > 0);
  });
});

Deno.test("the source uses nothing that Node 20 does not have", async () => {
  // As many types as Node 20 has globals: `Map.groupBy`, of ES2024, is an error.
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
