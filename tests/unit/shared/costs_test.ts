// The costs of a view, by operations and by the callers that wait for them: the table of section 3
// of the design.
import { assert, assertEquals } from "@std/assert";
import { type CircuitBreaker, type CircuitOptions, createFuse, type FuseEvent } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { fail, intercept, succeed, turn } from "../../support/setups.ts";
import type { Snapshot, Tally } from "@fuse/edge/store";
import { chaos, memory, type OpeningStore } from "../../support/drivers.ts";

interface Asked {
  readonly operation: string;
  readonly request: unknown;
}

/** A store, isolates on it, and a log of every operation between them. */
class Line {
  readonly clock = new FakeClock();
  readonly store = memory({ clock: this.clock.now });
  readonly asked: Asked[] = [];
  readonly events: FuseEvent[] = [];
  /** While set, operations wait here for their turn. */
  #waiting: (() => void)[] | null = null;

  /** A handle of `a` on an isolate whose operations are logged. */
  isolate(options: CircuitOptions = {}) {
    const watched = this.#watch(chaos(this.store, {}));
    const fuse = createFuse({ clock: this.clock.now, stores: { remote: watched } });
    fuse.on("*", (event) => void this.events.push(event));
    return { fuse, breaker: fuse.make("a", options) };
  }

  /** A handle of `a` on another isolate, which is not logged. */
  other(options: CircuitOptions = {}) {
    const stores = { remote: chaos(this.store, {}) };
    return createFuse({ clock: this.clock.now, stores })
      .make("a", { ...options, consistency: "strong" });
  }

  /** The operations since the last call. */
  take(): string[] {
    return this.asked.splice(0).map(({ operation }) => operation);
  }

  tallies(): Tally[] {
    return this.asked.filter(({ operation }) => operation === "record")
      .map(({ request }) => request as Tally);
  }

  stored(): Snapshot {
    const shape = { windowMs: 120_000, windowSize: 0 };
    return this.store.read("a", { at: this.clock.now(), shape }) as Snapshot;
  }

  told(type: FuseEvent["type"]): number {
    return this.events.filter((event) => event.type === type).length;
  }

  /**
   * Separates the operations that a call waits for from those in the background: no operation
   * continues before this is known.
   */
  async measure(
    call: () => Promise<unknown>,
  ): Promise<{ blocking: string[]; background: string[] }> {
    const waiting: (() => void)[] = [];
    this.#waiting = waiting;
    this.take();
    const blocking: string[] = [];
    const background: string[] = [];
    let settled = false;
    const done = call().then(() => settled = true);
    for (;;) {
      await turn();
      const into = settled ? background : blocking;
      const next = waiting.shift();
      if (next === undefined) break;
      into.push(this.asked[blocking.length + background.length]!.operation);
      next();
    }
    this.#waiting = null;
    await done;
    this.take();
    return { blocking, background };
  }

  #watch(store: OpeningStore): OpeningStore {
    return new Proxy(store, {
      get: (target, property) => {
        const value = Reflect.get(target, property, target);
        if (typeof value !== "function") return value;
        return async (...args: unknown[]) => {
          const operation = String(property);
          this.asked.push({ operation, request: args[1] });
          if (this.#waiting !== null) {
            await new Promise<void>((resolve) => this.#waiting!.push(resolve));
          }
          const answer = await Reflect.apply(value, target, args);
          return answer;
        };
      },
    });
  }
}

const TRIP: CircuitOptions = { failureThreshold: 2, successThreshold: 2, cooldownMs: 60_000 };

interface Row {
  readonly options?: CircuitOptions;
  /** The preparation on the measured isolate. */
  readonly given: (line: Line, breaker: CircuitBreaker) => Promise<unknown>;
  readonly call: "succeeds" | "fails";
  readonly eventual: readonly [blocking: string[], background: string[]];
  readonly strong: readonly string[];
  /** The background operations of `strong`. */
  readonly behind?: readonly string[];
}

const known = (_: Line, breaker: CircuitBreaker) => succeed(breaker);
const open = async (_: Line, breaker: CircuitBreaker) => {
  await fail(breaker, 2);
  await turn();
};
const due = async (line: Line, breaker: CircuitBreaker) => {
  await open(line, breaker);
  line.clock.advance(60_000);
};
const forced = async (line: Line, breaker: CircuitBreaker) => {
  await breaker.forceOpen();
  line.take();
};

