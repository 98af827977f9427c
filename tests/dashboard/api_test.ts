import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { createFuse, memory } from "@fuse/edge";
import { dashboard } from "@fuse/edge/dashboard";
import { libsql } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { chaos, FakeClock } from "@fuse/edge/testing";
import { createClient } from "@libsql/client";
import { Hono } from "hono";
import { basicAuth } from "hono/basic-auth";
import { auth, AUTHORIZATION, mount, OWN, trip } from "./app.ts";
import { HOSTILE_TEXTS } from "../support/hostile.ts";

const ACTIONS = [
  ...["force-open", "force-close", "disable", "metrics-only", "release", "reset", "remove"],
];

Deno.test("dashboard() throws when it is created without auth", () => {
  const fuse = createFuse();
  assertThrows(
    () => dashboard({ fuse } as never),
    TypeError,
    '"auth" must be a middleware that lets operators in and nobody else, received undefined',
  );
  assertThrows(() => dashboard({ fuse, auth: "secret" as never }), RangeError, '"auth"');
});

Deno.test("dashboard() refuses invalid options", () => {
  const fuse = createFuse();
  for (
    const [options, said] of [
      [{ fuse: {} }, '"fuse"'],
      [{ actor: "ada" }, '"actor"'],
      [{ readOnly: 1 }, '"readOnly"'],
      [{ title: 1 }, '"title"'],
      [{ pollMs: 0 }, '"pollMs" must be an integer from 100'],
      [{ pollMS: 500 }, 'there is no option "pollMS"'],
    ] as const
  ) {
    assertThrows(() => dashboard({ fuse, auth, ...options } as never), Error, said);
  }
});

Deno.test("dashboard() answers 401 before anything else when a stranger asks", async () => {
  const { app, fuse } = mount({ readOnly: true });
  await trip(fuse, "payments");
  const paths = ["", "/", "/api/stores", "/api/circuits?limit=0", "/api/circuits/array/payments"];
  for (const path of [...paths, "/nothing", "/api/circuits/none/none", "/?state=odd"]) {
    for (const method of ["GET", "HEAD", "POST", "DELETE", "OPTIONS"]) {
      const response = await app.request(`/ops${path}`, { method });
      const text = await response.text();
      assertEquals(response.status, 401, `${method} ${path}`);
      assert(!text.includes("payments"), path);
    }
  }
  for (const action of [...ACTIONS, "nonsense"]) {
    const response = await app.request(`/ops/api/circuits/array/payments/${action}`, {
      method: "POST",
    });
    assertEquals(response.status, 401, action);
  }
});

Deno.test("dashboard() answers 401 when auth throws it and the app's error handler answers differently", async () => {
  const fuse = createFuse();
  const auth = basicAuth({ username: "operator", password: "AXlong" });
  const app = new Hono().route("/ops", dashboard({ fuse, auth }));
  const seen: unknown[] = [];
  app.onError((error, c) => {
    seen.push(error);
    return c.text("Bad Gateway", 502);
  });
  const response = await app.request("/ops/api/circuits");
  await response.body?.cancel();
  assertEquals(response.status, 401);
  assertMatch(response.headers.get("www-authenticate")!, /^Basic /);
  assertEquals(response.headers.get("cache-control"), "no-store");

  // Unexpected errors are left to the app.
  fuse.check = () => Promise.reject(new Error("a bug"));
  const authorization = `Basic ${btoa("operator:AXlong")}`;
  const failed = await app.request("/ops/api/stores", { headers: { authorization } });
  assertEquals([failed.status, await failed.text()], [502, "Bad Gateway"]);
  assertEquals(seen.map(String), ["Error: a bug"]);
});

