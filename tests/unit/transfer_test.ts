// Export and import: the transferred state, its target, and the outcomes that become late.
import { assertEquals, assertRejects } from "@std/assert";
import { createFuse, type Fuse, memory, type Store } from "@fuse/edge";
import { chaos, FakeClock } from "@fuse/edge/testing";
import { exported, fuseOf, goesOn, SCENARIOS } from "../support/moves.ts";
import { begin, fail, succeed } from "../support/setups.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

/** A store in this process, or one that simulates a remote one. */
type Kind = "memory" | "shared";
const KINDS: readonly Kind[] = ["memory", "shared"];
function storeOf(kind: Kind, clock: FakeClock, skewMs = 0): Store {
  const store = memory({ clock: () => clock.now() + skewMs });
  return kind === "memory" ? store : chaos(store, {});
}

for (const from of KINDS) {
  for (const to of KINDS) {
    for (const scenario of SCENARIOS) {
      Deno.test(`Fuse.importState() continues where exportState() stopped with ${scenario.name} (${from} to ${to})`, async () => {
        await goesOn(
          scenario,
          (clock, skewMs) => storeOf(from, clock, skewMs),
          (clock, skewMs) => storeOf(to, clock, skewMs),
        );
      });
    }
  }
}

for (const [kind, to] of [["memory", "shared"], ["shared", "memory"]] as const) {
  Deno.test(`Fuse.importState() leaves a tripped circuit open for its remaining time when clocks differ by any amount (${kind} to ${to})`, async () => {
    const clock = new FakeClock();
    const one = fuseOf(clock, storeOf(kind, clock, 777_777_777), { cooldownMs: 60_000 });
    await fail(one.make("a"), 5);
    clock.advance(20_001);
    const other = fuseOf(clock, storeOf(to, clock, -31), { cooldownMs: 60_000 });
    await other.importState(await exported(one));
    // A third of a second in a file.
    clock.advance(333);
    const breaker = other.make("a");
    const rejected = await breaker.tryCall(() => 1);
    assertEquals("retryAfterMs" in rejected && rejected.retryAfterMs, 60_000 - 20_334);
    clock.advance(60_000 - 20_334 - 1);
    assertEquals(await breaker.getState(), "OPEN");
    clock.advance(1);
    assertEquals(await breaker.getState(), "HALF_OPEN");
    assertEquals(await breaker.call(() => "trial"), "trial");
  });
}

Deno.test("Fuse.exportState() returns version, time and plain JSON", async () => {
  const fuse = fuseOf(new FakeClock(), memory());
  await fail(fuse.make("a"), 5);
  const state = await fuse.exportState();
  assertEquals([state.version, state.exportedAt], [1, "2025-01-01T00:00:00.000Z"]);
  assertEquals(JSON.parse(JSON.stringify(state)), state);
});

Deno.test("Fuse.exportState() includes pending outcomes", async () => {
  const clock = new FakeClock();
  const fuse = fuseOf(clock, storeOf("shared", clock));
  const breaker = fuse.make("a");
  await succeed(breaker, 7);
  await breaker.forceOpen();
  await breaker.tryCall(() => 1);
  const [entry] = (await fuse.exportState()).circuits as { totals: unknown }[];
  assertEquals(entry?.totals, { successes: 7, failures: 0, rejected: 1, slow: 0 });
});

for (const name of ["__proto__", "constructor", "a:for:b:c", "%", "é\ud800*\n"]) {
  Deno.test(`Fuse.importState() imports a circuit with the name ${JSON.stringify(name)}`, async () => {
    const clock = new FakeClock();
    const [one, other] = [fuseOf(clock, memory()), fuseOf(clock, memory())];
    const scope = { type: name, id: name };
    for (const view of [one, one.for(scope), one.boundary(scope)]) await fail(view.make(name), 5);
    assertEquals(await other.importState(await exported(one)), { imported: 3, kept: 0 });
    for (const view of [other, other.for(scope), other.boundary(scope)]) {
      assertEquals(await view.make(name).getState(), "OPEN");
    }
  });
}

/** Name, context and state of all circuits of a store, in order. */
async function found(fuse: Fuse): Promise<string[]> {
  const circuits = await Array.fromAsync(fuse.list());
  return circuits
    .map(({ store, name, context, boundary, state }) =>
      [store, name, context, boundary, state].filter((part) => part !== null).join(" ")
    )
    .sort();
}

