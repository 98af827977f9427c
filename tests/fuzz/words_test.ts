// Texts of operators and names of upstreams in all output: verbatim or refused; one line in a
// sentence, one label in a metric, one field in JSON, one row in the trail.
import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { Hono } from "hono";
import { type CircuitBreakerOpenError, createFuse, type FuseEvent, memory } from "@fuse/edge";
import { circuitBreaker, health, metrics } from "@fuse/edge/hono";
import { clear, DRIVERS } from "../support/fuzz_drivers.ts";
import { HOSTILE_TEXTS, hostileText, hostileValue, HUGE, isFit, runs } from "../support/hostile.ts";
import { samplesOf } from "../support/prometheus_text.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

const words = fc.oneof(
  { weight: 8, arbitrary: hostileText },
  { weight: 1, arbitrary: fc.constantFrom("", "x".repeat(1_000), "\0".repeat(1_000)) },
  { weight: 1, arbitrary: fc.constant("😀".repeat(500)) },
);
const KINDS = ["forceOpen", "forceClose", "disable", "metricsOnly"] as const;
const EVENTS = ["forced_open", "forced_closed", "disabled", "metrics_only"] as const;

for (const driver of DRIVERS) {
  Deno.test(`CircuitBreaker() stores operators' texts verbatim (${driver.name})`, async () => {
    await using world = await driver.open();
    const property = fc.asyncProperty(
      hostileText,
      fc.nat({ max: 3 }),
      words,
      words,
      async (...[name, kind, reason, actor]) => {
        await clear(world.store);
        const fuse = createFuse({ stores: { s: world.store }, storeTimeoutMs: 30_000 });
        const told: FuseEvent[] = [];
        fuse.on("*", (event) => told.push(event));
        const breaker = fuse.make(name, { consistency: "strong" });
        await breaker[KINDS[kind]!]({ reason, actor, forMs: 60_000 });
        const written = { reason: reason.toWellFormed(), actor: actor.toWellFormed() };
        const shown = (of: { reason: unknown; actor: unknown } | null) =>
          of && {
            reason: of.reason,
            actor: of.actor,
          };
        assertEquals(shown((await breaker.snapshot()).override), written);
        assertEquals(told.map(({ type }) => type), [EVENTS[kind]]);
        assertEquals(shown(told[0] as never), written);
        const why = await breaker.explain();
        assert(!/[\r\n\u2028\u2029]/.test(why) && why.startsWith("Circuit "), why);

        const state = JSON.parse(JSON.stringify(await fuse.exportState()));
        assertEquals(shown(state.circuits[0].override), written);
        const other = createFuse({ stores: { s: world.store }, storeTimeoutMs: 30_000 });
        await other.importState(state);
        await breaker.reset({ reason: actor, actor: reason });
        await breaker.release({ reason: actor, actor: reason });
        const turned = { reason: written.actor, actor: written.reason };
        const operated = told.filter(({ type }) => type === "reset" || type === "released");
        assertEquals(operated.map((event) => shown(event as never)), [turned, turned]);

        if (world.trail === null) return;
        await fuse.flush();
        const rows = await Array.fromAsync(breaker.history());
        assertEquals(rows.map(({ event }) => event).slice(0, 4), [
          ...["released", "reset", "imported"] as const,
          EVENTS[kind]!,
        ]);
        for (const [i, expected] of [turned, turned, null, written].entries()) {
          const { metadata, name: called } = rows[i]!;
          assertEquals(called, name);
          if (expected !== null) assertEquals(shown(metadata as never), expected);
        }
        assertEquals((await world.trail.verifyTrail({ circuit: breaker.key })).ok, true);
      },
    );
    await fc.assert(property, runs(20, driver.share));
  });
}

Deno.test("CircuitBreaker() refuses invalid texts in one short line", async () => {
  const breaker = createFuse().make("a");
  const { generation } = await breaker.snapshot();
  const property = fc.asyncProperty(
    fc.constantFrom("reason", "actor"),
    fc.constantFrom(...KINDS, "release" as const, "reset" as const),
    fc.oneof(hostileValue, fc.constantFrom(HUGE, "x".repeat(1_001))),
    async (option, act, value) => {
      if (value === undefined || (typeof value === "string" && value.length <= 1_000)) return;
      const error = await assertRejects(() => breaker[act]({ [option]: value }), TypeError);
      assert(isFit(error.message) && error.message.includes(`"${option}"`), error.message);
      assertEquals((await breaker.snapshot()).generation, generation);
    },
  );
  await fc.assert(property, runs(100));
});

