/**
 * A store under observation: checks the record itself, whatever the isolates, the network and the
 * listeners believe.
 *
 * @module
 */
import { assert } from "@std/assert";
import type { Acquired, Awaitable, Shape, Snapshot } from "../../../src/contract.ts";
import { CIRCUITS, type OpeningStore, SHARED } from "../../support/drivers.ts";

const LEGAL: Record<string, readonly string[]> = {
  acquire: ["OPEN>HALF_OPEN"],
  opened: ["CLOSED>OPEN", "HALF_OPEN>OPEN"],
  closed: ["HALF_OPEN>CLOSED"],
  reset: ["OPEN>CLOSED", "HALF_OPEN>CLOSED"],
};

/**
 * Returns the same store; throws when a record takes an illegal transition or has too many trials.
 */
export function watched(inner: OpeningStore): OpeningStore {
  const leases = new Map<string, number>();
  let generation = 0;

  function look(key: string, request: { readonly shape: Shape; readonly at: number }): string {
    return here(inner.read(key, request)).state;
  }

  function after(operation: string, before: string, snapshot: Snapshot): void {
    const edge = `${before}>${snapshot.state}`;
    if (before !== snapshot.state) {
      assert(LEGAL[operation]?.includes(edge), `"${operation}" moved the record ${edge}`);
    }
    assert(
      snapshot.generation >= generation,
      `Generation fell from ${generation} to ${snapshot.generation}`,
    );
    if (snapshot.generation !== generation) leases.clear();
    generation = snapshot.generation;
  }

  function trials(answer: Acquired, token: string, max: number, leaseMs: number): void {
    const { state, override, now } = answer.snapshot;
    if (!answer.granted || state !== "HALF_OPEN" || override !== null) return;
    for (const [other, endsAt] of leases) {
      // Expired, or granted before the clock was set back.
      if (endsAt <= now || endsAt > now + 2 * leaseMs) leases.delete(other);
    }
    leases.set(token, now + leaseMs);
    assert(leases.size <= max, `${leases.size} trials out, at most ${max} allowed`);
  }

  return {
    [CIRCUITS]: SHARED,
    name: inner.name,
    traits: { ...inner.traits, shared: true },
    read: (key, request) => inner.read(key, request),
    record(key, tally) {
      const before = look(key, tally);
      const answer = here(inner.record(key, tally));
      after("record", before, answer.snapshot);
      if (tally.lease !== null) leases.delete(tally.lease);
      return answer;
    },
    acquire(key, request) {
      const before = look(key, request);
      const answer = here(inner.acquire(key, request));
      after("acquire", before, answer.snapshot);
      trials(answer, request.token, request.max, request.leaseMs);
      return answer;
    },
    transition(key, request) {
      const before = look(key, request);
      const answer = here(inner.transition(key, request));
      after(request.event, before, answer.snapshot);
      return answer;
    },
    override(key, request) {
      const before = look(key, request);
      const answer = here(inner.override(key, request));
      after("override", before, answer.snapshot);
      return answer;
    },
    restore: (key, request) => inner.restore(key, request),
    list: (request) => inner.list(request),
    remove: (key) => inner.remove(key),
  };
}

/** The memory store answers synchronously: nothing can happen between a look and an operation. */
function here<T>(answer: Awaitable<T>): T {
  assert(!(answer instanceof Promise), "The watched store must answer at once");
  return answer as T;
}