/** The table of section 3 of the design. */
const COSTS: Record<string, Row> = {
  "a call before anything is known": {
    given: () => Promise.resolve(),
    call: "succeeds",
    eventual: [["acquire"], []],
    strong: ["acquire"],
    behind: ["record"],
  },
  "a success while CLOSED": {
    given: known,
    call: "succeeds",
    eventual: [[], []],
    strong: ["acquire"],
    behind: ["record"],
  },
  "a failure while CLOSED": {
    given: known,
    call: "fails",
    eventual: [[], ["record"]],
    strong: ["acquire", "record"],
  },
  "the failure that trips": {
    given: async (_, breaker) => {
      await fail(breaker);
      await turn();
    },
    call: "fails",
    eventual: [[], ["record", "transition"]],
    strong: ["acquire", "record", "transition"],
  },
  "a rejection while OPEN": {
    given: open,
    call: "succeeds",
    eventual: [[], []],
    strong: ["acquire"],
  },
  "a rejection while OPEN, the view being old": {
    given: async (line, breaker) => {
      await open(line, breaker);
      line.clock.advance(1_000);
    },
    call: "succeeds",
    eventual: [[], ["read"]],
    strong: ["acquire"],
  },
  "a rejection under forceOpen": {
    given: forced,
    call: "succeeds",
    eventual: [[], []],
    strong: ["acquire"],
  },
  "a rejection under forceOpen, the view being old": {
    given: async (line, breaker) => {
      await forced(line, breaker);
      line.clock.advance(1_000);
    },
    call: "succeeds",
    eventual: [[], ["read"]],
    strong: ["acquire"],
  },
  "a call under forceClose": {
    given: (_, breaker) => breaker.forceClose(),
    call: "succeeds",
    eventual: [[], []],
    strong: ["acquire"],
    behind: ["record"],
  },
  "a trial that succeeds": {
    given: due,
    call: "succeeds",
    eventual: [["acquire", "record"], []],
    strong: ["acquire", "record"],
  },
  "the trial that closes": {
    options: { successThreshold: 1 },
    given: due,
    call: "succeeds",
    eventual: [["acquire", "record", "transition"], []],
    strong: ["acquire", "record", "transition"],
  },
  "the trial that reopens": {
    given: due,
    call: "fails",
    eventual: [["acquire", "record", "transition"], []],
    strong: ["acquire", "record", "transition"],
  },
  "the first refusal while HALF_OPEN": {
    given: async (line, breaker) => {
      await due(line, breaker);
      await line.other(TRIP).admit();
    },
    call: "succeeds",
    eventual: [["acquire"], []],
    strong: ["acquire"],
  },
  "a further refusal while HALF_OPEN": {
    given: async (line, breaker) => {
      await due(line, breaker);
      await line.other(TRIP).admit();
      await succeed(breaker);
    },
    call: "succeeds",
    eventual: [[], []],
    strong: ["acquire"],
  },
  "a success, the view being older than revalidateMs": {
    given: async (line, breaker) => {
      await succeed(breaker);
      line.clock.advance(1_000);
    },
    call: "succeeds",
    eventual: [[], ["record"]],
    strong: ["acquire"],
    behind: ["record"],
  },
  "a call, the view being older than maxStalenessMs": {
    options: { flushIntervalMs: 60_000 },
    given: async (line, breaker) => {
      await succeed(breaker);
      line.clock.advance(10_001);
    },
    call: "succeeds",
    eventual: [["acquire"], []],
    strong: ["acquire"],
    behind: ["record"],
  },
  "a call, the view being older than the cooldown": {
    options: { cooldownMs: 2_000 },
    given: async (line, breaker) => {
      await breaker.getState();
      line.clock.advance(2_001);
    },
    call: "fails",
    eventual: [["acquire"], ["record"]],
    strong: ["acquire", "record"],
  },
  "a call, the view being of the future": {
    given: async (line, breaker) => {
      await breaker.getState();
      line.clock.set(line.clock.now() - 1);
    },
    call: "fails",
    eventual: [["acquire"], ["record"]],
    strong: ["acquire", "record"],
  },
};

for (const [what, row] of Object.entries(COSTS)) {
  for (const consistency of ["eventual", "strong"] as const) {
    Deno.test(`View() costs what the design says for ${what} when ${consistency}`, async () => {
      const line = new Line();
      const { fuse, breaker } = line.isolate({ ...TRIP, ...row.options, consistency });
      await row.given(line, breaker);
      const costs = await line.measure(() =>
        row.call === "fails" ? fail(breaker) : succeed(breaker)
      );
      const [blocking, background] = consistency === "eventual"
        ? row.eventual
        : [row.strong, row.behind ?? []];
      assertEquals(costs, { blocking: [...blocking], background: [...background] });
      await fuse.flush();
    });
  }
}

