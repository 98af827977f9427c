// verifyTrail() compares the circuits with their trail: the changes that it finds, and the writers
// that it never accuses.
import { assertEquals, assertThrows } from "@std/assert";
import { FakeClock } from "@fuse/edge/testing";
import type { LibsqlClient } from "@fuse/edge/libsql";
import type { Client } from "@libsql/client";
import { inMemory } from "../../support/databases.ts";
import { type DatabaseStore, libsql } from "../../support/drivers.ts";
import { acquiring, changing, eventsOf, laying, tally } from "../../support/trails.ts";

interface Scene {
  readonly store: DatabaseStore;
  readonly client: Client;
  readonly clock: FakeClock;
}

async function withScene(body: (scene: Scene) => Promise<void>): Promise<void> {
  await inMemory(async (client) => {
    const clock = new FakeClock();
    const store = libsql({ client, clock: clock.now, trailKey: "a key" });
    await store.record("a", tally({ failures: 1 }));
    await store.transition("a", changing());
    const words = { reason: "incident", actor: "ada" };
    await store.override("a", { ...laying(), ...words, kind: "forced_open" });
    await body({ store, client, clock });
  });
}

/** The trigger takes a writer that raises the revision for the store. */
const ATTACKS: readonly [set: string, field: string][] = [
  ["override = 'forced_closed'", "its override"],
  ["override = null", "its override"],
  ["override_until = 5", "its override_until"],
  ["override_actor = 'bob'", "its override_actor"],
  ["override_reason = 'a drill'", "its override_reason"],
  ["state = 'CLOSED'", "its state"],
  ["open_until = open_until - 1", "its open_until"],
  ["cooldown_ms = 1", "its cooldown_ms"],
  ["reason = 'a drill'", "its reason"],
  ["began = began + 1", "its generation"],
  ["reason = x'ff'", "its reason"],
  ["override_actor = cast(x'ff' as text)", "its override_actor"],
  ["open_until = x'ff'", "its open_until"],
  ["epoch = 'x.1', generation = 1, state = 'CLOSED', override = null", "it is another one"],
];

for (const [set, what] of ATTACKS) {
  Deno.test(`verifyTrail() finds a circuit whose row was changed by hand: ${set}`, async () => {
    await withScene(async ({ store, client }) => {
      assertEquals((await store.verifyTrail()).ok, true);
      await client.execute(`update circuit_breakers set ${set}, revision = revision + 1`);
      const { ok, brokenAt } = await store.verifyTrail();
      const { circuit, problem, detail } = brokenAt!;
      assertEquals([ok, circuit, problem], [false, "a", "circuit"]);
      assertEquals(detail, `The circuit is not as its last row says: ${what}`);
    });
  });
}

Deno.test("verifyTrail() finds text that is not UTF-8, in a row and in a key", async () => {
  const bytes = "cast(x'61ff' as text)";
  for (const column of ["metadata", "event", "epoch", "hash"]) {
    await withScene(async ({ store, client }) => {
      await client.execute(`update circuit_breaker_events set ${column} = ${bytes} where id = 1`);
      const { problem, circuit } = (await store.verifyTrail()).brokenAt!;
      assertEquals([problem, circuit], ["changed", "a"]);
      await Array.fromAsync(store.history());
      assertEquals((await store.prune({ olderThanMs: 0 })).deleted, 0);
    });
  }
  await withScene(async ({ store, client }) => {
    await client.execute(`insert into circuit_breakers (key, name) values (${bytes}, 'a')`);
    const { ok, brokenAt } = await store.verifyTrail();
    assertEquals([ok, brokenAt?.problem, brokenAt?.circuit], [false, "inserted", "a\ufffd"]);
  });
});

const FORCED = "(key, name, state, override, override_actor, epoch, generation, revision) " +
  "values ('a', 'a', 'OPEN', 'forced_open', 'ada', 'x.1', 1, 0)";