for (const kind of KINDS) {
  Deno.test(`Fuse.importState() replaces what is there, or keeps it when \`existing\` says so (${kind})`, async () => {
    const clock = new FakeClock();
    const one = fuseOf(clock, storeOf(kind, clock));
    await fail(one.make("a"), 5);
    await fail(one.make("b"), 5);
    const state = await exported(one);
    const other = fuseOf(clock, storeOf(kind, clock));
    await succeed(other.make("a"), 3);
    await other.flush();
    const told: string[] = [];
    other.on("*", ({ type, ...event }) => told.push(`${type} ${"name" in event && event.name}`));
    assertEquals(await other.importState(state, { existing: "keep" }), { imported: 1, kept: 1 });
    assertEquals(await found(other), ["main a CLOSED", "main b OPEN"]);
    assertEquals((await other.make("a").getMetrics()).totalSuccesses, 3);
    assertEquals(told, ["imported b"]);
    assertEquals(await other.importState(state, { existing: "replace" }), {
      imported: 2,
      kept: 0,
    });
    assertEquals(await found(other), ["main a OPEN", "main b OPEN"]);
    assertEquals((await other.make("a").getMetrics()).totalSuccesses, 0);
    assertEquals(told.filter((line) => line === "imported a").length, 1);
    // "replace" is the default.
    await other.make("a").reset();
    assertEquals(await other.importState(state), { imported: 2, kept: 0 });
    assertEquals(await found(other), ["main a OPEN", "main b OPEN"]);
  });

  Deno.test(`Fuse.importState() makes the outcomes of calls that began before it late (${kind})`, async () => {
    const clock = new FakeClock();
    const fuse = fuseOf(clock, storeOf(kind, clock), { failureThreshold: 1 });
    const [a, b] = [fuse.make("a"), fuse.make("b")];
    // The store knows the first circuit, and not the second.
    await succeed(a);
    await fuse.flush();
    const held = [await begin(a), await begin(a), await begin(b), await begin(b)];
    const source = fuseOf(clock, memory(), { failureThreshold: 1 });
    for (const name of ["a", "b"]) await succeed(source.make(name), 4);
    await fuse.importState(await exported(source));
    for (const [i, call] of held.entries()) await (i % 2 === 0 ? call.fail() : call.succeed());
    await fuse.flush();
    for (const breaker of [a, b]) {
      const { state, metrics } = await breaker.snapshot();
      const { totalSuccesses, totalFailures, consecutiveSuccesses, window } = metrics;
      assertEquals([state, totalSuccesses, totalFailures], ["CLOSED", 5, 1]);
      assertEquals([consecutiveSuccesses, window.calls, window.failures], [4, 4, 0]);
    }
    await fail(a);
    await fuse.flush();
    assertEquals(await a.getState(), "OPEN");
  });

  Deno.test(`Fuse.importState() makes the outcome of a trial that began before it late (${kind})`, async () => {
    const clock = new FakeClock();
    const fuse = fuseOf(clock, storeOf(kind, clock), { successThreshold: 1 });
    const breaker = fuse.make("a");
    await fail(breaker, 5);
    await fuse.flush();
    const state = await exported(fuse);
    clock.advance(60_000);
    const trial = await begin(breaker);
    assertEquals([trial.admitted, await breaker.getState()], [true, "HALF_OPEN"]);
    await fuse.importState(state);
    await trial.succeed();
    await fuse.flush();
    const { openUntil, metrics } = await breaker.snapshot();
    assertEquals(openUntil?.getTime(), clock.now());
    assertEquals([metrics.totalSuccesses, metrics.consecutiveFailures], [1, 5]);
    // The trial's slot ended with its generation.
    assertEquals((await begin(breaker)).admitted, true);
  });

  Deno.test(`Fuse.exportState() and importState() cover only a view's scopes (${kind})`, async () => {
    const clock = new FakeClock();
    const one = fuseOf(clock, storeOf(kind, clock));
    const [tenant, other] = [{ type: "tenant", id: 1 }, { type: "tenant", id: 11 }];
    const region = { type: "tenant", id: "1" };
    const views = [
      one,
      one.for(tenant),
      one.for(other),
      one.boundary(region),
      one.for(tenant).boundary(region),
    ];
    for (const view of views) await fail(view.make("a"), 5);
    const names = async (view: Fuse) =>
      (await exported(view)).circuits.map((entry) => {
        const { context, boundary } = entry as Record<string, unknown>;
        return `${context} ${boundary}`;
      }).sort();
    assertEquals(await names(one.for(tenant)), ["tenant:1 null", "tenant:1 tenant:1"]);
    assertEquals(await names(one.boundary(region)), ["null tenant:1", "tenant:1 tenant:1"]);
    assertEquals(await names(one.for(tenant).boundary(region)), ["tenant:1 tenant:1"]);
    assertEquals(await names(one), [
      "null null",
      "null tenant:1",
      "tenant:1 null",
      "tenant:1 tenant:1",
      "tenant:11 null",
    ]);
    const state = await exported(one);
    const target = fuseOf(clock, storeOf(kind, clock));
    assertEquals(await target.for({ type: "tenant", id: 1n }).importState(state), {
      imported: 2,
      kept: 0,
    });
    assertEquals(await found(target), ["main a tenant:1 OPEN", "main a tenant:1 tenant:1 OPEN"]);
    assertEquals(await target.for({ type: "tenant", id: 2 }).importState(state), {
      imported: 0,
      kept: 0,
    });
  });

  Deno.test(`Fuse.exportState() covers the circuits that match a filter (${kind})`, async () => {
    const clock = new FakeClock();
    const fuse = fuseOf(clock, storeOf(kind, clock));
    await fail(fuse.make("pay-a"), 5);
    await fail(fuse.make("pay-b"), 1);
    await fail(fuse.make("mail"), 5);
    await fuse.flush();
    const { circuits } = await fuse.exportState({ name: "pay-*", state: "OPEN" });
    assertEquals(circuits.map((entry) => (entry as { name: string }).name), ["pay-a"]);
  });

  Deno.test(`Fuse.resetAll() closes and clears only a view's circuits, and keeps totals and overrides (${kind})`, async () => {
    const clock = new FakeClock();
    const fuse = fuseOf(clock, storeOf(kind, clock));
    const view = fuse.for({ type: "tenant", id: 1 });
    for (const breaker of [fuse.make("a"), view.make("a"), view.make("b")]) await fail(breaker, 5);
    await view.make("b").forceOpen();
    await fuse.flush();
    const resets: unknown[] = [];
    fuse.on("reset", ({ key, actor, reason }) => resets.push([key, actor, reason]));
    assertEquals(await view.resetAll({ actor: "ada", reason: "all clear" }), 2);
    assertEquals(resets.sort(), [
      ["a:for:tenant:1", "ada", "all clear"],
      ["b:for:tenant:1", "ada", "all clear"],
    ]);
    assertEquals(await found(fuse), [
      "main a OPEN",
      "main a tenant:1 CLOSED",
      "main b tenant:1 CLOSED",
    ]);
    const { override, metrics } = await view.make("b").snapshot();
    assertEquals([override?.kind, metrics.totalFailures], ["forced_open", 5]);
    assertEquals(metrics.consecutiveFailures, 0);
    assertEquals(await fuse.resetAll(), 3);
    assertEquals((await found(fuse)).filter((line) => line.includes("OPEN")), []);
  });
}

