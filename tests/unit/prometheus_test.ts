import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createFuse, type Fuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { prometheus, prometheusText } from "@fuse/edge/prometheus";
import type { ListPage, ListRequest } from "@fuse/edge/store";
import { chaos, memory, type OpeningStore } from "../support/drivers.ts";

Deno.test("prometheus() tells circuits, calls, transitions and stores, in one order", async () => {
  const clock = new FakeClock();
  const fuse = createFuse({
    clock: clock.now,
    defaults: { failureThreshold: 2, cooldownMs: 1_000, slowCallMs: 100 },
  });
  const scrape = prometheus(fuse);
  const payments = fuse.make("payments");
  await payments.call(() => clock.advance(100));
  await fail(fuse, "payments", 2);
  for (let i = 0; i < 3; i++) await payments.tryCall(() => "not let through");
  await fuse.make("mail").call(() => "sent");

  assertEquals(
    await scrape(),
    `\
# HELP fuse_circuits Circuits that the store holds, by the state beneath any override.
# TYPE fuse_circuits gauge
fuse_circuits{store="array",circuit="mail",state="CLOSED"} 1
fuse_circuits{store="array",circuit="mail",state="OPEN"} 0
fuse_circuits{store="array",circuit="mail",state="HALF_OPEN"} 0
fuse_circuits{store="array",circuit="payments",state="CLOSED"} 0
fuse_circuits{store="array",circuit="payments",state="OPEN"} 1
fuse_circuits{store="array",circuit="payments",state="HALF_OPEN"} 0
# HELP fuse_circuits_overridden Circuits that an operator laid an override over, by its kind.
# TYPE fuse_circuits_overridden gauge
fuse_circuits_overridden{store="array",circuit="mail",override="forced_open"} 0
fuse_circuits_overridden{store="array",circuit="mail",override="forced_closed"} 0
fuse_circuits_overridden{store="array",circuit="mail",override="disabled"} 0
fuse_circuits_overridden{store="array",circuit="mail",override="metrics_only"} 0
fuse_circuits_overridden{store="array",circuit="payments",override="forced_open"} 0
fuse_circuits_overridden{store="array",circuit="payments",override="forced_closed"} 0
fuse_circuits_overridden{store="array",circuit="payments",override="disabled"} 0
fuse_circuits_overridden{store="array",circuit="payments",override="metrics_only"} 0
# HELP fuse_opened_by_timestamp_seconds When the failure was that opened a circuit, by what it was.
# TYPE fuse_opened_by_timestamp_seconds gauge
fuse_opened_by_timestamp_seconds{store="array",circuit="payments",kind="Error",status=""} 1735689600
# HELP fuse_calls_total Calls that ended and counted, over all isolates.
# TYPE fuse_calls_total counter
fuse_calls_total{store="array",circuit="mail",outcome="success"} 1
fuse_calls_total{store="array",circuit="mail",outcome="failure"} 0
fuse_calls_total{store="array",circuit="payments",outcome="success"} 1
fuse_calls_total{store="array",circuit="payments",outcome="failure"} 2
# HELP fuse_slow_calls_total Calls that took slowCallMs or longer, over all isolates.
# TYPE fuse_slow_calls_total counter
fuse_slow_calls_total{store="array",circuit="mail"} 0
fuse_slow_calls_total{store="array",circuit="payments"} 1
# HELP fuse_rejected_calls_total Calls that were not let through, over all isolates.
# TYPE fuse_rejected_calls_total counter
fuse_rejected_calls_total{store="array",circuit="mail"} 0
fuse_rejected_calls_total{store="array",circuit="payments"} 3
# HELP fuse_transitions_total Changes of state that this isolate made, by the state after.
# TYPE fuse_transitions_total counter
fuse_transitions_total{store="array",circuit="mail",to="CLOSED"} 0
fuse_transitions_total{store="array",circuit="mail",to="OPEN"} 0
fuse_transitions_total{store="array",circuit="mail",to="HALF_OPEN"} 0
fuse_transitions_total{store="array",circuit="payments",to="CLOSED"} 0
fuse_transitions_total{store="array",circuit="payments",to="OPEN"} 1
fuse_transitions_total{store="array",circuit="payments",to="HALF_OPEN"} 0
# HELP fuse_local_circuits Circuits that this isolate decides about alone, its store being away.
# TYPE fuse_local_circuits gauge
fuse_local_circuits{store="array"} 0
# HELP fuse_pace_ratio How much less often than configured this isolate asks about a circuit, at most.
# TYPE fuse_pace_ratio gauge
fuse_pace_ratio{store="array"} 1
# HELP fuse_store_up Whether the store answered this scrape, and this isolate's last requests.
# TYPE fuse_store_up gauge
fuse_store_up{store="array"} 1
# HELP fuse_store_errors_total Failures of the store that this isolate met, by the circuit that did.
# TYPE fuse_store_errors_total counter
fuse_store_errors_total{store="array",circuit="mail"} 0
fuse_store_errors_total{store="array",circuit="payments"} 0
fuse_store_errors_total{store="array"} 0
`,
  );
});