const KNOWN = "insert into circuit_breaker_requests select id, 'x', 0, 1, revision + 9 " +
  "from circuit_breakers";

/** Edits by somebody who knows the triggers: verifyTrail() finds them. */
const FOUND: Record<string, readonly [problem: string, ...sql: string[]]> = {
  "deleted as if the store had": ["circuit", KNOWN, "delete from circuit_breakers"],
  "deleted so and made again": [
    "circuit",
    KNOWN,
    "delete from circuit_breakers",
    "insert into circuit_breakers (key, name, epoch) values ('a', 'a', 'x.1')",
  ],
  "replaced by a new one": [
    "circuit",
    "insert or replace into circuit_breakers (key, name, epoch) values ('a', 'a', 'x.1')",
  ],
  "replaced under its id": [
    "circuit",
    "insert or replace into circuit_breakers (id, key, name) values (1, 'c', 'c')",
  ],
  "exchanged with another": [
    "unchained",
    ...[["a", "x"], ["b", "a"], ["x", "b"]].map(([from, to]) =>
      `update circuit_breakers set key = '${to}', revision = revision + 1 where key = '${from}'`
    ),
  ],
  "robbed of its whole trail": [
    "unchained",
    "delete from circuit_breaker_events",
    "delete from circuit_breaker_trails",
  ],
  "robbed of its last row": [
    "removed",
    "delete from circuit_breaker_events where event = 'forced_open'",
  ],
  "edited without the trigger": [
    "trigger",
    "drop trigger circuit_breakers_edited",
    "update circuit_breakers set override = null",
  ],
  "deleted without the trigger": [
    "trigger",
    "drop trigger circuit_breakers_deleted",
    "delete from circuit_breakers",
  ],
  "put in without the trigger": [
    "trigger",
    "drop trigger circuit_breakers_inserted",
    `insert or replace into circuit_breakers ${FORCED}`,
  ],
  "edited while a trigger did something else": [
    "trigger",
    "drop trigger circuit_breakers_edited",
    "create trigger circuit_breakers_edited after update on circuit_breakers begin select 1; end",
    "update circuit_breakers set override = null",
  ],
};

for (const [what, [problem, ...attack]] of Object.entries(FOUND)) {
  Deno.test(`verifyTrail() finds a circuit that was ${what}`, async () => {
    await withScene(async ({ store, client }) => {
      await store.record("b", tally({ failures: 1 }));
      await store.transition("b", changing());
      assertEquals((await store.verifyTrail()).brokenAt, null);
      for (const sql of attack) await client.execute(sql);
      assertEquals((await store.verifyTrail()).brokenAt?.problem, problem);
    });
  });
}

Deno.test("verifyTrail() finds a row edited between a trigger's end and its return", async () => {
  await withScene(async ({ store, client }) => {
    const { rows: [trigger] } = await client.execute(
      "select sql from sqlite_master where name = 'circuit_breakers_edited'",
    );
    await client.execute("drop trigger circuit_breakers_edited");
    await client.execute("update circuit_breakers set override = null");
    await client.execute(String(trigger!["sql"]));
    assertEquals((await store.verifyTrail()).brokenAt?.problem, "circuit");
  });
});

Deno.test("verifyTrail() accepts a trigger that has no comments and stands on one line", async () => {
  await withScene(async ({ store, client }) => {
    const { rows } = await client.execute(
      "select name, sql from sqlite_master where type = 'trigger'",
    );
    assertEquals(rows.length, 3);
    for (const { name, sql } of rows) {
      await client.execute(`drop trigger ${name}`);
      await client.execute(String(sql).replace(/--.*/g, "").replace(/\s+/g, " /* a word */ "));
    }
    assertEquals((await store.verifyTrail()).brokenAt, null);
    const { name, sql } = rows[0]!;
    await client.execute(`drop trigger ${name}`);
    await client.execute(String(sql).replace("'edited'", "'edited '"));
    const { brokenAt } = await store.verifyTrail({ circuit: "a" });
    assertEquals([brokenAt?.problem, brokenAt?.circuit], ["trigger", ""]);
    assertEquals(brokenAt?.detail.endsWith(String(name)), true);
  });
});

