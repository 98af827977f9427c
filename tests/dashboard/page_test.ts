import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createFuse, memory } from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { FakeClock } from "@fuse/edge/testing";
import { createClient } from "@libsql/client";
import type { CircuitEvent } from "../../src/contract.ts";
import { openingsOf } from "../../src/dashboard/timeline.ts";
import { gaugesOf, policyRows } from "../../src/dashboard/policy.ts";
import { spanText } from "../../src/dashboard/words.ts";
import { HOSTILE_TEXTS } from "../support/hostile.ts";
import { generate, TARGET } from "../tools/generate/dashboard.ts";
import { mount, type Mounted, textOf, trip } from "./app.ts";
import { playScene } from "./scene.ts";

// Not within a test: esbuild's process, which this starts, lives until the end of the file.
const made = await generate();

Deno.test("assets.ts is what `deno task dashboard:assets` generates from the script and the style sheets", async () => {
  assertEquals(await Deno.readTextFile(TARGET), made);
});

Deno.test("the page is the same with and without a slash after the mount's path", async () => {
  const { ask } = mount({ title: "Shop <&> co" });
  for (const path of ["", "/", "?state=OPEN", "/?state=OPEN"]) {
    const response = await ask(path);
    const html = await response.text();
    assertEquals([response.status, response.headers.get("content-type")], [
      ...[200, "text/html; charset=UTF-8"],
    ]);
    assertMatch(html, /^<!doctype html><html lang="en">/);
    assertStringIncludes(html, "<title>Shop &lt;&amp;&gt; co</title>");
  }
  assertEquals((await ask("/other")).status, 404);
});