Deno.test("a rejection is one line, and its JSON body is valid, whatever the circuit's name", async () => {
  const property = fc.asyncProperty(hostileText, words, words, async (name, reason, actor) => {
    const fuse = createFuse();
    const breaker = fuse.make(name);
    await breaker.forceOpen({ reason, actor });
    const error = await breaker.call(() => 1).catch((e) => e) as CircuitBreakerOpenError;
    for (const text of [error.message, error.stack, String(error)]) {
      assert(!/[\r\n\u2028\u2029]/.test(text), text);
    }
    assertEquals(JSON.parse(JSON.stringify(error)).circuit.name, name);
    const response = error.getResponse({ expose: true });
    const headers = [...response.headers].map(([header, value]) => `${header}: ${value}`).sort();
    assertEquals(headers, [
      "cache-control: no-store",
      "content-type: application/problem+json",
      "retry-after: 60",
    ]);
    const problem = await response.json();
    assertEquals([problem.status, problem.circuit], [503, name]);
    // JSON turns half a surrogate pair into U+FFFD.
    assertEquals(problem.detail, error.message);
  });
  await fc.assert(property, runs(100));
});

Deno.test("prometheus() stays readable, and adds up, whatever the names of circuits and scopes", async () => {
  const names = fc.uniqueArray(fc.tuple(hostileText, hostileText), { minLength: 1, maxLength: 6 });
  const property = fc.asyncProperty(names, fc.boolean(), async (names, scopeLabels) => {
    const store = names[0]![1];
    const fuse = createFuse({ default: store, stores: Object.fromEntries([[store, memory()]]) });
    const app = new Hono().get("/", metrics({ fuse, scopeLabels }));
    await app.request("/");
    for (const [name, tenant] of names) {
      await fuse.for({ type: tenant, id: tenant }).make(name).call(() => 1);
    }
    // As a scraper reads it: bytes.
    const samples = samplesOf(await (await app.request("/")).text());
    const series = samples.map(({ metric, labels }) => JSON.stringify([metric, labels]));
    assertEquals(new Set(series).size, series.length);
    const calls = samples.filter(({ metric, labels }) =>
      metric === "fuse_calls_total" && labels.outcome === "success"
    );
    assertEquals(calls.reduce((sum, { value }) => sum + value, 0), names.length);
    const labels = calls.map(({ labels }) => JSON.stringify([labels.store, labels.circuit]));
    const expected = names.map(([name]) =>
      JSON.stringify([store.toWellFormed(), name.toWellFormed()])
    );
    assertEquals([...new Set(labels)].sort(), [...new Set(expected)].sort());
    // No name is read as a scope's.
    assert(samples.every(({ labels }) => scopeLabels || labels.context === undefined));
  });
  await fc.assert(property, runs(60));
});

Deno.test("health() separates circuits by name, whatever their names", async () => {
  const property = fc.asyncProperty(
    fc.uniqueArray(hostileText, { minLength: 1 }),
    async (names) => {
      const fuse = createFuse();
      const app = new Hono().get("/", health({ fuse, critical: [names[0]!] }));
      for (const name of names.slice(1)) await fuse.make(name).forceOpen();
      const response = await app.request("/");
      const { open } = await response.json();
      assertEquals(response.status, 200);
      assertEquals(open, names.slice(1).sort());
      await fuse.make(names[0]!).forceOpen();
      assertEquals((await app.request("/")).status, 503);
    },
  );
  await fc.assert(property, runs(60));
});

Deno.test("circuitBreaker() separates tenants whatever their header contains", async () => {
  const fuse = createFuse();
  const app = new Hono();
  app.use(circuitBreaker({
    fuse,
    name: "reports",
    options: { failureThreshold: 1 },
    context: (c) => ({ type: "tenant", id: c.req.header("x-tenant") ?? "none" }),
  }));
  app.get("/", (c) => c.text("no report", 500));
  app.onError((_error, c) => c.text("no tenant", 500));
  // A header contains bytes without line ends; surrounding spaces are not part of it.
  const tenants = HOSTILE_TEXTS.map((text) =>
    encodeURIComponent(text.toWellFormed()).replace(/%0[0AD]/g, "")
  ).concat("a b", "\x80\xff", '":,;', "*", "{a}");
  for (const tenant of new Set(tenants)) {
    const get = async () => await app.request("/", { headers: { "x-tenant": tenant } });
    const statuses = [(await get()).status, (await get()).status];
    // No scope, and no circuit: an error of Hono's own.
    const fits = tenant !== "" && tenant.length <= 255;
    assertEquals(statuses, fits ? [500, 503] : [500, 500], tenant);
  }
  const held = (await Array.fromAsync(fuse.list())).length;
  assertEquals(held, [...new Set(tenants)].filter((t) => t !== "" && t.length <= 255).length);
});