/** Edits by somebody who does not: rows `edited` record them, and the trail verifies. */
const TOLD: Record<string, readonly [by: readonly string[], ...sql: string[]]> = {
  "changed": [["update"], "update circuit_breakers set override = null"],
  "given another reason": [["update"], "update circuit_breakers set reason = 'a drill'"],
  "given another cooldown": [["update"], "update circuit_breakers set cooldown_ms = 1"],
  "deleted": [["delete"], "delete from circuit_breakers"],
  "deleted and made again": [
    ["delete", "insert"],
    "delete from circuit_breakers",
    "insert into circuit_breakers (key, name) values ('a', 'a')",
  ],
  "deleted and put in, forced open": [
    ["delete", "insert"],
    "delete from circuit_breakers",
    `insert into circuit_breakers ${FORCED}`,
  ],
  "replaced": [["insert"], `insert or replace into circuit_breakers ${FORCED}`],
  "given another key": [["delete"], "update circuit_breakers set key = 'b'"],
};

for (const [what, [by, ...edits]] of Object.entries(TOLD)) {
  Deno.test(`a row "edited" records that a circuit was ${what}, with its whole state`, async () => {
    await withScene(async ({ store, client }) => {
      for (const sql of edits) await client.execute(sql);
      const edited = (await eventsOf(store, { key: "a" })).filter(({ event }) =>
        event === "edited"
      );
      edited.sort((a, b) => Number(a.id) - Number(b.id));
      assertEquals(edited.map(({ metadata }) => metadata?.["by"]), by);
      const { rows: [row] } = await client.execute(
        "select * from circuit_breakers where key = 'a'",
      );
      assertEquals(
        edited.at(-1)!.metadata?.["after"],
        row === undefined ? null : {
          ...{ state: row["state"], openUntil: row["open_until"], cooldownMs: row["cooldown_ms"] },
          reason: row["reason"],
          override: row["override"] && {
            ...{ kind: row["override"], until: row["override_until"] },
            ...{ reason: row["override_reason"], actor: row["override_actor"] },
          },
        },
      );
      for (const sealed of [false, true]) {
        assertEquals((await store.verifyTrail()).brokenAt, null, `sealed: ${sealed}`);
        await store.override("a", { ...laying(), kind: "disabled" });
      }
    });
  });
}

Deno.test("rows of both circuits record that they were exchanged by hand", async () => {
  await withScene(async ({ store, client }) => {
    await store.record("b", tally({ failures: 1 }));
    await store.transition("b", changing());
    for (const [from, to] of [["a", "x"], ["b", "a"], ["x", "b"]]) {
      await client.execute(`update circuit_breakers set key = '${to}' where key = '${from}'`);
    }
    for (const key of ["a", "b"]) {
      const told = (await eventsOf(store, { key })).filter(({ event }) => event === "edited");
      assertEquals(told.map(({ metadata }) => metadata?.["by"]).sort(), ["delete", "update"]);
    }
    assertEquals((await store.verifyTrail()).brokenAt, null);
  });
});

Deno.test("a row records a circuit that was deleted by hand right after a lost request", async () => {
  await withScene(async ({ store, client }) => {
    const expected = { epoch: "another", generation: 7, began: 5 };
    assertEquals((await store.transition("a", changing({ expected }))).won, false);
    await client.execute("delete from circuit_breakers");
    assertEquals((await eventsOf(store, { key: "a" }))[0]?.metadata?.["by"], "delete");
  });
});

