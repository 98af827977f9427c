/**
 * The trail of a store that keeps one: a row for each change, none for a request that changed
 * nothing.
 */

import type { AuditEventName, EventQuery, StoredEvent } from "../contract.ts";
import {
  COOLDOWN_MS,
  equal,
  halfOpened,
  includes,
  ok,
  opened,
  type Scenario,
  type Subject,
  unique,
} from "./contract_subject.ts";

export const HISTORY: readonly Scenario[] = [
  {
    name: "history() returns one row for each change, latest first",
    needs: "audited",
    async run(subject) {
      await halfOpened(subject, unique());
      await subject.record({ successes: 1 });
      await subject.close();
      await subject.reset();
      for (const kind of ["forced_open", "forced_closed", "disabled", "metrics_only"] as const) {
        await subject.override(kind);
      }
      await subject.release();
      const [record] = await subject.listed();
      await subject.restore(record!);
      equal(
        names(await changes(subject)),
        [
          ...["imported", "released", "metrics_only", "disabled", "forced_closed", "forced_open"],
          ...["reset", "closed", "half_opened", "opened"],
        ],
        "the events",
      );
    },
  },
  {
    name: "history() keeps the rows of a removed circuit, and adds a row for the removal",
    needs: "audited",
    async run(subject) {
      await opened(subject);
      subject.clock.advance(1_000);
      equal(await subject.remove({ reason: "left", actor: "ada" }), true, "whether it was there");
      equal(await subject.remove(), false, "whether it still was");
      const rows = await changes(subject);
      equal(names(rows), ["removed", "opened"], "the events");
      includes(rows[0]?.metadata ?? {}, {
        ...{ from: "OPEN", generation: 3, reason: "left", actor: "ada" },
      }, "the removal");
      // It also begins anew.
      await subject.record({ epoch: "", generation: 0, began: 0, failures: 1 });
      equal((await subject.trip()).won, true, "whether a circuit of the same name opens");
      equal(names(await changes(subject)), ["opened", "removed", "opened"], "the events then");
    },
  },
  {
    name: "history() returns the time, the states, the reason and the actor of each change",
    needs: "audited",
    async run(subject) {
      const now = subject.clock.now();
      await subject.record({ failures: 1 });
      await subject.trip({ reason: "count_window", at: now - 3_600_000 });
      subject.clock.advance(5_000);
      await subject.reset({ reason: "all clear", actor: "ada" });
      const [reset, trip] = await changes(subject);
      equal(trip?.key, subject.key, "the key of the trip");
      equal(trip?.at.getTime(), now, "when it opened, on the store's clock");
      includes(trip?.metadata ?? {}, {
        ...{ from: "CLOSED", to: "OPEN", generation: 2, reason: "count_window" },
      }, "the trip");
      equal(reset?.at.getTime(), now + 5_000, "when it was reset");
      includes(reset?.metadata ?? {}, {
        ...{ from: "OPEN", to: "CLOSED", generation: 3, reason: "all clear", actor: "ada" },
      }, "the reset");
    },
  },
  {
    name: "history() returns one row for a change that many callers requested, or one caller twice",
    needs: "audited",
    async run(subject) {
      await subject.record({ failures: 1 });
      const { epoch, generation, began } = subject.seen;
      const expected = { epoch, generation, began };
      await Promise.all(Array.from({ length: 10 }, () => subject.trip({ expected })));
      subject.clock.advance(COOLDOWN_MS);
      await Promise.all(Array.from({ length: 10 }, () => subject.acquire()));
      const once = { id: unique() };
      for (let i = 0; i < 2; i++) await subject.override("disabled", once);
      equal(names(await changes(subject)), ["disabled", "half_opened", "opened"], "the events");
    },
  },
  {
    name: "history() returns no row for a request that changed nothing",
    needs: "audited",
    async run(subject) {
      await opened(subject);
      await subject.close({ expected: { epoch: unique(), generation: 2, began: 0 } });
      await subject.acquire();
      await subject.read();
      await subject.release();
      const [record] = await subject.listed();
      await subject.restore(record!, { existing: "keep" });
      equal(names(await changes(subject)), ["opened"], "the events");
    },
  },
  {
    name: "history() returns one row for an override that ended by itself, with the reason",
    needs: "audited",
    async run(subject) {
      const until = subject.clock.now() + 60_000;
      await subject.override("forced_open", { until, reason: "an outage" });
      subject.clock.advance(60_000);
      await subject.read();
      equal(names(await changes(subject)), ["forced_open"], "the events before any write");
      await Promise.all(Array.from({ length: 5 }, () => subject.record({ successes: 1 })));
      const rows = await changes(subject);
      equal(names(rows), ["released", "forced_open"], "the events after five writes");
      equal(rows[0]?.metadata?.["reason"], "expired", "why it was released");
    },
  },
  {
    name: "history() filters by event and by time, and pages",
    needs: "audited",
    async run(subject) {
      const begun = subject.clock.now();
      for (const kind of ["disabled", "forced_open", "disabled", "metrics_only"] as const) {
        await subject.override(kind);
        subject.clock.advance(1_000);
      }
      const all = await rows(subject, {});
      const events = names(all).filter(isChange);
      equal(events, ["metrics_only", "disabled", "forced_open", "disabled"], "all of them");
      equal(
        names(await rows(subject, { event: "disabled" })),
        ["disabled", "disabled"],
        "by event",
      );
      const from = new Date(begun + 1_000);
      const to = new Date(begun + 3_000);
      const between = names(await rows(subject, { from, to })).filter(isChange);
      equal(between, ["disabled", "forced_open"], "from the second's time, before the fourth's");
      const paged: StoredEvent[] = [];
      while (paged.length < all.length) {
        const cursor = paged.at(-1)?.cursor;
        const page = await rows(subject, { limit: 1, ...(cursor === undefined ? {} : { cursor }) });
        equal(page.length, 1, "the length of a page of one");
        paged.push(...page);
      }
      equal(paged.map(({ id }) => id), all.map(({ id }) => id), "the ids, page by page");
      equal(new Set(all.map(({ id }) => id)).size, all.length, "how many ids are distinct");
    },
  },
  {
    name: "history() returns the rows of the circuit that was asked for, and of no other",
    needs: "audited",
    async run(subject) {
      const other = subject.another();
      await opened(subject);
      await other.override("disabled");
      equal(names(await changes(subject)), ["opened"], "the events of the one");
      equal(names(await changes(other)), ["disabled"], "the events of the other");
    },
  },
];

/** The rows that every store writes: calls and births are a driver's choice. */
async function changes(subject: Subject): Promise<StoredEvent[]> {
  return (await rows(subject, {})).filter(({ event }) => isChange(event));
}

async function rows({ store, key }: Subject, query: EventQuery): Promise<StoredEvent[]> {
  ok(store.history !== undefined, 'a store with "audited" in its traits offers history()');
  const found: StoredEvent[] = [];
  for await (const row of store.history!({ ...query, key })) found.push(row);
  return found;
}

function names(rows: readonly StoredEvent[]): string[] {
  return rows.map(({ event }) => event);
}

function isChange(event: AuditEventName | string): boolean {
  return !["success", "failure", "reborn"].includes(event);
}
