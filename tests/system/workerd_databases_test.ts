// The examples of Cloudflare's own databases, in real workerd.
import { assert, assertEquals } from "@std/assert";
import { parse } from "@std/jsonc";
import { root } from "../tools/gate/project.ts";
import { startForFile } from "../support/cloudflare/databases.ts";
import { copy } from "../support/cached_project.ts";
import {
  bundleWorkers,
  type IsolateOptions,
  type WorkerBundle,
  workerdHost,
  workerProject,
} from "../support/workerd.ts";
import { codeOf } from "../tools/pages/pages.ts";

const FOLDER = new URL("examples/cloudflare-databases/", root);
const D1 = "d1/index.ts";
const OBJECT = "durable-object/index.ts";
/** The Worker of the page on D1 that reads the tables with Drizzle. */
const QUERIES = "d1/queries.ts";

const host = workerdHost();
addEventListener("unload", () => host.abandon());
const bundles = await bundleExamples();
const startFixture = await startForFile();

async function bundleExamples(): Promise<Record<string, WorkerBundle>> {
  await using project = await workerProject();
  for (const main of [D1, OBJECT]) {
    await copy(new URL(main, FOLDER).pathname, `${project.folder}/${main}`);
  }
  const [, queries = ""] = await blocksOf("d1");
  await Deno.writeTextFile(`${project.folder}/${QUERIES}`, queries);
  return await bundleWorkers(project, [D1, OBJECT, QUERIES], true);
}

async function blocksOf(page: string): Promise<string[]> {
  return codeOf(await Deno.readTextFile(new URL(`drivers/${page}/README.md`, root)), "ts ignore");
}

/** The part of a wrangler.jsonc that this file reads. */
interface Config {
  readonly vars: Record<string, string>;
  readonly d1_databases?: readonly { readonly binding: string }[];
  readonly durable_objects?: { bindings: readonly { name: string; class_name: string }[] };
  readonly migrations?: readonly { readonly new_sqlite_classes: readonly string[] }[];
}

async function configOf(main: string): Promise<Config> {
  return parse(
    await Deno.readTextFile(new URL(main.replace("index.ts", "wrangler.jsonc"), FOLDER)),
  ) as unknown as Config;
}

/** The Worker, with the bindings of its wrangler.jsonc. */
async function workerOf(main: string, origin: string): Promise<IsolateOptions> {
  const { vars, d1_databases = [], durable_objects = { bindings: [] } } = await configOf(main);
  return {
    code: bundles[main]!.code,
    bindings: { ...vars, ORIGIN: origin, STORE_TIMEOUT_MS: "30000" },
    d1: d1_databases.map(({ binding }) => binding),
    objects: Object.fromEntries(
      durable_objects.bindings.map(({ name, class_name }) => [name, class_name]),
    ),
  };
}

Deno.test("the page's queries on D1 need no client of libSQL", () => {
  assertEquals(bundles[QUERIES]!.imports, ["cloudflare:workers"]);
});

for (const main of [D1, OBJECT]) {
  Deno.test(`cloudflare-databases/${main} trips, rejects, and keeps its trail over a restart`, async () => {
    const folder = await Deno.makeTempDir();
    await using stack = new AsyncDisposableStack();
    stack.defer(() => Deno.remove(folder, { recursive: true }));
    const calls: string[] = [];
    const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
      calls.push(new URL(request.url).pathname);
      return new Response("out of order", { status: 500 });
    });
    stack.defer(() => server.shutdown());
    if (main === D1) {
      const { workerd, cloudflare } = await startFixture(folder);
      await cloudflare.ask("/migrate");
      await workerd[Symbol.asyncDispose]();
    }
    const worker = await workerOf(main, `http://127.0.0.1:${server.addr.port}`);
    for (const run of ["first", "second"]) {
      await using workerd = await host.start([worker], folder);
      const [isolate] = workerd.isolates;
      if (run === "first") {
        let called: number;
        do {
          called = calls.length;
          await (await isolate!.fetch("/orders")).text();
        } while (calls.length > called && called < 100);
        assert(called >= 5 && called < 100, `${called}`);
        assertEquals(await isolate!.cron("17 3 * * *"), "ok");
      }
      const rejected = await isolate!.fetch("/orders");
      await rejected.body?.cancel();
      assertEquals(rejected.status, 503, run);
      const events = await (await isolate!.fetch("/history")).json();
      assertEquals(events.map(({ event }: { event: string }) => event), ["opened"], run);
    }
    if (main === D1) {
      const queries = { ...worker, code: bundles[QUERIES]!.code };
      await using workerd = await host.start([queries], folder);
      const { notClosed, latest } = await (await workerd.isolates[0]!.fetch("/")).json();
      assertEquals(notClosed.map(({ name }: { name: string }) => name), ["origin"]);
      assertEquals(latest.map(({ event }: { event: string }) => event), ["opened"]);
    }
  });

  Deno.test(`cloudflare-databases/${main} imports no module of Node, and no class of the platform`, () => {
    assertEquals(bundles[main]!.imports, ["cloudflare:workers"]);
  });
}

Deno.test("the Durable Objects of the example use SQLite", async () => {
  const { migrations } = await configOf(OBJECT);
  assertEquals(migrations?.flatMap((one) => one.new_sqlite_classes), ["FuseObject"]);
});

for (const [page, main] of [["d1", D1], ["durable_object", OBJECT]] as const) {
  Deno.test(`the page of ${page} shows the Worker of the example`, async () => {
    const [shown] = await blocksOf(page);
    assertEquals(shown, await Deno.readTextFile(new URL(main, FOLDER)));
  });
}