Deno.test("a row records a circuit that was inserted by hand, and no row one that the store creates", async () => {
  await withScene(async ({ store, client }) => {
    await client.execute(
      "insert into circuit_breakers (key, name, state, override, override_actor) " +
        "values ('b', 'b', 'OPEN', 'forced_open', 'ada')",
    );
    await store.record("c", tally({ failures: 1 }));
    const [told, ...rest] = await eventsOf(store, { event: "edited" });
    assertEquals([told?.name, told?.metadata?.["by"], rest], ["b", "insert", []]);
    assertEquals((await store.verifyTrail()).brokenAt, null);
    await store.transition("b", changing({ to: "CLOSED", event: "reset" }));
    assertEquals((await store.verifyTrail()).brokenAt, null);
  });
});

Deno.test("verifyTrail() reports no break while writers append and prune", async () => {
  await withScene(async ({ store, client, clock }) => {
    const rows = async (n: number) => {
      for (let i = 0; i < n; i++) await store.override("a", { ...laying(), kind: "disabled" });
    };
    await rows(1_100);
    clock.advance(10_000);
    await rows(10);
    // Runs between the pages of the proof.
    let asked = 0;
    const between: LibsqlClient = {
      async execute(statement) {
        if (++asked >= 3) {
          await rows(3);
          await store.prune({ olderThanMs: 1_000, limit: 300 });
        }
        return await client.execute(statement as never) as never;
      },
      batch: (statements, mode) => client.batch(statements as never, mode) as never,
    };
    const slow = libsql({ client: between, clock: clock.now, trailKey: "a key" });
    const { brokenAt, checked } = await slow.verifyTrail({ circuit: "a" });
    assertEquals([brokenAt, asked > 3, checked > 600], [null, true, true]);
  });
});

Deno.test("a row of the trail records a circuit that was deleted by hand, and the trail verifies", async () => {
  await withScene(async ({ store, client }) => {
    await client.execute("delete from circuit_breakers");
    const [edited] = await eventsOf(store, { key: "a" });
    assertEquals([edited?.event, edited?.metadata?.["by"]], ["edited", "delete"]);
    assertEquals((await store.verifyTrail()).ok, true);
    await store.record("a", tally({ failures: 1 }));
    await store.transition("a", changing());
    assertEquals((await store.verifyTrail()).ok, true);
    // Two clocks: the database's does not follow the test's.
    const events = (await eventsOf(store, { key: "a" })).map(({ event }) => event);
    assertEquals(events.toSorted(), ["edited", "forced_open", "opened", "opened"]);
  });
});

Deno.test("trailKeys changes the key of a trail: the first key hashes new rows, and all keys verify", async () => {
  await withScene(async ({ store: old, client, clock }) => {
    const open = (...trailKeys: string[]) => libsql({ client, clock: clock.now, trailKeys });
    await open("a key", "new").transition("a", changing({ to: "CLOSED", event: "reset" }));
    assertEquals((await old.verifyTrail()).ok, true);
    const both = open("new", "a key");
    await both.override("a", { ...laying(), kind: "disabled" });
    assertEquals((await both.verifyTrail()).ok, true);
    assertEquals((await old.verifyTrail()).brokenAt?.problem, "changed");
    clock.advance(10_000);
    assertEquals((await both.prune({ olderThanMs: 1_000 })).deleted > 2, true);
    await both.override("a", { ...laying(), kind: "forced_open" });
    assertEquals((await open("new").verifyTrail()).brokenAt, null);
  });
});

Deno.test("libsql() refuses invalid trailKeys, and shows none of them", () => {
  const client = { execute: () => {}, batch: () => {} } as never;
  for (const trailKeys of [[], ["secret", ""], "secret", ["secret", 5]] as never[]) {
    const error = assertThrows(() => libsql({ client, trailKeys }), Error, '"trailKeys"');
    assertEquals(error.message.includes("secret"), false);
  }
  assertThrows(() => libsql({ client, trailKey: "a", trailKeys: ["b"] }), Error, '"trailKeys"');
});

