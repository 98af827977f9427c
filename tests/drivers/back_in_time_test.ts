// Stores that are restored to an earlier state: numbers of generations repeat, moments do not.
import { assert, assertEquals } from "@std/assert";
import { type Client, createClient } from "@libsql/client";
import { Redis } from "@upstash/redis";
import { createFuse, type FuseEvent } from "@fuse/edge";
import { migrate } from "@fuse/edge/migrations";
import { FakeClock } from "@fuse/edge/testing";
import {
  type DatabaseStore,
  libsql,
  type OpeningStore,
  tiered,
  upstash,
} from "../support/drivers.ts";
import { startRedis } from "../support/redis_server.ts";
import { eventsOf } from "../support/trails.ts";
import { startFace } from "../support/upstash_face.ts";

/** A store that can be restored to the state that it had at `save()`. */
interface Place {
  readonly store: OpeningStore;
  save(): Promise<unknown>;
  putBack(): Promise<unknown>;
}

type Body = (place: Place, clock: FakeClock) => Promise<void>;

const PLACES: Record<string, (body: Body) => Promise<void>> = {
  "a Redis that was killed after a SAVE": async (body) => {
    const clock = new FakeClock();
    await using redis = await startRedis({ config: { dbfilename: "dump.rdb" } });
    await using face = await startFace({ redis });
    const store = upstash({ url: face.url, token: face.token, clock: clock.now });
    const save = () => redis.command("SAVE");
    await body({ store, save, putBack: () => redis.restart() }, clock);
  },

  "a replica that was promoted before it had everything": async (body) => {
    const clock = new FakeClock();
    await using primary = await startRedis();
    await using replica = await startRedis();
    await using first = await startFace({ redis: primary });
    await using second = await startFace({ redis: replica });
    let face = first;
    const client = () => new Redis({ url: face.url, token: face.token, retry: { retries: 0 } });
    const store = upstash({ redis: client, clock: clock.now });
    const save = async () => {
      await replica.command("REPLICAOF", "127.0.0.1", new URL(primary.url).port);
      assertEquals(await primary.command("WAIT", "1", "20000"), 1);
      // Later writes do not reach the copy.
      await replica.command("REPLICAOF", "NO", "ONE");
    };
    await body({ store, save, putBack: () => Promise.resolve(face = second) }, clock);
  },

  "a database file that was restored from a backup": async (body) => {
    const clock = new FakeClock();
    const folder = await Deno.makeTempDir({ prefix: "fuse-backup-" });
    const clients = ["live", "backup"].map((name) =>
      createClient({ url: `file:${folder}/${name}` })
    );
    const [live, backup] = clients as [Client, Client];
    try {
      await migrate(live);
      let current = live;
      const store = libsql({ client: () => current, clock: clock.now, trailKey: "a key" });
      const save = () => live.execute({ sql: "vacuum into ?", args: [`${folder}/copy`] });
      const putBack = async () => {
        await Deno.copyFile(`${folder}/copy`, `${folder}/backup`);
        current = backup;
      };
      await body({ store, save, putBack }, clock);
      assertEquals((await (store as DatabaseStore).verifyTrail()).ok, true);
    } finally {
      for (const client of clients) client.close();
      await Deno.remove(folder, { recursive: true });
    }
  },
};

const OPTIONS = {
  ...{ consistency: "strong", failureThreshold: 1, successThreshold: 1, cooldownMs: 300 } as const,
};

/** Saves a circuit in generation 1, and lets it reach generation 3 before the store is restored. */
async function scene({ store, save, putBack }: Place, clock: FakeClock) {
  const fuse = createFuse({ stores: { store }, clock: clock.now, storeTimeoutMs: 20_000 });
  const events: FuseEvent[] = [];
  fuse.on("*", (event) => void events.push(event));
  const breaker = fuse.make("payments", OPTIONS);
  await breaker.call(() => 1);
  // Successes are recorded in the background.
  await fuse.flush();
  await save();
  clock.advance(10);
  await breaker.reset();
  clock.advance(10);
  await breaker.reset();
  const old = await breaker.admit();
  clock.advance(10);
  await putBack();
  // The first request after the restore may find a closed connection.
  for (let i = 0; i < 5; i++) {
    await breaker.snapshot();
    clock.advance(40_000);
  }
  assertEquals((await breaker.snapshot()).generation, 1);
  const told = (type: string) => events.filter((event) => event.type === type).length;
  return { breaker, old, told, fuse };
}

for (const [place, run] of Object.entries(PLACES)) {
  Deno.test(`${place} counts a result from before the loss as late`, async () => {
    await run(async (store, clock) => {
      const { breaker, old, told } = await scene(store, clock);
      assertEquals(told("reborn"), 1);
      await breaker.tryCall(() => Promise.reject(new Error("down")));
      clock.advance(300);
      const trial = await breaker.admit();
      // The generation of the old call exists again.
      assertEquals((await breaker.snapshot()).generation, 3);
      await old.success();
      assertEquals(await breaker.getState(), "HALF_OPEN");
      await trial.failure();
      assertEquals(await breaker.getState(), "OPEN");
      assertEquals((await breaker.snapshot()).generation, 4);
    });
  });
}

for (const place of Object.keys(PLACES).slice(0, 2)) {
  Deno.test(`tiered() writes a row for each change though its state is ${place}`, async () => {
    await PLACES[place]!(async ({ store: state, ...rest }, clock) => {
      const client = createClient({ url: ":memory:" });
      await migrate(client);
      const audit = libsql({ client, trailKey: "a key" });
      const store = tiered({ state, audit, auditTimeoutMs: 10_000 });
      const { breaker, fuse } = await scene({ store, ...rest }, clock);
      await breaker.disable({ actor: "ada", reason: "after the crash" });
      clock.advance(10);
      await breaker.reset();
      await fuse.flush();
      const rows = (await eventsOf(audit)).map(({ event, metadata }) =>
        `${event} ${metadata?.["generation"]}`
      );
      assertEquals(rows.toSorted(), ["disabled 2", "reset 2", "reset 3", "reset 3"]);
      const proof = await audit.verifyTrail();
      assert(proof.ok, JSON.stringify(proof));
      client.close();
    });
  });
}
