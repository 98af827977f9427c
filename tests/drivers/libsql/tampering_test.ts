// The hash chain: the changes that it reveals.
import { assert, assertEquals } from "@std/assert";
import type { Client, InValue } from "@libsql/client";
import type { TrailProof } from "@fuse/edge/libsql";
import { FakeClock } from "@fuse/edge/testing";
import { linkHash, makeDigest } from "../../../drivers/libsql/chain.ts";
import { databasesForFile } from "../../support/databases.ts";
import { IN_FULL } from "../../support/scale.ts";
import {
  acquiring,
  changing,
  COOLDOWN_MS,
  EVENTS,
  eventsOf,
  laying,
  live,
  request,
  tally,
  TRAIL_KEY,
} from "../../support/trails.ts";
import { type DatabaseStore, libsql } from "../../support/drivers.ts";

const databases = await databasesForFile();

/** Runs `body` with a circuit that has six rows, and with a neighbor. */
async function withTrail(
  connect: () => Client,
  body: (parts: {
    client: Client;
    store: DatabaseStore;
    key: string;
    ids: number[];
    heads: Record<string, string>;
    run: (sql: string, ...args: InValue[]) => Promise<unknown>;
  }) => Promise<void>,
  trailKey: string | null = TRAIL_KEY,
): Promise<void> {
  const client = connect();
  const clock = new FakeClock();
  const store = libsql({
    client,
    clock: clock.now,
    audit: "calls",
    trailKey: trailKey ?? undefined,
  });
  const key = `trail-${crypto.randomUUID()}`;
  try {
    await live(store, `${key}-neighbor`, clock.advance.bind(clock));
    await live(store, key, clock.advance.bind(clock));
    const { ok, heads } = await store.verifyTrail();
    assertEquals(ok, true);
    const { rows } = await client.execute({
      sql: `select id from ${EVENTS} where key = ? and sequence is not null order by sequence`,
      args: [key],
    });
    const ids = rows.map(({ id }) => Number(id));
    assertEquals(ids.length, 6);
    const run = (sql: string, ...args: InValue[]) => client.execute({ sql, args });
    await body({ client, store, key, ids, heads, run });
  } finally {
    for (const table of [EVENTS, "circuit_breaker_trails", "circuit_breakers"]) {
      await client.execute({ sql: `delete from ${table} where key like ?`, args: [`${key}%`] });
    }
    client.close();
  }
}

/** Fails unless verifyTrail() reports a break at one of these rows. */
async function assertBroken(
  store: DatabaseStore,
  circuit: string,
  at: number[],
  ...problems: NonNullable<TrailProof["brokenAt"]>["problem"][]
): Promise<void> {
  for (const proof of [await store.verifyTrail(), await store.verifyTrail({ circuit })]) {
    assertEquals(proof.ok, false);
    assertEquals(proof.brokenAt?.circuit, circuit);
    assert(at.map(String).includes(proof.brokenAt!.id), `${proof.brokenAt!.id} of ${at}`);
    assert(problems.includes(proof.brokenAt!.problem), proof.brokenAt!.problem);
  }
}

/** Each column of a chained row, with another value for it. */
const CHANGES: Record<string, string> = {
  id: "(select max(id) + 1000 from circuit_breaker_events)",
  circuit_breaker_id: "circuit_breaker_id + 1",
  event: "'metrics_only'",
  metadata: "json_set(metadata, '$.actor', 'mallory')",
  created_at: "created_at + 1",
  key: "key || '-neighbor'",
  epoch: "'another'",
  generation: "generation + 1",
  sequence: "sequence + 100",
  hash: "'00'",
};