const HONEST: Record<string, (scene: Scene) => Promise<unknown>> = {
  "an override that is kept through a reset": ({ store }) =>
    Promise.resolve(store.transition("a", changing({ to: "CLOSED", event: "reset" }))),
  "an override that ran out": async ({ store, clock }) => {
    const until = clock.now() + 1_000;
    await store.override("a", { ...laying(), kind: "disabled", until, at: clock.now() });
    clock.advance(1_001);
    await store.record("a", tally({ failures: 1 }));
  },
  "an override that ran out, and a transition upon it": async ({ store, clock }) => {
    const until = clock.now() + 1_000;
    await store.override("a", { ...laying(), kind: "disabled", until, at: clock.now() });
    clock.advance(1_001);
    await store.transition("a", changing({ to: "CLOSED", event: "reset" }));
  },
  "an override that was laid by hand": ({ client }) =>
    client.execute("update circuit_breakers set override = 'disabled', override_actor = 'bob'"),
  "an override by hand, and a reset upon it": async ({ client, store }) => {
    await client.execute("update circuit_breakers set override = 'disabled'");
    await store.transition("a", changing({ to: "CLOSED", event: "reset" }));
  },
  "the bulk update of the seed": ({ client }) =>
    client.execute("update circuit_breakers set state = 'CLOSED', failure_count = 0"),
  "a circuit that went half-open": async ({ store, clock }) => {
    await store.override("a", { ...laying(), kind: null });
    clock.advance(3_600_000);
    await store.acquire("a", acquiring());
  },
  "a chain that was pruned": async ({ store, clock }) => {
    clock.advance(10_000);
    await store.prune({ olderThanMs: 1_000 });
  },
  "a pruned chain that goes on": async ({ store, clock }) => {
    clock.advance(10_000);
    await store.prune({ olderThanMs: 1_000 });
    await store.override("a", { ...laying(), kind: "disabled" });
  },
  "a chain of which all was pruned but its newest row": async ({ store, clock }) => {
    clock.advance(10_000);
    assertEquals((await store.prune({ olderThanMs: 0 })).deleted, 1);
    assertEquals((await eventsOf(store)).map(({ event }) => event), ["forced_open"]);
  },
  "a circuit put in by hand, and a transition upon it": async ({ client, store }) => {
    await client.execute(
      "insert into circuit_breakers (key, name, state) values ('b', 'b', 'OPEN')",
    );
    await store.transition("b", changing({ to: "CLOSED", event: "reset" }));
  },
  "an edit by hand of everything": ({ client }) =>
    client.execute(
      "update circuit_breakers set state = 'OPEN', open_until = 5, reason = 'mine', " +
        "override = 'forced_closed', override_until = 9e15, override_actor = 'bob', failure_count = 7",
    ),
  "words of all kinds": async ({ store }) => {
    const words = { reason: "\ud800 \u0000 'a' \"b\" ё 😀", actor: "" };
    await store.override("a", { ...laying(), ...words, kind: "forced_closed" });
    await store.transition("a", changing({ ...words, to: "CLOSED", event: "reset" }));
  },
  "a circuit that was removed": ({ store }) => Promise.resolve(store.remove("a")),
  "a circuit that was removed and is used again": async ({ store }) => {
    await store.remove("a");
    await store.record("a", tally({ failures: 1 }));
    await store.transition("a", changing());
  },
  "an import": async ({ store, clock }) => {
    const shape = () => ({ windowMs: 1_000, windowSize: 0 });
    const at = clock.now();
    const { records: [record] } = await store.list({ cursor: null, limit: 10, at, shape });
    clock.advance(5_000);
    await store.restore("a", {
      ...{ ...laying(), at: clock.now() - 77, record: record!, existing: "replace" },
    });
  },
};

for (const [what, act] of Object.entries(HONEST)) {
  Deno.test(`verifyTrail() reports no break because of ${what}`, async () => {
    await withScene(async (scene) => {
      await act(scene);
      assertEquals((await scene.store.verifyTrail()).brokenAt, null);
    });
  });
}