Deno.test("prometheus() tells of what is not closed which failure opened it last, by status or kind", async () => {
  const clock = new FakeClock();
  const fuse = createFuse({ clock: clock.now, defaults: { failureThreshold: 1 } });
  const refused = Object.assign(new Error("secret"), { code: "ECONNREFUSED" });
  const mail = fuse.make("mail");
  const tenant = fuse.for({ type: "tenant", id: 1 }).make("mail");
  await tenant.tryCall(() => Promise.reject(refused));
  clock.advance(5_000);
  await mail.tryCall(() => new Response(null, { status: 503 }));
  await fuse.make("closed").tryCall(() => Promise.reject(refused));
  await fuse.make("closed").reset();
  const at = Math.round(clock.now() / 1_000);
  const metric = "fuse_opened_by_timestamp_seconds";
  assertEquals(samples(await prometheus(fuse)(), metric), [
    `{store="array",circuit="mail",kind="Response",status="503"} ${at}`,
  ]);
  assertEquals(samples(await prometheus(fuse, { scopeLabels: true })(), metric), [
    `{store="array",circuit="mail",context="",boundary="",kind="Response",status="503"} ${at}`,
    `{store="array",circuit="mail",context="tenant:1",boundary="",kind="ECONNREFUSED",status=""} ${
      at - 5
    }`,
  ]);
});

Deno.test("prometheus() counts each transition since it was made", async () => {
  const clock = new FakeClock();
  const fuse = createFuse({
    clock: clock.now,
    defaults: { failureThreshold: 1, successThreshold: 1, cooldownMs: 1_000 },
  });
  await fail(fuse, "api");
  const scrape = prometheus(fuse);
  clock.advance(1_000);
  await fail(fuse, "api");
  clock.advance(1_000);
  await fuse.make("api").call(() => "fine");

  assertEquals(samples(await scrape(), "fuse_transitions_total"), [
    '{store="array",circuit="api",to="CLOSED"} 1',
    '{store="array",circuit="api",to="OPEN"} 1',
    '{store="array",circuit="api",to="HALF_OPEN"} 2',
  ]);
});

Deno.test("prometheus() tells an override and the state beneath", async () => {
  const fuse = createFuse({ defaults: { failureThreshold: 1 } });
  await fail(fuse, "api");
  await fuse.make("api").forceClose();
  const text = await prometheus(fuse)();
  assertStringIncludes(text, 'fuse_circuits{store="array",circuit="api",state="OPEN"} 1\n');
  assertStringIncludes(text, 'circuit="api",override="forced_closed"} 1\n');
});

Deno.test("prometheus() adds the circuits of all scopes up under their name", async () => {
  const fuse = await tenants();
  const text = await prometheus(fuse)();
  assertEquals(samples(text, "fuse_circuits"), [
    '{store="array",circuit="mail",state="CLOSED"} 2',
    '{store="array",circuit="mail",state="OPEN"} 1',
    '{store="array",circuit="mail",state="HALF_OPEN"} 0',
  ]);
  assertEquals(samples(text, "fuse_calls_total"), [
    '{store="array",circuit="mail",outcome="success"} 2',
    '{store="array",circuit="mail",outcome="failure"} 1',
  ]);
  assert(!text.includes("acme"), "a tenant is told");
});

Deno.test("prometheus() gives each scope its series with scopeLabels", async () => {
  const fuse = await tenants();
  const text = await prometheus(fuse, { scopeLabels: true })();
  assertEquals(samples(text, "fuse_circuits").filter((line) => line.endsWith(" 1")), [
    '{store="array",circuit="mail",context="",boundary="",state="CLOSED"} 1',
    '{store="array",circuit="mail",context="tenant:acme",boundary="",state="OPEN"} 1',
    '{store="array",circuit="mail",context="tenant:acme",boundary="region:eu",state="CLOSED"} 1',
  ]);
});

Deno.test("prometheus() keeps to the view that it was given", async () => {
  const fuse = await tenants();
  const scrape = prometheus(fuse.for({ type: "tenant", id: "acme" }));
  assertEquals(samples(await scrape(), "fuse_calls_total"), [
    '{store="array",circuit="mail",outcome="success"} 1',
    '{store="array",circuit="mail",outcome="failure"} 1',
  ]);
});