Deno.test("GET /api/stores returns whether each store answers, and its traits", async () => {
  const broken = chaos(memory(), { down: () => true });
  const { json } = mount({}, { stores: { array: memory(), broken }, default: "array" });
  const stores = await json("/api/stores");
  const traits = { persistent: false, shared: false, audited: false };
  assertEquals(stores[0], { name: "array", ok: true, latencyMs: stores[0].latencyMs, traits });
  assertEquals(stores.map(({ name, ok }: { name: string; ok: boolean }) => [name, ok]), [
    ["array", true],
    ["broken", false],
  ]);
  assert(stores.every(({ latencyMs }: { latencyMs: number }) => Number.isInteger(latencyMs)));
});

Deno.test("GET /api/circuits filters and pages, open circuits first", async () => {
  const other = memory();
  const { fuse, json } = mount({}, { stores: { array: memory(), other }, default: "array" });
  for (const name of ["a", "b", "c"]) await fuse.make(name).call(() => 1);
  await trip(fuse, "c");
  await fuse.store("other").make("d").disable({ reason: "drill" });
  await fuse.for({ type: "tenant", id: "4:2/ü" }).make("a").call(() => 1);
  await fuse.boundary({ type: "region", id: "eu" }).make("a").call(() => 1);
  const keys = async (query: string) => {
    const { circuits, cursor, missing } = await json(`/api/circuits?${query}`);
    assertEquals([cursor, missing], [null, []]);
    return circuits.map(({ key }: { key: string }) => key);
  };
  assertEquals((await keys("")).slice(0, 2), ["c", "d"]);
  assertEquals((await keys("")).length, 6);
  assertEquals(await keys("state=OPEN"), ["c"]);
  assertEquals(await keys("store=other"), ["d"]);
  assertEquals(await keys("name=b"), ["b"]);
  assertEquals((await keys("name=a*")).length, 3);
  assertEquals(await keys(`context=${encodeURIComponent("tenant:4:2/ü")}`), [
    "a:for:tenant:4%3A2/ü",
  ]);
  assertEquals(await keys("name=a&context=none&boundary=none"), ["a"]);
  assertEquals(await keys("boundary=region:eu"), ["a:in:region:eu"]);
  assertEquals(await keys("overridden=true"), ["d"]);
  assertEquals(await keys("overridden=false&state=CLOSED&store="), [
    ...["a", "b", "a:for:tenant:4%3A2/ü", "a:in:region:eu"],
  ]);

  const first = await json("/api/circuits?limit=4");
  assertEquals(first.circuits.length, 4);
  const rest = await json(`/api/circuits?limit=4&cursor=${encodeURIComponent(first.cursor)}`);
  assertEquals([rest.circuits.length, rest.cursor], [2, null]);
});

Deno.test("GET /api/circuits names the stores that do not answer", async () => {
  const broken = chaos(memory(), { down: () => true });
  const { json } = mount({}, { stores: { array: memory(), broken }, default: "array" });
  assertEquals((await json("/api/circuits")).missing, ["broken"]);
});

Deno.test("GET /api/circuits answers 400 when a parameter is invalid", async () => {
  const { ask } = mount();
  for (
    const query of [
      ...["state=odd", "store=none", "overridden=1", "limit=0", "limit=1001", "limit=x"],
      ...["name=a*b", "context=acme", "boundary=:", "cursor=x", "text=a&cursor=x", "cursor={}"],
    ]
  ) {
    const response = await ask(`/api/circuits?${query}`);
    const { error } = await response.json();
    assertEquals(response.status, 400, query);
    assertStringIncludes(error, `"${/(\w+)=[^=]*$/.exec(query)![1]}"`);
  }
});

Deno.test("GET /api/circuits/:store/:key returns a circuit with its explanation and its trail", async () => {
  const clock = new FakeClock();
  const client = createClient({ url: ":memory:" });
  await migrate(client);
  const database = libsql({ client, clock: clock.now });
  const { fuse, json, act } = mount({}, { stores: { database }, clock: clock.now });
  await trip(fuse, "payments");
  await fuse.flush();
  assertEquals((await act("database/payments/force-open", { reason: "drill" })).status, 200);
  const { circuit, explanation, events } = await json("/api/circuits/database/payments");
  assertEquals([circuit.state, circuit.override.kind, circuit.lastFailure.kind], [
    ...["OPEN", "forced_open", "TypeError"],
  ]);
  assertEquals(circuit.lastFailure.instance, "fra-1");
  assertStringIncludes(explanation, "is forced_open until it is released by ada: drill");
  assertEquals(events.map(({ event }: { event: string }) => event), ["forced_open", "opened"]);
  assertEquals(events[0].metadata.actor, "ada");
  client.close();
});