Deno.test("View() keeps the order inside when failures and successes take turns", async () => {
  // A success that follows a failure begins another tally.
  const line = new Line();
  const { fuse, breaker } = line.isolate({ ...TRIP, failureThreshold: 9 });
  await breaker.getState();
  line.take();
  await Promise.all([succeed(breaker), fail(breaker), fail(breaker), succeed(breaker)]);
  await fuse.flush();
  assertEquals(line.tallies().map(({ successes, failures }) => [successes, failures]), [
    [1, 1],
    [0, 1],
    [1, 0],
  ]);
});

for (
  const [options, limit] of [
    [{ maxStalenessMs: 5_000 }, 5_000],
    [{ maxStalenessMs: 5_000, cooldownMs: 3_000 }, 3_000],
    [{ maxStalenessMs: 5_000, cooldownMs: () => 3_000 }, 5_000],
    [{ maxStalenessMs: 0 }, 0],
  ] as [CircuitOptions, number][]
) {
  Deno.test(`View() is used at ${limit} ms and not after when it is made with ${Deno.inspect(options)}`, async () => {
    const line = new Line();
    const { fuse, breaker } = line.isolate({ ...options, revalidateMs: 60_000 });
    await breaker.getState();
    line.clock.advance(limit);
    line.take();
    await succeed(breaker);
    assertEquals(line.take(), []);
    line.clock.advance(1);
    await succeed(breaker);
    assertEquals(line.take()[0], "acquire");
    await fuse.flush();
  });
}

Deno.test("View() does not repeat a tally while its answer is missing", async () => {
  const line = new Line();
  const { fuse, breaker } = line.isolate({ ...TRIP, failureThreshold: 9 });
  await breaker.getState();
  const { background } = await line.measure(async () => {
    await fail(breaker);
    await succeed(breaker);
  });
  assertEquals(background, ["record"]);
  await fuse.flush();
  assertEquals([line.stored().totals.failures, line.stored().totals.successes], [1, 1]);
});

Deno.test("View() reads once in the background when many calls find it old", async () => {
  const line = new Line();
  const { fuse, breaker } = line.isolate(TRIP);
  await open(line, breaker);
  line.clock.advance(1_000);
  const { background } = await line.measure(() =>
    Promise.all(Array.from({ length: 9 }, () => succeed(breaker)))
  );
  assertEquals(background, ["read"]);
  await fuse.flush();
});

Deno.test("View() reports reborn when another life has replaced its own", async () => {
  const line = new Line();
  const { fuse, breaker } = line.isolate(TRIP);
  await succeed(breaker);
  await fuse.flush();
  await breaker.getState();
  await line.store.remove("a");
  await line.other().tryCall(() => 1);
  await fail(breaker);
  await fuse.flush();
  assertEquals(line.told("reborn"), 1);
  // Outcomes that were admitted in the previous life add to totals only.
  const { consecutiveFailures, totals } = line.stored();
  assertEquals([consecutiveFailures, totals.failures], [0, 1]);
});

Deno.test("View() corrects for the store's clock when it is ahead", async () => {
  // By less than the longest cooldown, which would correct it.
  const line = new Line();
  const clock = new FakeClock(line.clock.now() - 10_000);
  const stores = { remote: chaos(line.store, {}) };
  const fuse = createFuse({ clock: clock.now, stores });
  const breaker = fuse.make("a", TRIP);
  await fail(breaker, 2);
  await turn();
  const rejected = async () => {
    const result = await breaker.tryCall(() => 1);
    return "retryAfterMs" in result ? result.retryAfterMs : null;
  };
  assertEquals(await rejected(), 60_000);
  for (const each of [clock, line.clock]) each.advance(59_999);
  assertEquals(await rejected(), 1);
  for (const each of [clock, line.clock]) each.advance(1);
  assertEquals(await rejected(), null);
  await fuse.flush();
  assert(line.stored().halfOpen.successes === 1);
});

Deno.test("a record of its own goes once when the clock moves on while it is sent", async () => {
  let ms = 0;
  const asked: string[] = [];
  const remote = intercept(chaos(memory({ clock: () => ms }), {}), (operation) => {
    if (operation === "acquire" || operation === "record") asked.push(operation);
  });
  const fuse = createFuse({ clock: () => ms++, stores: { remote } });
  await succeed(fuse.make("a", { consistency: "strong" }), 3);
  assertEquals(asked, Array(3).fill(["acquire", "record"]).flat());
});
