// Stores that refuse circuits, or do not answer, on the page.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { memory } from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { chaos, FakeClock } from "@fuse/edge/testing";
import { createClient } from "@libsql/client";
import { mount, textOf, trip } from "./app.ts";

Deno.test("the page names a circuit whose record is invalid, and shows and cures it", async () => {
  const client = createClient({ url: ":memory:" });
  await migrate(client);
  const { fuse, ask, json, act } = mount({}, { stores: { database: libsql({ client }) } });
  fuse.on("store_error", () => {});
  const bad = fuse.for({ type: "tenant", id: "42" }).make("bad <b>");
  await bad.forceOpen({ reason: "drill" });
  await client.execute("update circuit_breakers set total_successes = 'oops'");
  for (const _ of [1, 2]) {
    const text = textOf(await (await ask("")).text());
    assertStringIncludes(text, "bad &lt;b&gt; tenant:42 in database cannot be shown: ");
    assertStringIncludes(text, "the field &quot;total_successes&quot; of the circuit is invalid");
    assert(!text.includes("There are no circuits yet"));
    const { refused } = await json("/api/circuits");
    assertEquals(refused.map((one: { key: string; context: string }) => [one.key, one.context]), [
      [bad.key, "tenant:42"],
    ]);
    const detail = textOf(
      await (await ask(`?in=database&key=${encodeURIComponent(bad.key)}`)).text(),
    );
    assertStringIncludes(detail, "The store refuses this circuit until it is reset or removed");
    assert(!detail.includes("The store does not answer"));
  }
  const path = `database/${encodeURIComponent(bad.key)}/reset`;
  assertEquals((await act(path, { reason: "cure" })).status, 200);
  assertEquals((await json("/api/circuits")).refused, []);
  assertEquals((await json("/api/circuits")).circuits.length, 1);
  client.close();
});

Deno.test("circuits that are refused match the filter by name, scope and text", async () => {
  const client = createClient({ url: ":memory:" });
  await migrate(client);
  const { fuse, json } = mount({}, { stores: { database: libsql({ client }) } });
  fuse.on("store_error", () => {});
  await fuse.make("plain").forceOpen({ reason: "drill" });
  await fuse.for({ type: "tenant", id: "a:b" }).make("scoped").forceOpen({ reason: "drill" });
  await client.execute("update circuit_breakers set total_successes = 'oops'");
  const found = [
    ...[["", "plain,scoped"], ["name=pl*", "plain"], ["name=p", ""], ["text=PLA", "plain"]],
    ...[["text=t:a:b", "scoped"], ["context=none", "plain"], ["context=tenant:a:b", "scoped"]],
    ...[["context=tenant:c", ""], ["boundary=none", "plain,scoped"], ["boundary=a:b", ""]],
    ...[["state=closed", "plain,scoped"], ["overridden=true&name=plain", "plain"]],
  ] as const;
  for (const [query, names] of found) {
    const { refused } = await json(`/api/circuits?${query}`);
    assertEquals(refused.map(({ name }: { name: string }) => name).join(), names, query);
  }
  client.close();
});

Deno.test("the page names some circuits of very many that are refused, and counts the others", async () => {
  const client = createClient({ url: ":memory:" });
  await migrate(client);
  const { fuse, ask, json } = mount({}, { stores: { database: libsql({ client }) } });
  fuse.on("store_error", () => {});
  for (let i = 0; i < 25; i++) await fuse.make(`bad-${i}`).forceOpen({ reason: "drill" });
  await client.execute("update circuit_breakers set total_successes = 'oops'");
  const text = textOf(await (await ask("")).text());
  assertEquals(text.split("cannot be shown: ").length - 1, 10);
  assertStringIncludes(text, "15 more cannot be shown");
  assertEquals((await json("/api/circuits")).refused.length, 25);
  client.close();
});

Deno.test("the page takes no circuit for refused because its store was held back a moment ago", async () => {
  const client = createClient({ url: ":memory:" });
  await migrate(client);
  const clock = new FakeClock();
  let down = false;
  const database = chaos(libsql({ client, clock: clock.now }), { down: () => down });
  const { fuse, ask } = mount({}, { stores: { database }, clock: clock.now });
  fuse.on("store_error", () => {});
  await fuse.make("payments").forceOpen({ reason: "drill" });
  down = true;
  await fuse.make("payments").snapshot();
  down = false;
  const text = textOf(await (await ask("?in=database&key=payments")).text());
  assert(!text.includes("what this isolate knows"), text);
  assertStringIncludes(text, "is forced_open until it is released: drill");
  client.close();
});

Deno.test("the page does not say that nothing is open when a store is missing", async () => {
  let down = false;
  const stores = { array: memory(), other: chaos(memory(), { down: () => down }) };
  const { fuse, ask } = mount({}, { stores, default: "other" });
  await trip(fuse, "payments");
  await fuse.store("array").make("calm").call(() => 1);
  await fuse.flush();
  const text = async (query: string) => textOf(await (await ask(query)).text());
  const calm = "Nothing here is open, half-open or overridden.";
  assertStringIncludes(await text("?store=array"), calm);
  down = true;
  const partly = await text("");
  assert(!partly.includes(calm), partly);
  assertStringIncludes(partly, "Nothing that has answered is open, half-open or overridden.");
  const missing = await text("?store=other");
  assert(!missing.includes("Nothing"), missing);
  assertStringIncludes(missing, "No store has answered with a circuit.");
});

Deno.test("the page says so when a store or a trail does not answer", async () => {
  const clock = new FakeClock();
  const client = createClient({ url: ":memory:" });
  await migrate(client);
  let fault: string | null = null;
  const database = chaos(libsql({ client, clock: clock.now }), {
    fail: (operation) => operation === fault ? new Error("AXsecret") : undefined,
    down: () => fault === "all",
  });
  const { fuse, ask } = mount({}, {
    stores: { database, array: memory() },
    default: "database",
    clock: clock.now,
  });
  await trip(fuse, "payments");
  await fuse.flush();
  const text = async () => textOf(await (await ask("?in=database&key=payments")).text());
  assertStringIncludes(await text(), "database answers in");
  fault = "history";
  assertStringIncludes(await text(), "The trail does not answer");
  clock.advance(60_000);
  fault = "all";
  const down = await text();
  assertStringIncludes(down, "database does not answer : its circuits may be missing here");
  assertStringIncludes(down, "The store does not answer: this is what this isolate knows.");
  assert(!down.includes("AX"));
  client.close();
});