Deno.test("GET /api/circuits/:store/:key answers 404 when there is no such circuit", async () => {
  const { ask } = mount();
  for (const path of ["array/nobody", "none/nobody", "array/a%20b", "array/%25zz", "array/a%3A"]) {
    const response = await ask(`/api/circuits/${path}`);
    assertEquals(response.status, 404, path);
    assertMatch((await response.json()).error, /no such circuit/);
  }
});

Deno.test("GET /api/circuits/:store/:key returns this isolate's snapshot when the store is down", async () => {
  let down = false;
  const store = chaos(memory(), { down: () => down });
  const { fuse, ask } = mount({}, { stores: { array: store } });
  await trip(fuse, "payments");
  await fuse.flush();
  down = true;
  const response = await ask("/api/circuits/array/payments");
  const { circuit, events } = await response.json();
  assertEquals([response.status, circuit.local, events], [200, true, []]);
});

Deno.test("POST performs each action, with the reason, the actor and the end", async () => {
  const { fuse, clock, act } = mount();
  const breaker = fuse.make("payments");
  await breaker.call(() => 1);
  const now = clock.now();
  for (
    const [action, kind] of [
      ["force-open", "forced_open"],
      ["force-close", "forced_closed"],
      ["disable", "disabled"],
      ["metrics-only", "metrics_only"],
    ] as const
  ) {
    const response = await act(`array/payments/${action}`, { reason: ` ${action} `, forMs: 1000 });
    const { circuit, explanation } = await response.json();
    assertEquals(response.status, 200);
    assertEquals(circuit.override, {
      ...{ kind, reason: action, actor: "ada" },
      until: new Date(now + 1000).toISOString(),
    });
    assertStringIncludes(explanation, kind);
  }
  assertEquals((await act("array/payments/release", { reason: "over" })).status, 200);
  assertEquals((await breaker.snapshot()).override, null);
  await trip(fuse, "payments");
  await act("array/payments/reset", { reason: "over" });
  assertEquals(await breaker.getState(), "CLOSED");
  const removed = await act("array/payments/remove", { reason: "gone" });
  assertEquals(await removed.json(), { circuit: null, explanation: null });
  assertEquals((await breaker.snapshot()).generation, 0);
});

Deno.test("POST sets an override without an end when none is given, also before the first call", async () => {
  const { fuse, act } = mount({ actor: undefined });
  assertEquals((await act("array/new/disable", { reason: "r" })).status, 200);
  const { override } = await fuse.make("new").snapshot();
  assertEquals([override?.until, override?.actor], [null, null]);
});

Deno.test("POST answers 403 when it comes from another site", async () => {
  const { fuse, act } = mount();
  const own = "http://localhost";
  const body = { reason: "r" };
  for (
    const [headers, status] of [
      [{}, 403],
      [{ "sec-fetch-site": "cross-site" }, 403],
      [{ "sec-fetch-site": "same-site" }, 403],
      [{ "sec-fetch-site": "none" }, 403],
      [{ "sec-fetch-site": "cross-site", origin: own }, 403],
      [{ origin: "https://evil.example" }, 403],
      [{ origin: "http://localhost:8080" }, 403],
      [{ origin: "null" }, 403],
      [{ origin: "http://localhost.evil.example" }, 403],
      [{ origin: own, "content-type": "application/json" }, 200],
      [{ origin: "https://localhost" }, 200],
      [{ "sec-fetch-site": "same-origin" }, 200],
    ] as const
  ) {
    const response = await act("array/payments/force-open", body, headers as never);
    await response.body?.cancel();
    assertEquals(response.status, status, JSON.stringify(headers));
    const { override } = await fuse.make("payments").snapshot();
    assertEquals(override !== null, status === 200, JSON.stringify(headers));
    await fuse.make("payments").release();
  }
});