Deno.test("prometheus() escapes what a label may not hold", async () => {
  const fuse = createFuse();
  await fuse.make('a "b"\n\\c').call(() => 1);
  const lines = (await prometheus(fuse)()).split("\n");
  assertEquals(
    lines.find((line) => line.startsWith("fuse_slow_calls_total")),
    'fuse_slow_calls_total{store="array",circuit="a \\"b\\"\\n\\\\c"} 0',
  );
});

Deno.test("prometheus() ends every line, and says what each metric is before its samples", async () => {
  const text = await prometheus(await tenants())();
  assert(text.endsWith("\n"));
  const said = new Set<string>();
  for (const line of text.slice(0, -1).split("\n")) {
    const [, name = ""] = /^# TYPE (\w+) (?:gauge|counter)$/.exec(line) ?? [];
    if (name !== "") said.add(name);
    if (line.startsWith("#")) continue;
    assertMatch(line, /^\w+\{(?:\w+="[^"]*",?)+\} \d+$/);
    assert(said.has(line.slice(0, line.indexOf("{"))), line);
  }
  for (const name of said) {
    assertEquals(name.endsWith("_total"), text.includes(`# TYPE ${name} counter`), name);
  }
});

Deno.test("prometheus() goes on without a store that does not answer, and says so", async () => {
  let down = false;
  const { fuse, clock } = threeStores({ down: () => down });
  const scrape = prometheus(fuse);
  await fuse.make("local").call(() => 1);
  await fuse.store("remote").make("far").call(() => 1);
  await fuse.store("last").make("late").call(() => 1);
  await fuse.flush();

  assertEquals(samples(await scrape(), "fuse_store_up"), [
    '{store="first"} 1',
    '{store="last"} 1',
    '{store="remote"} 1',
  ]);

  down = true;
  const text = await scrape();
  assertEquals(samples(text, "fuse_store_up"), [
    '{store="first"} 1',
    '{store="last"} 1',
    '{store="remote"} 0',
  ]);
  assertEquals(samples(text, "fuse_store_errors_total"), [
    '{store="first",circuit="local"} 0',
    '{store="first"} 0',
    '{store="last",circuit="late"} 0',
    '{store="last"} 0',
    '{store="remote"} 1',
  ]);
  assertEquals(samples(text, "fuse_slow_calls_total"), [
    '{store="first",circuit="local"} 0',
    '{store="last",circuit="late"} 0',
  ]);

  down = false;
  clock.advance(60_000);
  const again = await scrape();
  assertStringIncludes(again, 'fuse_store_up{store="remote"} 1\n');
  assertStringIncludes(again, 'fuse_store_errors_total{store="remote"} 1\n');
});

for (
  const [scopeLabels, labels] of [
    [false, 'circuit="far"'],
    [true, 'circuit="far",context="tenant:acme",boundary=""'],
  ] as const
) {
  Deno.test(`prometheus({ scopeLabels: ${scopeLabels} }) says which circuit met an error of the store`, async () => {
    const { fuse } = threeStores({ down: () => true });
    const scrape = prometheus(fuse, { scopeLabels });
    await fuse.for({ type: "tenant", id: "acme" }).store("remote").make("far").call(() => 1);
    // The list that fails too is not told of: the store is being left alone.
    assertEquals(
      samples(await scrape(), "fuse_store_errors_total").filter((line) => line.includes("remote")),
      [`{store="remote",${labels}} 1`, '{store="remote"} 0'],
    );
  });
}

Deno.test("prometheus() of a view counts a store's error, and tells no circuit of another", async () => {
  const { fuse } = threeStores({ down: () => true });
  const scrape = prometheus(fuse.for({ type: "tenant", id: "acme" }).store("remote"));
  await fuse.store("remote").make("far").call(() => 1);
  assertEquals(samples(await scrape(), "fuse_store_errors_total"), ['{store="remote"} 1']);
});

Deno.test("prometheus() keeps the store errors of a bounded number of circuits", async () => {
  const store = chaos(memory(), { down: () => true });
  const clock = new FakeClock();
  const fuse = createFuse({ clock: clock.now, stores: { store } });
  const scrape = prometheus(fuse);
  for (let i = 0; i <= 10_000; i++) {
    clock.advance(60_000); // it is asked again
    await fuse.make(`host ${i}`).getState();
  }
  const counts = samples(await scrape(), "fuse_store_errors_total");
  assertEquals(counts.length, 10_001);
  assertEquals(counts.filter((line) => line.includes('"host 0"')), []);
});

Deno.test("prometheus() tells nothing of a store that fails halfway", async () => {
  const inner = chaos(memory(), {});
  let answers = Infinity;
  const list = async ({ cursor, ...request }: ListRequest): Promise<ListPage> => {
    if (answers-- <= 0) throw new Error("gone");
    const { records } = await inner.list({ ...request, cursor: null });
    const at = Number(cursor);
    return {
      records: records.slice(at, at + 1),
      cursor: at + 1 < records.length ? `${at + 1}` : null,
    };
  };
  const half = new Proxy(inner, {
    get(store, member: keyof OpeningStore) {
      const value = store[member];
      if (member === "list") return list;
      return typeof value === "function" ? value.bind(store) : value;
    },
  });
  const fuse = createFuse({ stores: { half } });
  for (const name of ["a", "b", "c"]) await fuse.make(name).call(() => 1);
  await fuse.flush();
  const scrape = prometheus(fuse);
  assertEquals(samples(await scrape(), "fuse_rejected_calls_total").length, 3);

  answers = 2; // of three pages
  const text = await scrape();
  assertEquals(samples(text, "fuse_store_up"), ['{store="half"} 0']);
  assertEquals(samples(text, "fuse_circuits"), []);
});

Deno.test("prometheus() keeps the transitions of a bounded number of circuits", async () => {
  const fuse = createFuse({ defaults: { failureThreshold: 1 } });
  const scrape = prometheus(fuse);
  for (let i = 0; i <= 10_000; i++) await fuse.make(`host ${i}`).tryCall(refuse);
  const counts = samples(await scrape(), "fuse_transitions_total");
  const opened = (circuit: string) =>
    counts.find((line) => line.startsWith(`{store="array",circuit="${circuit}",to="OPEN"}`));
  assertEquals(opened("host 0")?.at(-1), "0");
  assertEquals(opened("host 1")?.at(-1), "1");
  assertEquals(opened("host 10000")?.at(-1), "1");
});

Deno.test("prometheus() does nothing until it is asked", () => {
  const fuse = createFuse({ stores: { store: chaos(memory(), { down: refuse }) } });
  prometheus(fuse);
});

function refuse(): never {
  throw new Error("refused");
}

/** Unscoped, of a tenant, and of the tenant in a region; the tenant's is open. */
async function tenants(): Promise<Fuse> {
  const fuse = createFuse({ defaults: { failureThreshold: 1 } });
  const acme = fuse.for({ type: "tenant", id: "acme" });
  await fuse.make("mail").call(() => "sent");
  await fail(acme, "mail");
  await acme.boundary({ type: "region", id: "eu" }).make("mail").call(() => "sent");
  return fuse;
}

function threeStores({ down }: { down: () => boolean }): { fuse: Fuse; clock: FakeClock } {
  const clock = new FakeClock();
  const store = () => memory({ clock: clock.now });
  const stores = { first: store(), remote: chaos(store(), { down }), last: store() };
  return { fuse: createFuse({ clock: clock.now, stores }), clock };
}

async function fail(fuse: Fuse, name: string, times = 1): Promise<void> {
  for (let i = 0; i < times; i++) {
    await fuse.make(name).tryCall(() => Promise.reject(new Error("down")));
  }
}

/** The samples of a metric, without its name. */
function samples(text: string, metric: string): string[] {
  return text.split("\n")
    .filter((line) => line.startsWith(`${metric}{`))
    .map((line) => line.slice(metric.length));
}

Deno.test("prometheus() adds up what UTF-8 cannot tell apart", async () => {
  const fuse = createFuse();
  const scrape = prometheus(fuse);
  for (const name of ["\ud800", "\udfff", "\ufffd"]) await fuse.make(name).call(() => "fine");
  const samples = (await scrape()).split("\n").filter((line) => line.includes('"success"'));
  assertEquals(samples, ['fuse_calls_total{store="array",circuit="\ufffd",outcome="success"} 3']);
});

Deno.test("prometheusText() counts from its first call on, and listens once", async () => {
  const fuse = createFuse();
  for (let i = 0; i < 3; i++) await prometheusText(fuse);
  await fuse.make("a", { failureThreshold: 1 }).tryCall(() => Promise.reject(new Error("down")));
  const moved = 'fuse_transitions_total{store="array",circuit="a",to="OPEN"} 1\n';
  assertStringIncludes(await prometheusText(fuse), moved);
  assertStringIncludes(await prometheusText(fuse, { scopeLabels: true }), 'context="",boundary=""');
});
