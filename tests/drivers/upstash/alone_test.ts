// Requests that are sent together are answered as if each were alone. `ALONE_SEED` searches further.
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { FakeClock } from "@fuse/edge/testing";
import type { Acquired, Admission, Answer, Recorded } from "../../../src/contract.ts";
import { plainAnswer } from "../../../src/testing/plain.ts";
import { scaled } from "../../support/scale.ts";
import { open, read, record, SHAPE } from "./store.ts";

/** The admission of a call while the circuit is unknown. */
const UNKNOWN: Admission = { epoch: "", generation: 0, began: 0 };
const SEED = Number(Deno.env.get("ALONE_SEED") ?? 20_261_129);

const tally = fc.record({
  /** A tally is sent again if an earlier one had the same number. */
  id: fc.nat({ max: 12 }),
  successes: fc.constantFrom(0, 0, 1, 3),
  failures: fc.nat({ max: 2 }),
  rejected: fc.constantFrom(0, 0, 1),
  ageMs: fc.constantFrom(0, 0, 10, 700, 20_000),
});
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("together" as const),
      tallies: fc.array(tally, { minLength: 1, maxLength: 4 }),
      /** The token of an acquire after them. */
      token: fc.option(fc.nat({ max: 2 })),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("clock" as const),
      by: fc.constantFrom(1, 100, 500, 1_000, 2_000, 61_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("override" as const),
      kind: fc.constantFrom("forced_open" as const, "metrics_only" as const, null),
      forMs: fc.constantFrom(300, 1_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("trip" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("reset" as const) }) },
);

Deno.test("together() answers random requests as if each were alone", async () => {
  const property = fc.asyncProperty(
    fc.array(step, { minLength: 1, maxLength: 30, size: "max" }),
    fc.constantFrom(undefined, "hand" as const),
    async (steps, outbox) => {
      const clock = new FakeClock();
      const { store } = open({ clock: clock.now });
      const parts = () => ({ at: clock.now(), shape: SHAPE, outbox });
      const operator = { reason: "test", actor: null, expected: null };
      /** The generation in which each tally was admitted, and the present one, for each circuit. */
      const admitted = new Map<string, Admission>();
      const seen = new Map<string, Admission>();
      for (const [index, one] of steps.entries()) {
        if (one.do === "clock") {
          clock.advance(one.by);
          continue;
        }
        const answers: (Recorded | Acquired)[][] = [];
        for (const key of ["together", "alone"]) {
          const request = (id: string | number) => ({ ...parts(), id: `${key}-${id}` });
          const see = ({ snapshot: { epoch, generation, began } }: Answer) =>
            seen.set(key, { epoch, generation, began });
          if (one.do === "override") {
            const until = one.kind && clock.now() + one.forMs;
            const laid = { ...operator, kind: one.kind, until };
            see(await store.override(key, { ...request(`step ${index}`), ...laid }));
            continue;
          }
          if (one.do !== "together") {
            const change = one.do === "trip"
              ? { to: "OPEN", event: "opened", cooldownMs: 800 } as const
              : { to: "CLOSED", event: "reset", cooldownMs: 0 } as const;
            const asked = { ...request(`step ${index}`), ...operator, ...change };
            see(await store.transition(key, asked));
            continue;
          }
          // So that no request has to be repeated with more keys, behind others.
          await read(store, key);
          const sends = one.tallies.map(({ id, ...counts }) => (): Promise<Recorded | Acquired> => {
            const under = admitted.get(`${key} ${id}`) ?? seen.get(key) ?? UNKNOWN;
            admitted.set(`${key} ${id}`, under);
            return record(store, key, { ...request(id), ...counts, ...under });
          });
          if (one.token !== null) {
            const slot = { token: `${one.token}`, max: 1, leaseMs: 1_500 };
            const asked = { ...request(`step ${index}`), ...slot };
            sends.push(() => Promise.resolve(store.acquire(key, asked)));
          }
          const received: (Recorded | Acquired)[] = [];
          if (key === "alone") { for (const send of sends) received.push(await send()); }
          else {
            received.push(
              ...await store.together!(() => Promise.all(sends.map((send) => send()))),
            );
          }
          see(received.at(-1)!);
          answers.push(received);
        }
        const [together, alone] = answers;
        if (together === undefined) continue;
        const note = `step ${index}: ${JSON.stringify(one)}`;
        assertEquals(together.map(shown), alone!.map(shown), note);
        assertEquals(told(together), told(alone!), note);
      }
    },
  );
  await fc.assert(property, {
    ...{ seed: SEED, numRuns: scaled(25, 300), includeErrorInReport: true },
  });
});

/** The visible part of an answer: without the name of the life, and what one of several answers tells. */
function shown(answer: Recorded | Acquired): unknown {
  const { released: _, snapshot, ...rest } = plainAnswer(answer);
  return { ...rest, snapshot: { ...snapshot, epoch: "", policyHash: "", requestsPerSecond: 0 } };
}

/** The overrides that have run out, and the outbox at last. */
function told(answers: readonly (Recorded | Acquired)[]): unknown {
  return [
    answers.flatMap(({ released }) => released ?? []),
    answers.at(-1)!.snapshot.untold?.map(({ epoch: _, ...row }) => ({ ...row, metadata: null })),
  ];
}
