import { copySnapshot } from "../../../src/records.ts";
import type { Answer, AuditEventName, Snapshot, StoredEvent } from "../../../src/shared/mod.ts";
import { type ContractCase, storeContract } from "../../../src/testing/mod.ts";
import {
  chaos,
  CIRCUITS,
  memory,
  type MemoryStore,
  type OpeningStore,
  SHARED,
} from "../../support/drivers.ts";

/**
 * Cases that fail when a request arrives twice: the first answer is lost. The previous writer is
 * then the writer itself, and the release has been reported.
 */
const TOLD_ONCE: readonly string[] = [
  "record() returns the policy hash of the previous tally",
  "read() shows an override as released when its until has passed, and writes nothing",
  "the first write after until releases the override, and one answer reports the release",
  "acquire() uses the state beneath when until has passed, and the release is reported once",
  "acquire() moves an open circuit when the override over it has ended by itself",
  "override() after until has passed replaces no override, because the previous one is released",
  "list() writes nothing",
];

test("memory", storeContract(({ clock }) => memory({ clock })));

test("memory behind a network", storeContract(({ clock }) => chaos(memory({ clock }), {})));

test(
  "memory behind a network that delivers twice",
  storeContract(({ clock }) => chaos(memory({ clock }), { duplicateRate: 1 }))
    .filter(({ name }) => !TOLD_ONCE.includes(name)),
);

test(
  "memory with a trail",
  storeContract(({ clock }) => chaos(withTrail(memory({ clock })), {}))
    .filter(({ needs }) => needs === "audited"),
);

function test(store: string, cases: readonly ContractCase[]): void {
  for (const { name, run } of cases) Deno.test(`storeContract(${store}) ${name}`, run);
}

/** A minimal store with a trail, so that the cases about trails run. */
function withTrail(inner: MemoryStore): OpeningStore {
  const trail: StoredEvent[] = [];
  const told = new Set<string>();
  const append = (key: string, event: AuditEventName, s: Snapshot, metadata: object) => {
    const id = String(trail.length);
    trail.push({ key, id, cursor: id, event, at: new Date(s.now), metadata: { ...metadata } });
  };
  const write = async <A extends Answer>(
    key: string,
    { id }: { id: string },
    said: A | Promise<A>,
    change: (answer: A) => [AuditEventName, object] | null,
  ): Promise<A> => {
    const answer = await said;
    if (answer.released) append(key, "released", answer.snapshot, { reason: "expired" });
    const row = told.has(id) ? null : change(answer);
    if (row !== null) append(key, row[0], answer.snapshot, row[1]);
    told.add(id);
    return answer;
  };
  return {
    [CIRCUITS]: SHARED,
    name: "trail",
    traits: { ...inner.traits, audited: true },
    read: (key, request) => inner.read(key, request),
    list: (request) => inner.list(request),
    remove(key, request) {
      const s = inner.peek(key);
      if (s !== undefined) {
        const { reason = null, actor = null } = request ?? {};
        const said = { from: s.state, generation: s.generation + 1, reason, actor };
        append(key, "removed", { ...copySnapshot(s), now: request?.at ?? s.now }, said);
      }
      return inner.remove(key);
    },
    record: (key, tally) => write(key, tally, inner.record(key, tally), () => null),
    acquire: (key, request) =>
      write(
        key,
        request,
        inner.acquire(key, request),
        ({ moved }) => moved ? ["half_opened", {}] : null,
      ),
    transition(key, request) {
      const from = inner.peek(key)?.state ?? "CLOSED";
      return write(key, request, inner.transition(key, request), ({ won, snapshot }) => {
        const { state: to, generation } = snapshot;
        const { reason, actor } = request;
        return won ? [request.event, { from, to, generation, reason, actor }] : null;
      });
    },
    override: (key, request) =>
      write(
        key,
        request,
        inner.override(key, request),
        ({ won }) => won ? [request.kind ?? "released", {}] : null,
      ),
    restore: (key, request) =>
      write(key, request, inner.restore(key, request), ({ won }) => won ? ["imported", {}] : null),
    async *history({ key, event, from, to, limit, cursor }) {
      let rows = trail.filter((row) => key === undefined || row.key === key).reverse();
      if (event !== undefined) rows = rows.filter((row) => row.event === event);
      if (from !== undefined) rows = rows.filter((row) => row.at >= from);
      if (to !== undefined) rows = rows.filter((row) => row.at < to);
      if (cursor !== undefined) rows = rows.filter((row) => Number(row.id) < Number(cursor));
      yield* rows.slice(0, limit);
    },
  };
}