Deno.test("Fuse.importState() writes to the store of the same name, else the default, and to a view's own", async () => {
  const clock = new FakeClock();
  const fuseWith = (names: string[], standard: string) =>
    createFuse({
      clock: clock.now,
      stores: Object.fromEntries(names.map((name) => [name, memory()])),
      default: standard,
    });
  const source = fuseWith(["one", "two", "three"], "one");
  for (const name of ["one", "two", "three"]) {
    await fail(source.store(name).make(`of-${name}`), 5);
  }
  const state = await exported(source);
  const root = fuseWith(["two", "standard", "one"], "standard");
  assertEquals(await root.importState(state), { imported: 3, kept: 0 });
  assertEquals(await found(root), [
    "one of-one OPEN",
    "standard of-three OPEN",
    "two of-two OPEN",
  ]);
  const narrowed = fuseWith(["one", "two"], "one");
  assertEquals(await narrowed.store("two").importState(state), { imported: 3, kept: 0 });
  assertEquals(await found(narrowed), ["two of-one OPEN", "two of-three OPEN", "two of-two OPEN"]);
  assertEquals(await found(narrowed.store("one")), []);
  const { circuits } = await source.store("two").exportState();
  assertEquals(circuits.map((entry) => (entry as { name: string }).name), ["of-two"]);
});

Deno.test("Fuse.importState() reports its progress, and imports nothing when the report is invalid", async () => {
  const fuse = createFuse();
  for (const name of ["a", "b"]) await fuse.make(name).forceOpen();
  const state = await fuse.exportState();
  const other = createFuse();
  await assertRejects(
    () => other.importState(state, { onProgress: true as never }),
    TypeError,
    `"onProgress" must be a function`,
  );
  assertEquals((await other.exportState()).circuits, []);
  const heard: number[] = [];
  await other.importState(state, { onProgress: (done) => heard.push(done) });
  assertEquals(heard, [1, 2]);
});