for (const { name, connect } of databases) {
  // This process verifies, wherever the rows are.
  const scale = name === "sqld" ? IN_FULL : {};

  for (const [column, value] of Object.entries(CHANGES)) {
    const title = `verifyTrail() finds that "${column}" of any row was changed on ${name}`;
    Deno.test({ name: title, ...scale }, async () => {
      await withTrail(connect, async ({ store, key, ids, run }) => {
        for (const [i, id] of ids.entries()) {
          const where = `where key = ? and sequence = ${i + 1}`;
          const { rows } = await run(`select * from ${EVENTS} ${where}`, key) as {
            rows: Record<string, InValue>[];
          };
          await run(`update ${EVENTS} set ${column} = ${value} ${where}`, key);
          const proof = await store.verifyTrail();
          assertEquals(proof.ok, false, `row ${i + 1}`);
          // A removed row is missed at the next row, or at the previous one.
          const near = column === "key"
            ? [proof.brokenAt!.id]
            : [ids[i - 1], id, ids[i + 1], rows[0]!.id].map(String);
          if (column !== "id") assert(near.includes(proof.brokenAt!.id), proof.brokenAt!.id);
          await run(
            `update ${EVENTS} set id = ?, ${column} = ? where ${
              column === "id"
                ? "id = (select max(id) from circuit_breaker_events) and key = ?"
                : "id = ? and ? <> ''"
            }`,
            id,
            rows[0]![column]!,
            ...column === "id" ? [key] : [id, key],
          );
          assertEquals((await store.verifyTrail()).brokenAt, null, `row ${i + 1}, put right`);
        }
      });
    });
  }

  Deno.test({
    name: `verifyTrail() finds the first, a middle and the last row removed on ${name}`,
    ...scale,
  }, async () => {
    for (const place of [0, 2, 5]) {
      await withTrail(connect, async ({ store, key, ids, run }) => {
        await run(`delete from ${EVENTS} where id = ?`, ids[place]!);
        await assertBroken(store, key, [ids[place - 1]!, ids[place + 1]!], "removed");
      });
    }
  });

  Deno.test({
    name: `verifyTrail() finds an inserted row, wherever it claims to be, on ${name}`,
    ...scale,
  }, async () => {
    for (const sequence of ["null", "0", "3", "6", "7"]) {
      await withTrail(connect, async ({ store, key, ids, run }) => {
        await run(
          `insert into ${EVENTS} (circuit_breaker_id, event, metadata, created_at, key, epoch,
            generation, sequence, hash) select circuit_breaker_id, 'reset', metadata, created_at,
            key, epoch, generation, ${sequence}, hash from ${EVENTS} where id = ?`,
          ids[2]!,
        );
        const proof = await store.verifyTrail();
        assert(
          ["inserted", "changed"].includes(proof.brokenAt!.problem),
          proof.brokenAt?.problem,
        );
        assertEquals(proof.brokenAt?.circuit, key);
      });
    }
  });

  Deno.test(
    { name: `verifyTrail() finds two rows that were swapped on ${name}`, ...scale },
    async () => {
      for (const columns of ["sequence", "sequence, hash"]) {
        await withTrail(connect, async ({ client, store, key, ids }) => {
          const [a, b] = [ids[1]!, ids[2]!];
          const names = columns.split(", ");
          const { rows } = await client.execute(
            `select id, ${columns} from ${EVENTS} where id in (${a}, ${b}) order by id`,
          );
          for (const [id, row] of [[a, rows[1]!], [b, rows[0]!]] as const) {
            await client.execute({
              sql: `update ${EVENTS} set ${names.map((n) => `${n} = ?`).join(", ")} where id = ?`,
              args: [...names.map((n) => row[n]!), id],
            });
          }
          await assertBroken(store, key, [a, b], "changed", "removed", "inserted");
        });
      }
    },
  );

  Deno.test({
    name:
      `verifyTrail() finds a row hashed anew with all later rows if there is a key, and only then, on ${name}`,
    ...scale,
  }, async () => {
    for (const trailKey of [TRAIL_KEY, null]) {
      await withTrail(connect, async ({ store, key, ids, run }) => {
        await run(`update ${EVENTS} set event = 'metrics_only' where id = ?`, ids[3]!);
        await forge(run, key);
        const proof = await store.verifyTrail();
        assertEquals(proof.ok, trailKey === null);
        if (trailKey !== null) assertEquals(proof.brokenAt?.id, String(ids[0]));
      }, trailKey);
    }
  });

  Deno.test({
    name: `verifyTrail() finds a truncated end by its head, and only by it, on ${name}`,
    ...scale,
  }, async () => {
    await withTrail(connect, async ({ store, key, ids, heads, run }) => {
      const before = await run(
        `select hash from ${EVENTS} where id = ?`,
        ids[3]!,
      ) as { rows: { hash: string }[] };
      for (const id of ids.slice(4)) await run(`delete from ${EVENTS} where id = ?`, id);
      await assertBroken(store, key, [ids[3]!], "removed");
      // The deletion is so thorough that no row is left.
      await run(
        "update circuit_breaker_trails set head = ?, sequence = 4, last_id = ? where key = ?",
        before.rows[0]!.hash,
        ids[3]!,
        key,
      );
      await run("delete from circuit_breakers where key = ?", key);
      assertEquals((await store.verifyTrail()).ok, true);
      for (const circuit of [undefined, key]) {
        const proof = await store.verifyTrail({ circuit, head: heads[key] });
        assertEquals([proof.ok, proof.brokenAt?.problem], [false, "removed"]);
      }
      // Of any circuit, if none is given.
      assertEquals((await store.verifyTrail({ head: heads[`${key}-neighbor`] })).ok, true);
      assertEquals(
        (await store.verifyTrail({ circuit: key, head: heads[`${key}-neighbor`] })).ok,
        false,
      );
    });
  });

  Deno.test({
    name: `a chain continues over a circuit's lives and edits by hand on ${name}`,
    ...scale,
  }, async () => {
    await withTrail(connect, async ({ store, key, run }) => {
      await run("update circuit_breakers set state = 'OPEN' where key = ?", key);
      // No row is hashed yet.
      const unsealed = await store.verifyTrail({ circuit: key });
      assertEquals([unsealed.ok, unsealed.checked], [true, 6]);
      await run("update circuit_breakers set state = 'CLOSED' where key = ?", key);
      await store.override(key, { ...laying(), kind: "disabled" });
      const sealed = await store.verifyTrail({ circuit: key });
      assertEquals([sealed.ok, sealed.checked], [true, 9]);
      await store.remove(key);
      await store.record(key, tally({ failures: 1 }));
      await store.transition(key, changing());
      const reborn = await store.verifyTrail({ circuit: key });
      assertEquals([reborn.ok, reborn.checked, reborn.brokenAt], [true, 11, null]);
    });
  });

  Deno.test({
    name: `verifyTrail() finds an edit by hand that was removed again, sealed or not, on ${name}`,
    ...scale,
  }, async () => {
    await withTrail(connect, async ({ store, key, run }) => {
      for (const state of ["OPEN", "CLOSED"]) {
        await run("update circuit_breakers set state = ? where key = ?", state, key);
      }
      await run(
        `delete from ${EVENTS} where id = (select max(id) from ${EVENTS} where key = ?)`,
        key,
      );
      assertEquals((await store.verifyTrail({ circuit: key })).brokenAt?.problem, "removed");
      // The circuit works all the same, and the break persists.
      const { won } = await store.override(key, { ...laying(), kind: "disabled" });
      assertEquals(won, true);
      assertEquals((await store.verifyTrail({ circuit: key })).brokenAt?.problem, "removed");
    });
  });

  Deno.test({
    name:
      `verifyTrail() finds an edit that claims more than the trigger wrote, sealed or not, on ${name}`,
    ...scale,
  }, async () => {
    const proper = { from: "CLOSED", to: "OPEN", generation: 9, reason: null, actor: null };
    const forged = [
      JSON.stringify({ ...proper, actor: "ada" }),
      JSON.stringify({ ...proper, reason: "an outage" }),
      JSON.stringify({ ...proper, more: 1 }),
      JSON.stringify({ ...proper, generation: 8 }),
      JSON.stringify({ ...proper, to: "ada was here" }),
      ...["{", "null", "[]", null],
    ];
    for (const metadata of forged) {
      await withTrail(connect, async ({ store, key, run }) => {
        await run(
          `insert into ${EVENTS} (circuit_breaker_id, event, metadata, created_at, key, epoch,
            generation) select id, 'edited', ?, updated_at, key, epoch, 9 from circuit_breakers
            where key = ?`,
          metadata,
          key,
        );
        await run("update circuit_breaker_trails set unsealed = 1 where key = ?", key);
        const { rows } = await run(`select max(id) as id from ${EVENTS} where key = ?`, key) as {
          rows: { id: number }[];
        };
        await assertBroken(store, key, [rows[0]!.id], "inserted");
        // A change of the circuit does not add the row to the chain either.
        const { won } = await store.override(key, { ...laying(), kind: "disabled" });
        assertEquals(won, true);
        await assertBroken(store, key, [rows[0]!.id], "inserted");
      });
    }
  });

  Deno.test({
    name: `verifyTrail() finds an edit that claims too much where it was sealed on ${name}`,
    ...scale,
  }, async () => {
    await withTrail(connect, async ({ store, key, run }) => {
      await run("update circuit_breakers set state = 'OPEN' where key = ?", key);
      await store.override(key, { ...laying(), kind: "disabled" });
      assertEquals((await store.verifyTrail({ circuit: key })).ok, true);
      // Somebody who knows the trail key can hash it.
      const metadata = "json_set(metadata, '$.actor', 'ada')";
      const { rows } = await run(
        `update ${EVENTS} set metadata = ${metadata} where key = ? and event = 'edited' returning *`,
        key,
      ) as { rows: Record<string, InValue>[] };
      const { rows: [before] } = await run(
        `select * from ${EVENTS} where key = ? and sequence = 6`,
        key,
      ) as { rows: Record<string, InValue>[] };
      const edited = rows[0]!;
      const hash = await linkHash(await makeDigest(TRAIL_KEY), {
        ...{ key, circuit: Number(edited.circuit_breaker_id), epoch: String(edited.epoch) },
        ...{ generation: Number(edited.generation), began: Number(edited.began) },
        ...{ event: String(edited.event) },
        ...{ at: Number(edited.created_at), metadata: edited.metadata as string },
      }, { hash: String(before!.hash), sequence: 6, id: Number(before!.id) });
      await run(`update ${EVENTS} set hash = ? where id = ?`, hash, edited.id!);
      await assertBroken(store, key, [Number(edited.id)], "inserted");
    });
  });

  Deno.test({
    name:
      `50 writers that race for transitions write one chain, one row for each generation, on ${name}`,
    ...scale,
  }, async () => {
    const clients = Array.from({ length: 50 }, connect);
    const key = `race-${crypto.randomUUID()}`;
    const clock = new FakeClock();
    const stores = clients.map((client) =>
      libsql({ client, clock: clock.now, trailKey: TRAIL_KEY, busyTimeoutMs: 60_000 })
    );
    await stores[0]!.record(key, tally({ failures: 1 }));
    let won = 0;
    for (let round = 0; round < 3; round++) {
      const { epoch, generation, began } = await stores[0]!.read(key, request());
      const expected = { epoch, generation, began };
      const answers = await Promise.all(
        stores.map((store) => store.transition(key, changing({ expected }))),
      );
      won += answers.filter((answer) => answer.won).length;
      clock.advance(COOLDOWN_MS);
      const moved = await Promise.all(stores.map((store) => store.acquire(key, acquiring())));
      won += moved.filter((answer) => answer.moved).length;
    }
    assertEquals(won, 6);
    const events = await eventsOf(stores[0]!, { key });
    assertEquals(
      events.map(({ metadata }) => metadata!.generation),
      [7, 6, 5, 4, 3, 2],
    );
    const proof = await stores[1]!.verifyTrail({ circuit: key });
    assertEquals([proof.ok, proof.checked, proof.brokenAt], [true, 6, null]);
    for (const client of clients) client.close();
  });

  Deno.test({
    name: `operators that act concurrently all win, one after the other, on ${name}`,
    ...scale,
  }, async () => {
    const clients = Array.from({ length: 8 }, connect);
    const key = `operators-${crypto.randomUUID()}`;
    const stores = clients.map((client) =>
      libsql({ client, trailKey: TRAIL_KEY, busyTimeoutMs: 60_000 })
    );
    const answers = await Promise.all(
      stores.map((store) => store.override(key, { ...laying(), kind: "disabled" })),
    );
    assertEquals(answers.map((answer) => answer.won), Array(8).fill(true));
    const { ok, checked } = await stores[0]!.verifyTrail({ circuit: key });
    assertEquals([ok, checked], [true, 8]);
    for (const client of clients) client.close();
  });
}

/** Hashes a chain anew, as an attacker can who may write to the tables and has no key. */
async function forge(
  run: (sql: string, ...args: InValue[]) => Promise<unknown>,
  key: string,
): Promise<void> {
  const digest = await makeDigest(undefined);
  const { rows } = await run(
    `select * from ${EVENTS} where key = ? and sequence is not null order by sequence`,
    key,
  ) as { rows: Record<string, InValue>[] };
  let head = { hash: "", sequence: 0, id: 0 };
  for (const row of rows) {
    const hash = await linkHash(digest, {
      ...{ key, circuit: Number(row.circuit_breaker_id), epoch: String(row.epoch) },
      ...{ generation: Number(row.generation), began: Number(row.began) },
      ...{ event: String(row.event) },
      ...{ at: Number(row.created_at), metadata: row.metadata as string },
    }, head);
    head = { hash, sequence: head.sequence + 1, id: Number(row.id) };
    await run(`update ${EVENTS} set hash = ? where id = ?`, hash, head.id);
  }
  await run("update circuit_breaker_trails set head = ? where key = ?", head.hash, key);
}
