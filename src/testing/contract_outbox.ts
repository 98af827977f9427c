/** The outbox of a store that has one: each change waits in it until it is confirmed. */

import type { UntoldRow } from "../contract.ts";
import { OUTBOX_LENGTH } from "../records.ts";
import {
  COOLDOWN_MS,
  equal,
  halfOpened,
  includes,
  opened,
  type Scenario,
  SHAPE,
  type Subject,
  unique,
} from "./contract_subject.ts";

const KEEP = { outbox: "keep" } as const;

export const OUTBOX: readonly Scenario[] = [
  {
    name: "the outbox holds each change that asked for a row, oldest first, and nothing else",
    async run(subject) {
      if (subject.store.confirm === undefined) return;
      await subject.record({ failures: 1, ...KEEP });
      await subject.trip({ reason: "count_window", ...KEEP });
      await subject.trip({ expected: { epoch: unique(), generation: 1, began: 0 }, ...KEEP });
      await subject.acquire(KEEP);
      subject.clock.advance(COOLDOWN_MS);
      await subject.acquire(KEEP);
      await subject.record({ successes: 1, ...KEEP });
      await subject.close(KEEP);
      await subject.override("disabled", { reason: "a drill", actor: "ada", ...KEEP });
      await subject.release(KEEP);
      await subject.release(KEEP);
      await subject.reset({ actor: "ada", ...KEEP });
      const [record] = await subject.listed();
      await subject.restore(record!, KEEP);
      equal(
        names(await untold(subject)),
        ["opened", "half_opened", "closed", "disabled", "released", "reset", "imported"],
        "what waits",
      );
      await subject.override("forced_open");
      equal((await untold(subject)).length, 7, "how many wait after a change that did not ask");
    },
  },
  {
    name:
      "a row of the outbox has the time, the states, the reason, the actor and the counts of its change",
    async run(subject) {
      if (subject.store.confirm === undefined) return;
      const now = subject.clock.now();
      await subject.record({ successes: 2, failures: 1 });
      const trip = await subject.trip({ reason: 'a "reason" = x', actor: "é\n", ...KEEP });
      subject.clock.advance(5_000);
      const until = subject.clock.now() + 7_000;
      await subject.override("forced_open", { until, at: subject.clock.now(), ...KEEP });
      const [first, second] = await untold(subject);
      const { epoch, generation } = trip.snapshot;
      includes(first!, { epoch, generation, event: "opened", at: now }, "the trip");
      includes(first!.metadata, {
        ...{ from: "CLOSED", to: "OPEN", generation, reason: 'a "reason" = x', actor: "é\n" },
        ...{ cooldownMs: COOLDOWN_MS },
      }, "what the trip says");
      includes(first!.metadata["counters"] as Record<string, number>, {
        ...{ consecutiveFailures: 1, failures: 1, successes: 2, totalSuccesses: 2 },
      }, "its counts");
      includes(second!.metadata, {
        ...{ from: "OPEN", to: "OPEN", reason: null, actor: null, kind: "forced_open", until },
      }, "the override");
    },
  },
  {
    name: "the outbox holds one row for a change that many callers requested, or one caller twice",
    async run(subject) {
      if (subject.store.confirm === undefined) return;
      await subject.record({ failures: 1 });
      const { epoch, generation, began } = subject.seen;
      const expected = { epoch, generation, began };
      const trips = Array.from({ length: 10 }, () => subject.trip({ expected, ...KEEP }));
      await Promise.all(trips);
      const once = { id: unique(), ...KEEP };
      for (let i = 0; i < 2; i++) await subject.override("disabled", once);
      equal(names(await untold(subject)), ["opened", "disabled"], "what waits");
    },
  },
  {
    name:
      "the outbox holds the end of an expired override before the effect of the request that found it",
    async run(subject) {
      if (subject.store.confirm === undefined) return;
      await opened(subject);
      await subject.override("disabled", { until: subject.clock.now() + COOLDOWN_MS });
      subject.clock.advance(COOLDOWN_MS);
      equal((await subject.acquire(KEEP)).moved, true, "whether it went half-open");
      const rows = await untold(subject);
      equal(names(rows), ["released", "half_opened"], "what waits");
      includes(rows[0]!.metadata, { reason: "expired", kind: "disabled" }, "the end");
    },
  },
  {
    name: "the outbox keeps unconfirmed rows, also through a restore, and drops confirmed ones",
    async run(subject) {
      const { store, key } = subject;
      if (store.confirm === undefined) return;
      await halfOpened(subject, unique());
      await subject.close(KEEP);
      const [record] = await subject.listed();
      await subject.restore(record!, KEEP);
      await subject.reset(KEEP);
      const [closed, imported, reset] = await untold(subject);
      await store.confirm(key, [imported!, {
        epoch: unique(),
        generation: reset!.generation,
        began: 0,
      }]);
      equal(await untold(subject), [closed!, reset!], "what waits after one was confirmed");
      await store.confirm(key, [closed!, imported!, reset!]);
      equal(await untold(subject), [], "what waits after all were");
      await store.confirm(key, []);
      await store.confirm(unique(), [closed!]);
    },
  },
  {
    name: "the outbox keeps the newest rows, and its oldest row counts the rows that were dropped",
    async run(subject) {
      if (subject.store.confirm === undefined) return;
      for (let i = 0; i < OUTBOX_LENGTH + 3; i++) await subject.reset(KEEP);
      const rows = await untold(subject);
      equal(rows.length, OUTBOX_LENGTH, "how many wait");
      equal(rows.map(({ metadata }) => metadata["missed"] ?? 0).slice(0, 2), [3, 0], "missed");
      equal(rows[0]!.generation, 5, "the generation of the oldest");
    },
  },
  {
    name: "each operation that asks for the outbox returns it, and so does list()",
    async run(subject) {
      const { store, key, clock } = subject;
      if (store.confirm === undefined) return;
      await opened(subject);
      await subject.override("forced_open", KEEP);
      const hand = { id: unique(), at: clock.now(), shape: SHAPE, outbox: "hand" } as const;
      const trial = { token: unique(), max: 1, leaseMs: 1_000 };
      const { snapshot } = await store.acquire(key, { ...hand, ...trial });
      equal(names(snapshot.untold ?? []), ["forced_open"], "with an answer");
      let cursor: string | null = null;
      let found: readonly UntoldRow[] = [];
      do {
        const page = await store.list({ ...hand, cursor, limit: 100, shape: () => SHAPE });
        found = page.records.find((record) => record.key === key)?.snapshot.untold ?? found;
        cursor = page.cursor;
      } while (cursor !== null);
      equal(names(found), ["forced_open"], "with its record");
      const plain = await store.read(key, { at: clock.now(), shape: SHAPE });
      equal(plain.untold === undefined, true, "whether nothing is, unless it is asked for");
    },
  },
];

async function untold({ store, key, clock }: Subject): Promise<readonly UntoldRow[]> {
  const { untold } = await store.read(key, { at: clock.now(), shape: SHAPE, outbox: "hand" });
  return untold ?? [];
}

function names(rows: readonly UntoldRow[]): string[] {
  return rows.map(({ event }) => event);
}