Deno.test("POST answers 400 without a reason or with an invalid forMs", async () => {
  const { fuse, act } = mount();
  await fuse.make("payments").call(() => 1);
  const bodies: unknown[] = [
    ...["", "no JSON", "null", "[]", '"reason"', {}, { reason: "" }, { reason: "  " }],
    ...[{ reason: 1 }, { reason: "x".repeat(1001) }],
    // JSON has `null` for NaN and Infinity: a mistake must not set an override without an end.
    ...[0, -1, 1.5, "10m", "1000", true, [], {}, 2 ** 53, 1e308, NaN].map((forMs) => ({
      ...{ reason: "r", forMs },
    })),
  ];
  for (const body of bodies) {
    for (const action of ["force-open", "disable"]) {
      const response = await act(`array/payments/${action}`, body);
      assertEquals(response.status, 400, `${action} ${JSON.stringify(body)}`);
      assertMatch((await response.json()).error, /"(reason|forMs)"/);
    }
  }
  for (const action of ["release", "reset", "remove"]) {
    const response = await act(`array/payments/${action}`, { reason: "r", forMs: 1000 });
    assertEquals(response.status, 400);
    await response.body?.cancel();
  }
  const { override, generation } = await fuse.make("payments").snapshot();
  assertEquals([override, generation], [null, 1]);
});

Deno.test("POST answers 404 when there is no such action, store or key", async () => {
  const { act } = mount();
  for (const path of ["array/a/close", "array/a/toString", "none/a/reset", "array/a%3A/reset"]) {
    const response = await act(path, { reason: "r" });
    const { error } = await response.json();
    assertEquals(response.status, 404, path);
    const missing = path.startsWith("array/a/")
      ? /^There is no action ".+", only force-open, /
      : /circuit/;
    assertMatch(error, missing);
  }
});

Deno.test("POST answers 503 when the store does not accept the action, and reveals no detail", async () => {
  const store = chaos(memory(), { fail: () => new Error("redis://:AXsecret@host refused") });
  const { ask, act, json } = mount({}, { stores: { array: store } });
  const response = await act("array/a/force-open", { reason: "r" });
  assertEquals(response.status, 503);
  const said = await response.text() + await (await ask("?in=array&key=a")).text() +
    JSON.stringify([await json("/api/stores"), await json("/api/circuits/array/a")]);
  assertStringIncludes(said, "does not answer");
  assert(!said.includes("AX"), said);
});

Deno.test("every method but GET and HEAD answers 405 when the dashboard is read-only", async () => {
  const { fuse, ask, act } = mount({ readOnly: true });
  await trip(fuse, "payments");
  for (const headers of [OWN, {}, { origin: "https://evil.example" }]) {
    const response = await act("array/payments/reset", { reason: "r" }, headers as never);
    await response.body?.cancel();
    assertEquals([response.status, response.headers.get("allow")], [405, "GET, HEAD"]);
  }
  assertEquals(await fuse.make("payments").getState(), "OPEN");
  const page = await (await ask("")).text();
  assertStringIncludes(page, "read-only");
  assert(!/<dialog|<button[^>]*class="act"/.test(page));
});

Deno.test("an unsupported method answers 405", async () => {
  const { ask } = mount();
  for (const method of ["PUT", "DELETE", "PATCH"]) {
    const response = await ask("/api/circuits/array/a/reset", { method, headers: OWN });
    await response.body?.cancel();
    assertEquals(response.status, 405, method);
  }
});

