// The outbox: changes that the trail has not confirmed.
import { rowField } from "../../../drivers/upstash/fields.ts";
import { assert, assertEquals } from "@std/assert";
import type { UntoldRow } from "../../../src/contract.ts";
import { inOrder } from "../../../src/records.ts";
import {
  HOUR_MS,
  listed,
  open,
  read,
  record,
  redis,
  requestsOf,
  sendAgain,
  SHAPE,
} from "./store.ts";

Deno.test("read() returns a circuit although a row in its outbox is invalid", async () => {
  const { store, prefix } = open();
  await record(store, "a", { failures: 1 });
  await redis.command("HSET", `${prefix}:a:state`, "row:7 5 x", "0 opened CLOSED OPEN 1 - - 1 {");
  const request = { at: Date.now(), shape: SHAPE, outbox: "hand" } as const;
  const { state, untold } = await store.read("a", request);
  assertEquals([state, untold!.length, untold![0]!.metadata["reason"]], ["CLOSED", 1, null]);
});

Deno.test("the outbox drops rows of the older life first when it is full", async () => {
  const { store, prefix } = open();
  const request = { at: Date.now(), shape: SHAPE, outbox: "keep" } as const;
  const override = (i: number) =>
    store.override("a", {
      ...{ ...request, id: `request-${i}`, kind: "forced_open" },
      ...{ until: null, reason: null, actor: null },
    });
  await override(0);
  // A removal restarted the generations, while the previous life had reached the hundreds.
  for (const generation of [100, 101]) {
    const field = `row:${generation} 5 dead`;
    const value = `0 forced_open CLOSED CLOSED ${generation} - - ${"0 ".repeat(11)}{}`;
    await redis.command("HSET", `${prefix}:a:state`, field, value);
  }
  const waiting = async () => {
    const { untold } = await store.read("a", { ...request, outbox: "hand" });
    return untold!.map(({ generation, metadata }) => [generation, metadata["missed"] ?? 0]);
  };
  assertEquals(await waiting(), [[100, 0], [101, 0], [2, 0]]);
  for (let i = 1; i < 64; i++) await override(i);
  const rows = await waiting();
  assertEquals([rows.length, ...rows.slice(0, 2), rows.at(-1)], [64, [2, 2], [3, 0], [65, 0]]);
});

Deno.test("an answer contains the outbox only when the request asks for it", async () => {
  const { store } = open();
  const request = { id: "x", at: Date.now(), shape: SHAPE, outbox: "keep" } as const;
  const forced = await store.override("a", {
    ...request,
    ...{ kind: "forced_open", until: null, reason: "an outage", actor: "ada" },
  });
  assertEquals("untold" in forced.snapshot, false);
  const [asked] = await requestsOf(() => read(store, "a"));
  assertEquals(asked?.commands[0]?.slice(-2), ["", ""]);
  const answer = await sendAgain(asked);
  assertEquals(answer.filter((field) => String(field).startsWith("row:")), []);
  const { untold } = await store.read("a", { ...request, outbox: "hand" });
  assertEquals(untold?.map(({ event, metadata }) => [event, metadata["actor"]]), [
    ["forced_open", "ada"],
  ]);
});

Deno.test("the row of an imported record has the life and the generation that the import begins", async () => {
  const [one, other] = [open(), open()];
  const request = { at: Date.now(), shape: SHAPE, reason: "test", actor: null } as const;
  for (let i = 0; i < 5; i++) {
    const event = { to: "CLOSED", event: "reset", cooldownMs: 0, expected: null } as const;
    await one.store.transition("a", { ...request, id: `reset-${i}`, ...event });
  }
  await record(other.store, "a", { failures: 1 });
  const { records } = await listed(one.store);
  const imported = { ...request, id: "import", record: records[0]!, existing: "replace" } as const;
  const { snapshot } = await other.store.restore("a", { ...imported, outbox: "keep" });
  const { untold } = await other.store.read("a", { ...request, outbox: "hand" });
  assertEquals(
    untold!.map(({ event, generation, metadata }) => [event, generation, metadata["to"]]),
    [
      ["imported", snapshot.generation, "CLOSED"],
    ],
  );
  assertEquals(untold![0]!.epoch, snapshot.epoch);
  assert(snapshot.generation > 5);
});

Deno.test("the outbox says which override was set, and which was released", async () => {
  const { store } = open();
  const request = { at: Date.now(), shape: SHAPE, outbox: "keep" } as const;
  for (const kind of ["forced_open", "disabled", null] as const) {
    await store.override("a", {
      ...{ ...request, id: `request-${kind}`, kind, until: null, reason: null, actor: null },
    });
  }
  const { untold } = await store.read("a", { ...request, outbox: "hand" });
  assertEquals(untold!.map(({ event, metadata }) => [event, metadata["kind"], metadata["until"]]), [
    ["forced_open", "forced_open", null],
    ["disabled", "disabled", null],
    ["released", "disabled", null],
  ]);
});

Deno.test("an answer contains the running trials, and no ended ones", async () => {
  const { store } = open();
  const request = (id: string) => ({ id, at: Date.now(), shape: SHAPE });
  await store.transition("a", {
    ...{ ...request("trip"), to: "OPEN", event: "opened", cooldownMs: 0, reason: "test" },
    ...{ actor: null, expected: null },
  });
  const trial = { max: 2, leaseMs: HOUR_MS };
  for (const token of ["ended", "out"]) {
    await store.acquire("a", { ...request(token), ...trial, token });
  }
  const { epoch, generation } = await read(store, "a");
  await record(store, "a", { epoch, generation, lease: "ended" });
  const [asked] = await requestsOf(() => read(store, "a"));
  const answer = await sendAgain(asked);
  assertEquals(answer.filter((field) => String(field).startsWith("lease:")), ["lease:out"]);
});

Deno.test("the outbox drops rows in the order of their changes, life by life", async () => {
  const { store, prefix } = open();
  const request = { at: Date.now(), shape: SHAPE, outbox: "keep" } as const;
  const override = (i: number) =>
    store.override("a", {
      ...{ ...request, id: `request-${i}`, kind: "forced_open" },
      ...{ until: null, reason: null, actor: null },
    });
  await override(0);
  await redis.command("HDEL", `${prefix}:a:state`, rowField(await read(store, "a")));
  // Lives that began in the same moment, with the same generation or both, and clocks that were set
  // back.
  let left: readonly UntoldRow[] = Array.from({ length: 64 }, (_, i) => {
    const [pair, nth] = [Math.floor(i % 8 / 2), Math.floor(i / 8)];
    return {
      epoch: `life-${i % 8}`,
      generation: 10 + 7 * nth - pair % 3,
      began: 7,
      event: "forced_open",
      at: 100 + pair * 37 % 4 + nth * 29 % 40,
      metadata: {},
    };
  });
  for (const row of left) {
    const value = `0 forced_open CLOSED CLOSED ${row.at} - - ${"0 ".repeat(11)}{}`;
    await redis.command("HSET", `${prefix}:a:state`, rowField(row), value);
  }
  const kept = async () =>
    (await redis.command("HKEYS", `${prefix}:a:state`) as string[])
      .filter((field) => field.includes(" life-"));
  for (let i = 1; i <= 64; i++) {
    await override(i);
    // The first of the remaining rows: each life begins with the oldest of them.
    left = inOrder(left).slice(1);
    assertEquals((await kept()).toSorted(), left.map(rowField).toSorted());
  }
});