Deno.test("the page works at the root of an app and behind a proxy that strips its path", async () => {
  const { ask } = mount();
  const html = await (await ask("")).text();
  const addresses = [...html.matchAll(/\b(?:href|src|action)="([^"]*)"/g)].map(([, to]) => to!);
  assert(addresses.length > 1);
  assertEquals(addresses.filter((to) => !/^(\?|#|data:image)/.test(to)), []);
});

Deno.test("the page has no style attribute, no handler attribute and no external resource", async () => {
  using scene = await playScene(Date.now());
  const { ask } = mount({ fuse: scene.fuse });
  for (const path of ["", "?in=database&key=payments:for:tenant:acme"]) {
    const html = await (await ask(path)).text();
    const tags = html.replace(/<(script|style)[^>]*>.*?<\/\1>/gs, "<$1>").match(/<[a-z][^>]*>/g)!;
    assertEquals(tags.filter((tag) => /\s(style|on\w+)=/.test(tag)), []);
    const nonces = [...html.matchAll(/<(script|style) nonce="([^"]+)"/g)].map(([, , nonce]) =>
      nonce
    );
    assertEquals(nonces.length, 2);
    assertEquals(new Set(nonces).size, 1);
    assert(!/https?:(?!\/\/www\.w3\.org)/.test(html.replaceAll(/xmlns="[^"]*"/g, "")));
  }
});

Deno.test("the first HTML shows the list, circuits that are not plainly closed first", async () => {
  using scene = await playScene(1_767_225_600_000);
  const { ask } = mount({ fuse: scene.fuse });
  const html = await (await ask("")).text();
  const text = textOf(html);
  const names = ["email-delivery", "payments", "search", "crm-export", "accounts", "users"];
  const places = names.map((name) => text.indexOf(` ${name} `, text.indexOf("Not plainly closed")));
  assertEquals(places.toSorted((a, b) => a - b), places);
  assert(places[0]! > 0);
  for (
    const words of [
      "2 open 1 half-open 2 overridden",
      "cache answers in",
      "database answers in",
      "Forced open email-delivery “the provider asks us to stop” by dana ends",
      "Open payments tenant:acme status 503 on fra-1 opened",
      "Half-open search TimeoutError on iad-2 opened",
      "1 trial in flight, 0 succeeded",
      "Disabled crm-export “moving to the new interface, see OPS-118” by sam no end",
      "5 of 26 calls failed (19 %) 5 in a row",
    ]
  ) assertStringIncludes(text, words);
});

Deno.test("a circuit is shown with its explanation, its counts, its openings and its trail", async () => {
  using scene = await playScene(1_767_225_600_000);
  const { ask } = mount({ fuse: scene.fuse });
  const text = textOf(await (await ask("?in=database&key=payments:for:tenant:acme")).text());
  for (
    const words of [
      "Circuit &quot;payments&quot; is OPEN since 2025-12-31T23:59:15.000Z",
      "Opened by status 503 on fra-1, 2025-12-31 23:59:15 UTC",
      "Next trial 2026-01-01 00:00:15 UTC",
      "Since it began 231 successes, 30 failures",
      "Trail 2025-12-31 23:59:15 UTC opened : consecutive_failures",
    ]
  ) assertStringIncludes(text, words);
  const html = await (await ask("?in=database&key=payments:for:tenant:acme")).text();
  assertEquals(html.match(/<rect class="open"/g)?.length, 6);
  assertMatch(html, /aria-label="6 openings in /);
});

Deno.test("the page says that a circuit is gone, and still shows the list", async () => {
  const { fuse, ask } = mount();
  await trip(fuse, "payments");
  for (const query of ["in=array&key=none", "in=none&key=payments", "in=array&key=%25"]) {
    const response = await ask(`?${query}`);
    const text = textOf(await response.text());
    assertEquals(response.status, 200);
    assertStringIncludes(text, "There is no such circuit any more.");
    assertStringIncludes(text, "1 open");
  }
});

Deno.test("hostile names, scopes, reasons and actors are shown as text", async () => {
  const evil = [`<img src=x onerror="alert(1)">`, `"><script>alert(1)</script>`, "</title></main>"];
  const texts = [...new Set([...HOSTILE_TEXTS, ...evil])].filter((text) => text.length < 256);
  const { fuse, ask } = mount();
  for (const text of texts) {
    const view = fuse.for({ type: "tenant", id: text }).boundary({ type: text, id: "1" });
    const breaker = view.make(text);
    await breaker.disable({ reason: `${text}</q><b>`, actor: text });
    const error = new Error("down");
    error.name = text;
    await view.make(`${text}`.slice(0, 250) + "open").tryCall(() => Promise.reject(error));
  }
  const pages: string[] = [];
  for (let path: string | null = ""; path !== null;) {
    const html: string = await (await ask(path)).text();
    pages.push(html);
    const next = /<a href="([^"]*)" rel="next"/.exec(html)?.[1];
    path = next === undefined ? null : next.replaceAll("&amp;", "&");
  }
  assert(pages.length > 2);
  const detail = fuse.for({ type: "tenant", id: evil[0]! }).boundary({ type: evil[0]!, id: "1" });
  const { key } = detail.make(evil[0]!);
  pages.push(await (await ask(`?in=array&key=${encodeURIComponent(key)}`)).text());
  pages.push(await (await ask(`?text=${encodeURIComponent(evil[1]!)}`)).text());
  for (const html of pages) {
    const own = html.replace(/<(script|style) nonce[^>]*>.*?<\/\1>/gs, "");
    const tags = new Set(own.match(/<[a-z]+/g));
    assert(![..."<img <script <q".split(" ")].some((tag) => tags.has(tag)), [...tags].join());
    assertEquals(own.match(/<\/title>|<\/main>/g)?.length, 2);
    assert(!/<[^>]*\sonerror=/.test(own.replaceAll(/="[^"]*"/g, '=""')));
    // Characters that turn the direction of writing, or hide, are made visible.
    // deno-lint-ignore no-control-regex
    assert(!/[\u202a-\u202e\u2066-\u2069\0\x1b]/.test(own.replaceAll(/<[^>]*>/g, "")));
  }
});

Deno.test("the page works when the policy of a record is hostile", async () => {
  const { fuse, ask } = mount();
  await trip(fuse, "payments");
  const { circuits: [entry], ...rest } = await fuse.exportState();
  for (const text of HOSTILE_TEXTS.filter((text) => text !== "" && text.length < 1000)) {
    const policy = { strategy: `consecutive_failures,${text}`, failureThreshold: text };
    await fuse.importState({ ...rest, circuits: [{ ...entry as object, policy }] });
    for (const path of ["", "?in=array&key=payments"]) {
      const response = await ask(path);
      const html = await response.text();
      assertEquals(response.status, 200, `${path} ${JSON.stringify(text)}`);
      // deno-lint-ignore no-control-regex
      assert(!/[\u202a-\u202e\u2066-\u2069\0\x1b]/.test(html.replaceAll(/<[^>]*>/g, "")));
    }
  }
});

Deno.test("10 000 circuits appear in pages, each once", async () => {
  const { fuse, ask, json } = mount();
  for (let i = 0; i < 10_000; i++) await fuse.make(`c${i}`).call(() => 1);
  await trip(fuse, "c9999");
  const first = await (await ask("")).text();
  assertEquals(rowsOf(first).length, 50);
  assertStringIncludes(rowsOf(first)[0]!, "c9999");
  assert(first.length < 200_000, `${first.length}`);

  const second = /<a href="(\?cursor=[^"]*)" rel="next"/.exec(first)![1]!.replaceAll("&amp;", "&");
  const rows = rowsOf(await (await ask(second)).text());
  assertEquals(rows.length, 50);
  assertEquals(rows.filter((row) => rowsOf(first).includes(row)), []);

  const seen = new Set<string>();
  let cursor: string | null = "";
  do {
    const page = await json(`/api/circuits?limit=1000&cursor=${encodeURIComponent(cursor!)}`);
    for (const { key } of page.circuits) seen.add(key);
    cursor = page.cursor;
  } while (cursor !== null);
  assertEquals(seen.size, 10_000);
});

Deno.test("a search finds names and scopes without regard to case, in pages", async () => {
  const { fuse, ask, json } = mount();
  for (let i = 0; i < 2500; i++) await fuse.make(`c${i}`).call(() => 1);
  await fuse.for({ type: "Tenant", id: "Ünicorn 42" }).make("payments").call(() => 1);
  const found = async (text: string) => rowsOf(await (await ask(`?text=${text}`)).text()).length;
  assertEquals(await found("PAY"), 1);
  assertEquals(await found(encodeURIComponent("tenant:ünicorn 4")), 1);
  assertEquals(await found("nothing"), 0);
  assertEquals(await found("c249"), 11);

  const expected = Array.from({ length: 2500 }, (_, i) => `c${i}`).filter((one) =>
    one.includes("24")
  );
  const seen: string[] = [];
  let cursor: string | null = "";
  do {
    const page = await json(`/api/circuits?text=24&limit=7&cursor=${encodeURIComponent(cursor!)}`);
    assert(page.circuits.length <= 7);
    seen.push(...page.circuits.map(({ key }: { key: string }) => key));
    cursor = page.cursor;
  } while (cursor !== null);
  assertEquals(seen.toSorted(), expected.toSorted());
});

Deno.test("the filters keep the chosen values, and links keep the filters", async () => {
  const { fuse, ask } = mount({}, {
    stores: { array: memory(), other: memory() },
    default: "array",
  });
  await trip(fuse, "payments");
  const html = await (await ask("?state=OPEN&store=array&text=pay&context=none")).text();
  assertStringIncludes(html, `<option value="OPEN" selected="">open</option>`);
  assertStringIncludes(html, `<option value="array" selected="">array</option>`);
  assertStringIncludes(html, `name="text" value="pay"`);
  assertStringIncludes(
    html,
    `href="?text=pay&amp;state=OPEN&amp;store=array&amp;context=none&amp;in=array&amp;key=payments"`,
  );
  const none = textOf(await (await ask("?state=HALF_OPEN")).text());
  assertStringIncludes(none, "No circuit matches.");
});

Deno.test("an invalid filter answers 400 with a page that explains why", async () => {
  const { ask } = mount();
  const response = await ask("?context=acme");
  assertEquals(response.status, 400);
  const text = textOf(await response.text());
  assertStringIncludes(text, "&quot;context&quot; must be");
  assert(!text.includes("Nothing here is open"), text);
});

Deno.test("the script receives the part of the page that a refresh replaces", async () => {
  const { fuse, ask } = mount();
  await trip(fuse, "payments");
  const html = await (await ask("", { headers: { "fuse-fragment": "view" } })).text();
  assertMatch(html, /^<main id="view"[^]*<\/main>$/);
  assertStringIncludes(html, "payments");
});

Deno.test("openingsOf() finds openings in a trail, also those that began earlier or continue", () => {
  const events = (...kinds: [string, number][]) =>
    kinds.map(([event, at]) => ({ event, at: new Date(at) }) as CircuitEvent).toReversed();
  assertEquals(openingsOf([]), []);
  assertEquals(openingsOf(events(["opened", 1], ["half_opened", 2], ["closed", 3])), [
    { from: 1, to: 3 },
  ]);
  assertEquals(openingsOf(events(["opened", 1], ["half_opened", 2], ["opened", 3])), [
    { from: 1, to: null },
  ]);
  assertEquals(openingsOf(events(["closed", 3], ["opened", 5], ["reset", 6])), [
    { from: null, to: 3 },
    { from: 5, to: 6 },
  ]);
  assertEquals(openingsOf(events(["opened", 1], ["removed", 2], ["closed", 4])), [
    { from: 1, to: 2 },
  ]);
});

Deno.test("openingsOf() finds openings among the rows of calls", async () => {
  const clock = new FakeClock();
  const client = createClient({ url: ":memory:" });
  await migrate(client);
  const database = libsql({ client, clock: clock.now, audit: "calls" });
  const { fuse, ask } = mount({}, {
    stores: { database },
    clock: clock.now,
    defaults: { failureThreshold: 1, cooldownMs: 1000, successThreshold: 1 },
  });
  const breaker = fuse.make("payments");
  await trip(fuse, "payments");
  await fuse.flush();
  clock.advance(5000);
  for (let i = 0; i < 80; i++) await breaker.call(() => 1);
  await fuse.flush();
  const html = await (await ask("?in=database&key=payments")).text();
  assertEquals(html.match(/<rect class="open"/g)?.length, 1);
  assertMatch(html, /aria-label="1 opening in /);
  client.close();
});

Deno.test("gaugesOf() returns the limits of the recorded policy, or none without a record", async () => {
  const { fuse } = mount({}, { defaults: { failureThreshold: 9 } });
  await trip(fuse, "payments");
  const circuit = await fuse.make("payments").snapshot();
  const texts = (policy: Record<string, unknown> | null) =>
    gaugesOf({ ...circuit, policy } as never).map(({ text, limit }) => `${text} / ${limit}`);
  assertEquals(texts(null), ["1 in a row / ", "1 of 1 call failed (100 %) / "]);
  assertEquals(texts({}), ["1 in a row / opens at 5", "1 of 1 call failed (100 %) / "]);
  assertEquals(texts({ strategy: "rolling_window,count_window", windowMs: 60_000 }), [
    "1 in a row / ",
    "1 of 1 call failed (100 %) / opens at 50 % of 10 or more in 1 min, or of the last 100",
  ]);
  assertEquals(
    policyRows({ ...circuit, policy: { cooldownMs: 90_000, strategy: "mine", x: null } } as never),
    [["cooldownMs", "1 min 30 s"], ["strategy", "mine"], ["x", "null"]],
  );
});

Deno.test("spanText() returns the two largest units", () => {
  for (
    const [ms, text] of [
      [0, "0 ms"],
      [999, "999 ms"],
      [1000, "1 s"],
      [90_000, "1 min 30 s"],
      [3_600_000, "1 h"],
      [3_601_000, "1 h"],
      [90_000_000, "1 d 1 h"],
    ] as const
  ) assertEquals(spanText(ms), text);
});

Deno.test("the page of an empty Fuse says that there are no circuits yet", async () => {
  const { ask }: Mounted = mount({ fuse: createFuse() });
  const text = textOf(await (await ask("")).text());
  assertStringIncludes(text, "There are no circuits yet: each appears with its first call.");
});

function rowsOf(html: string): string[] {
  return html.match(/<tr id="row:.*?<\/tr>/gs) ?? [];
}
