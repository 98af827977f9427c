/**
 * The contract, store by store: runs the suite of the drivers' tests once more, and counts.
 *
 * @module
 */
import { createClient as createRedis } from "@redis/client";
import { createClient } from "@libsql/client";
import { createClient as createWebClient } from "@libsql/client/web";
import { Redis } from "ioredis";
import { type Clock, memory, type Store } from "@fuse/edge";
import { libsql, type LibsqlClient, localClient, tiered } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { redis } from "@fuse/edge/redis";
import { storeContract } from "@fuse/edge/testing";
import { upstash } from "@fuse/edge/upstash";
import { type Cloudflare, startFrom } from "../../support/cloudflare/databases.ts";
import { startRedis } from "../../support/redis_server.ts";
import { Sqld } from "../../support/sqld.ts";
import { tursoInMemory } from "../../support/turso.ts";
import { startFace } from "../../support/upstash_face.ts";
import { workerdHost } from "../../support/workerd.ts";
import type { Section } from "./section.ts";

/** Runs a case by its number. Rejects if the store breaks that promise. */
type RunCase = (index: number) => Promise<unknown>;

/** A store that must pass the contract. */
interface Contestant {
  readonly store: string;
  readonly where: string;
  readonly audit: string;
  readonly traits: Store["traits"];
  readonly runCase: RunCase;
}

const AUDITS = ["transitions", "calls"] as const;
const CASES = storeContract(() => memory());
const DATABASE_TRAITS = { persistent: true, shared: true, audited: true };

/** Section `contract`. */
export const section: Section = {
  async *run() {
    await using grounds = new AsyncDisposableStack();
    const rows: string[][] = [];
    const broken: string[] = [];
    for (const { store, where, audit, traits, runCase } of await contestants(grounds)) {
      let [applying, passed] = [0, 0];
      for (const [index, { name, needs }] of CASES.entries()) {
        if (needs !== undefined && !traits[needs]) continue;
        applying++;
        try {
          await runCase(index);
          passed++;
        } catch (error) {
          broken.push(`${store}, ${where}: ${name}: ${error}`);
        }
      }
      rows.push([store, where, audit, `${passed} of ${applying}`]);
    }
    yield {
      name: "contract",
      title: "The contract, store by store",
      columns: ["store", "where", "audit", "cases passed"],
      rows,
      notes: [
        `Of ${CASES.length} cases, those that apply to a store: some are about trails, or sharing.`,
        ...broken,
      ],
    };
  },
};

async function contestants(grounds: AsyncDisposableStack): Promise<Contestant[]> {
  const server = grounds.use(await startRedis());
  const face = grounds.use(await startFace({ redis: server }));
  const sqld = await Sqld.start();
  grounds.defer(() => sqld.stop());
  const local = await migrated(createClient({ url: ":memory:" }));
  const own = await migrated(localClient(":memory:"));
  const remote = await migrated(createWebClient({ url: sqld.url }));
  const turso = await migrated(grounds.use(await tursoInMemory()));
  const io = new Redis(server.url);
  grounds.defer(() => io.disconnect());
  const node = await createRedis({ url: server.url }).connect();
  grounds.defer(() => node.destroy());
  const host = workerdHost();
  grounds.defer(() => host.end());
  const { cloudflare, workerd } = await (await startFrom(host))();
  grounds.use(workerd);
  await cloudflare.ask("/migrate");

  const rest = (clock: Clock) => upstash({ url: face.url, token: face.token, clock });
  const state = (clock: Clock) =>
    tiered({ state: rest(clock), audit: libsql({ client: local, clock }) });
  return [
    inProcess("memory()", "this process", (clock) => memory({ clock })),
    inProcess("upstash()", "Redis 7.0, behind our REST face", rest),
    inProcess("redis()", "Redis 7.0, by ioredis", (clock) => redis(io, { clock })),
    inProcess("redis()", "Redis 7.0, by node-redis", (clock) => redis(node, { clock })),
    ...onDatabase("memory, by @libsql/client", local),
    ...onDatabase("memory, by localClient()", own),
    ...onDatabase("sqld", remote),
    ...onDatabase("Turso's new engine", turso),
    ...inWorkerd(cloudflare, "d1()", "workerd", "d1"),
    ...inWorkerd(cloudflare, "durableObject()", "workerd, 1 shard", "durable-object"),
    ...inWorkerd(cloudflare, "durableObject()", "workerd, 3 shards", "three durable objects"),
    inProcess("tiered()", "Redis 7.0 and libSQL", state),
  ];
}

async function migrated<C extends LibsqlClient>(client: C): Promise<C> {
  await migrate(client);
  return client;
}

function inProcess(
  store: string,
  where: string,
  make: (clock: Clock) => Store,
  audit = "",
): Contestant {
  const cases = storeContract(({ clock }) => make(clock));
  const { traits } = make(Date.now);
  return { store, where, audit, traits, runCase: (index) => cases[index]!.run() };
}

function onDatabase(where: string, client: LibsqlClient): Contestant[] {
  return AUDITS.map((audit) =>
    inProcess("libsql()", where, (clock) => libsql({ client, clock, audit }), audit)
  );
}

function inWorkerd(
  { ask }: Cloudflare,
  name: string,
  where: string,
  store: string,
): Contestant[] {
  return AUDITS.map((audit) => ({
    ...{ store: name, where, audit, traits: DATABASE_TRAITS },
    runCase: (index) => ask("/case", { store, audit, index }),
  }));
}