Deno.test("every answer forbids caching, framing and content sniffing", async () => {
  const { app, ask } = mount();
  const answers = [await ask(""), await ask("/api/stores"), await app.request("/ops/api/stores")];
  for (const response of answers) {
    await response.body?.cancel();
    const { headers } = response;
    assertEquals(headers.get("cache-control"), "no-store");
    assertEquals(headers.get("x-frame-options"), "DENY");
    assertEquals(headers.get("x-content-type-options"), "nosniff");
    assertEquals(headers.get("strict-transport-security"), null);
    const policy = headers.get("content-security-policy")!;
    assertMatch(
      policy,
      /^default-src 'none'; .*script-src 'nonce-[^']+'; style-src 'nonce-[^']+'$/,
    );
    assert(!policy.includes("unsafe"), policy);
  }
  const nonces = answers.map(({ headers }) => headers.get("content-security-policy"));
  assertEquals(new Set(nonces).size, answers.length);
});

Deno.test("a circuit of any name can be shown, acted on and removed by its key", async () => {
  const { fuse, json, act } = mount();
  const names = [...new Set(HOSTILE_TEXTS), ".", "..", "a/../b", "%2E", "%2e%2e"];
  for (const name of names) {
    const { key } = fuse.for({ type: "tenant", id: name }).make(name);
    for (const one of [key, fuse.make(name).key]) {
      const segment = encodeURIComponent(
        one.replace(/^\.{1,2}$/, (dots) => dots.replaceAll(".", "%2E")),
      );
      const path = `array/${segment}`;
      assertEquals((await act(`${path}/force-open`, { reason: "r" })).status, 200, name);
      const { circuit } = await json(`/api/circuits/${path}`);
      assertEquals([circuit.key, circuit.override.kind], [one, "forced_open"]);
      assertEquals((await act(`${path}/remove`, { reason: "r" })).status, 200, name);
    }
  }
});

Deno.test("the dashboard of a view shows the circuits of the view, and acts on no others", async () => {
  const fuse = createFuse({ stores: { array: memory(), other: memory() } });
  const acme = fuse.for({ type: "tenant", id: "acme" });
  await acme.make("payments").call(() => 1);
  await fuse.make("payments").call(() => 1);
  await fuse.store("other").make("payments").call(() => 1);
  const { json, ask, act } = mount({ fuse: acme.store("array") });
  assertEquals((await json("/api/stores")).length, 1);
  const { circuits } = await json("/api/circuits");
  assertEquals(circuits.map(({ key }: { key: string }) => key), ["payments:for:tenant:acme"]);
  assertEquals((await ask("/api/circuits?store=other")).status, 400);
  for (const path of ["array/payments", "other/payments:for:tenant:acme"]) {
    assertEquals((await ask(`/api/circuits/${path}`)).status, 404, path);
    assertEquals((await act(`${path}/force-open`, { reason: "r" })).status, 404, path);
  }
  const own = "array/payments:for:tenant:acme/force-open";
  assertEquals((await act(own, { reason: "r" })).status, 200);
  assertEquals(await fuse.make("payments").isOpen(), false);
});

Deno.test("a function provides the Fuse once, at the first request", async () => {
  let made = 0;
  const fuse = createFuse();
  const { app } = mount({
    fuse: () => {
      made++;
      return fuse;
    },
  });
  assertEquals(made, 0);
  for (let i = 0; i < 3; i++) {
    const headers = { authorization: AUTHORIZATION };
    assertEquals((await app.request("/ops/api/stores", { headers })).status, 200);
  }
  assertEquals(made, 1);
});

Deno.test("the actor is determined from the request that acts", async () => {
  const fuse = createFuse();
  const app = new Hono().route(
    "/",
    dashboard({ fuse, auth, actor: (c) => c.req.header("x-user") ?? "nobody" }),
  );
  const response = await app.request("/api/circuits/array/a/disable", {
    method: "POST",
    headers: { authorization: AUTHORIZATION, "x-user": "grace", ...OWN },
    body: JSON.stringify({ reason: "r" }),
  });
  assertEquals((await response.json()).circuit.override.actor, "grace");
});
