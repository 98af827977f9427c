// The page in a real Chromium, served by Deno and by workerd, over a real Redis.
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createFuse, type Fuse } from "@fuse/edge";
import { upstash } from "@fuse/edge/upstash";
import type { Browser, Page } from "playwright-core";
import { createApp } from "../../examples/operations/app.ts";
import { copy } from "../support/cached_project.ts";
import { CHROMIUM_MISSING, findChromium, openPage, startChromium } from "../support/chromium.ts";
import { SCALE } from "../support/scale.ts";
import { startRedis } from "../support/redis_server.ts";
import { startFace } from "../support/upstash_face.ts";
import { bundleWorkers, type WorkerdHost, workerdHost, workerProject } from "../support/workerd.ts";
import { root } from "../tools/gate/project.ts";

const chromium = await findChromium();
const options = { ignore: chromium === undefined };
const unless = SCALE === "full" && chromium === undefined ? CHROMIUM_MISSING : "";
const OPS = { OPS_USER: "grace", OPS_PASSWORD: "AXlongPassword" };
const EVIL = `<img src=x onerror="globalThis.hacked=1">`;

/** The scene of a test: a dashboard, and another isolate on the same store. */
interface Ground extends AsyncDisposable {
  /** The address of the app, with a slash at its end. */
  readonly url: string;
  /** A Fuse of this process on the store. */
  readonly fuse: Fuse;
  /** The answers of the dashboard so far, on Deno: `METHOD status`. */
  readonly answers: string[];
  /** Returns how the other isolate answers a payment: `fine`, or the breaker's error. */
  pay(): Promise<string>;
}

Deno.test({
  name: `the page lets an operator list, filter, act and release, on Deno${unless}`,
  ...options,
  fn: async () => {
    await using ground = await onDeno();
    await using browser = await startChromium(chromium);
    await operate(browser, ground);
  },
});

Deno.test({
  name: `the page lets an operator list, filter, act and release, on a Worker${unless}`,
  ...options,
  fn: async () => {
    const host = workerdHost();
    try {
      await using ground = await onWorkers(host);
      await using browser = await startChromium(chromium);
      await operate(browser, ground);
      await refuses(ground);
    } finally {
      await host.end();
    }
  },
});

Deno.test({
  name: `the page fits a phone, follows a dark color scheme, and lists without JavaScript${unless}`,
  ...options,
  fn: async () => {
    await using ground = await onDeno();
    await ground.fuse.make(EVIL).forceOpen({ reason: EVIL, actor: "x".repeat(1000) });
    for (const name of ["payments", "n".repeat(255)]) await ground.fuse.make(name).call(() => 1);
    await ground.fuse.flush();
    await using browser = await startChromium(chromium);
    const phone = { viewport: { width: 340, height: 700 }, ...signedIn() };
    const paper: string[] = [];
    for (const colorScheme of ["light", "dark"] as const) {
      const { page, problems } = await openPage(browser, { ...phone, colorScheme });
      await page.goto(`${ground.url}ops`);
      await page.getByRole("link", { name: EVIL }).click();
      await page.locator("#detail").waitFor();
      await page.locator("#act").click();
      await page.getByRole("dialog").waitFor();
      assertEquals(await overflow(page), 0);
      paper.push(await page.evaluate("getComputedStyle(document.body).backgroundColor"));
      assertEquals(problems, []);
      await page.context().close();
    }
    assert(paper[0] !== paper[1], paper.join());

    const { page } = await openPage(browser, { ...signedIn(), javaScriptEnabled: false });
    await page.goto(`${ground.url}ops/`);
    assertEquals(await page.locator("#list tbody tr").count(), 3);
    assertEquals(await page.getByText("has no actions").isVisible(), true);
    assertEquals(await page.locator("button.act:visible").count(), 0);
    await page.locator("[name=text]").fill("PAY");
    await page.getByRole("button", { name: "Filter" }).click();
    assertEquals(await page.locator("#list tbody tr").count(), 1);
    await page.getByRole("link", { name: "payments" }).click();
    assertStringIncludes(await page.locator("#explanation").innerText(), "is CLOSED");
    await page.context().close();
  },
});

Deno.test({
  name: `the page shows when it is out of date, and another site cannot act through it${unless}`,
  ...options,
  fn: async () => {
    await using ground = await onDeno();
    await ground.fuse.make("payments").call(() => 1);
    await ground.fuse.flush();
    await using browser = await startChromium(chromium);
    const { page } = await openPage(browser, signedIn());
    await page.goto(`${ground.url}ops`);
    await page.getByRole("link", { name: "payments" }).waitFor();
    const stale = page.locator("#stale");
    assertEquals(await stale.isVisible(), false);
    await page.route("**/ops", (route) => route.abort());
    await stale.waitFor({ state: "visible" });
    assertMatch(await stale.innerText(), /not up to date: it does not answer. Last refreshed at/);
    await page.unroute("**/ops");
    await page.route("**/ops", (route) => route.fulfill({ status: 401, body: "Unauthorized" }));
    await stale.filter({ hasText: "you are not signed in any more" }).waitFor();
    await page.unroute("**/ops");
    await stale.waitFor({ state: "hidden" });

    // A page of another origin, in the browser of an operator who is signed in.
    await using evil = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      () => new Response("<p>hello", { headers: { "content-type": "text/html" } }),
    );
    await page.goto(`http://127.0.0.1:${evil.addr.port}/`);
    const target = `${ground.url}ops/api/circuits/cache/payments/force-open`;
    ground.answers.length = 0;
    await page.evaluate((target) => {
      const body = JSON.stringify({ reason: "mischief" });
      return fetch(target, { method: "POST", mode: "no-cors", credentials: "include", body })
        .then(() => null, () => null);
    }, target);
    assertEquals(ground.answers, ["POST 403"]);
    assertEquals((await ground.fuse.make("payments").snapshot()).override, null);
    await page.context().close();
  },
});

Deno.test({
  name: `the page refreshes and acts when its address contains the credentials${unless}`,
  ...options,
  fn: async () => {
    await using ground = await onDeno();
    await ground.fuse.make("payments").call(() => 1);
    await ground.fuse.flush();
    await using browser = await startChromium(chromium);
    const { page, problems } = await openPage(browser, {});
    const address = new URL(`${ground.url}ops`);
    [address.username, address.password] = [OPS.OPS_USER, OPS.OPS_PASSWORD];
    await page.goto(address.href);
    await ground.fuse.make("orders").call(() => 1);
    await ground.fuse.flush();
    await waitForCount(page, 2);
    await act(page, `row:["cache","payments"]`);
    await page.getByRole("radio", { name: "Reset" }).check();
    await page.locator("[name=reason]").fill("drill");
    await page.getByRole("button", { name: "Reset" }).click();
    await page.getByRole("dialog").waitFor({ state: "hidden" });
    assertEquals(problems, []);
    await page.context().close();
  },
});

/** Plays an operator at night, by keyboard. */
async function operate(browser: Browser, { url, fuse, pay }: Ground): Promise<void> {
  for (const name of ["payments", "orders", EVIL]) await fuse.make(name).call(() => 1);
  const { key } = fuse.for({ type: "tenant", id: "acme" }).make("payments");
  await fuse.circuit({ store: "cache", key }).call(() => 1);
  await fuse.flush();
  assertEquals(await pay(), "fine");

  const { page, problems } = await openPage(browser, signedIn());
  const response = await page.goto(`${url}ops`);
  assertEquals(response?.status(), 200);
  const rows = page.locator("#list tbody tr");
  assertEquals(await rows.count(), 4);
  assertStringIncludes(await page.locator("#stores").innerText(), "cache answers in");
  await page.getByText("Nothing here is open, half-open or overridden.").waitFor();

  // Hostile names stay text.
  await page.getByRole("link", { name: EVIL, exact: true }).click();
  await page.getByRole("heading", { name: EVIL, exact: true }).waitFor();
  assertEquals(await page.evaluate("globalThis.hacked"), undefined);
  await page.getByRole("link", { name: "Close the details" }).click();
  await page.locator("#detail").waitFor({ state: "detached" });

  // Filter.
  await page.locator("[name=text]").fill("pay");
  await page.keyboard.press("Enter");
  await waitForCount(page, 2);
  await page.locator("[name=context]").fill("tenant:acme");
  await page.keyboard.press("Enter");
  await waitForCount(page, 1);
  assertMatch(page.url(), /\?text=pay&context=tenant%3Aacme$/);
  await page.locator("[name=context]").fill("acme");
  await page.keyboard.press("Enter");
  await page.getByText('"context" must be "type:id"').waitFor();
  await page.goBack();
  await page.goBack();
  await waitForCount(page, 2);
  await page.getByRole("link", { name: "Clear" }).click();
  await waitForCount(page, 4);

  // Force open, without a mouse.
  await act(page, `row:["cache","payments"]`);
  await page.getByRole("radio", { name: "Force open" }).focus();
  await page.keyboard.press("Space");
  await page.locator("[name=reason]").focus();
  await page.keyboard.type("the provider is");
  // A refresh meanwhile does not change the dialog.
  await trip(fuse, "orders");
  await page.locator("#urgent").getByText("Error").waitFor();
  assertEquals(await page.locator("[name=reason]").inputValue(), "the provider is");
  await page.keyboard.type(" down");
  assertEquals(await pay(), "fine");
  // An end is required.
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  assertEquals(await page.getByRole("dialog").isVisible(), true);
  await page.locator("[name=end]").selectOption("in … minutes");
  await page.locator("[name=minutes]").fill("60");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  const said = page.locator("#said");
  await said.filter({ hasText: "is forced_open until" }).waitFor();
  assertStringIncludes(await said.innerText(), "by grace: the provider is down");
  const row = page.locator(`[id='row:["cache","payments"]']`);
  await row.getByText("Forced open").waitFor();
  assertMatch(await row.innerText(), /“the provider is down”,?\s*by grace,?\s*ends in \d+ min/);
  assertMatch(await page.title(), /^\(2 open\) /);
  const { override } = await fuse.make("payments").snapshot();
  assertEquals([override?.kind, override?.actor], ["forced_open", "grace"]);
  assert(Math.abs(override!.until!.getTime() - Date.now() - 3_600_000) < 600_000);

  // The other isolate rejects.
  assertEquals(await pay(), "rejected");

  // Release is the proposed action.
  await act(page, `row:["cache","payments"]`);
  assertEquals(await page.getByRole("radio", { name: "Release" }).isChecked(), true);
  await page.locator("[name=reason]").fill("it is back");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  await row.getByText("Closed", { exact: true }).waitFor();
  assertEquals(await pay(), "fine");

  // "No end" must be chosen explicitly.
  await act(page, `row:["cache","payments"]`);
  await page.getByRole("radio", { name: "Disable" }).check();
  await page.locator("[name=reason]").fill("drill");
  await page.getByRole("button", { name: "Disable" }).click();
  assertEquals(await page.getByRole("dialog").isVisible(), true);
  assertEquals((await fuse.make("payments").snapshot()).override, null);
  await page.locator("[name=end]").selectOption({ value: "none" });
  await page.getByRole("button", { name: "Disable" }).click();
  await row.getByText("no end").waitFor();

  // The Content-Security-Policy refused nothing, and nothing was thrown; one filter was invalid.
  assertEquals(problems.filter((problem) => !problem.includes("status of 400")), []);

  const wall = await openPage(browser, { extraHTTPHeaders: { "x-office": "yes" } });
  await wall.page.goto(`${url}wall`);
  await wall.page.getByText("read-only").waitFor();
  assertEquals(await wall.page.locator("button.act, dialog").count(), 0);
  assertEquals(wall.problems, []);
  await wall.page.context().close();
  await page.context().close();
}

/** Opens the dialog for a row, by keyboard. */
async function act(page: Page, row: string): Promise<void> {
  await page.locator(`[id='${row}'] button`).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
}

async function waitForCount(page: Page, count: number): Promise<void> {
  // Passes a function: the page's policy forbids evaluating text.
  await page.waitForFunction((count) => {
    const { document } = globalThis as unknown as {
      document: { querySelectorAll(selector: string): ArrayLike<unknown> };
    };
    return document.querySelectorAll("#list tbody tr").length === count;
  }, count);
}

/** Returns by how many pixels the page is wider than the screen. */
function overflow(page: Page): Promise<number> {
  return page.evaluate(
    "document.documentElement.scrollWidth - document.documentElement.clientWidth",
  );
}

/** The API refuses on a Worker as it does elsewhere. */
async function refuses({ url }: Ground): Promise<void> {
  const path = "api/circuits/cache/payments/force-open";
  const authorization = `Basic ${btoa(`${OPS.OPS_USER}:${OPS.OPS_PASSWORD}`)}`;
  const own = { "sec-fetch-site": "same-origin" };
  const order = JSON.stringify({ reason: "r", forMs: 1000 });
  for (
    const [status, mount, headers, body] of [
      [401, "ops", own, order],
      [403, "ops", { authorization, origin: "https://evil.example" }, order],
      [403, "ops", { authorization }, order],
      [400, "ops", { authorization, ...own }, "{}"],
      [400, "ops", { authorization, ...own }, `{"reason":"r","forMs":0}`],
      [405, "wall", { "x-office": "yes", ...own }, order],
      [200, "ops", { authorization, ...own }, order],
      [200, "ops", { authorization, origin: new URL(url).origin }, order],
    ] as const
  ) {
    const response = await fetch(`${url}${mount}/${path}`, { method: "POST", headers, body });
    await response.body?.cancel();
    assertEquals(response.status, status, JSON.stringify(headers));
  }
}

function signedIn() {
  return { httpCredentials: { username: OPS.OPS_USER, password: OPS.OPS_PASSWORD } };
}

async function trip(fuse: Fuse, name: string): Promise<void> {
  for (let i = 0; i < 5; i++) {
    await fuse.make(name).tryCall(() => Promise.reject(new Error("down")));
  }
  await fuse.flush();
}

/**
 * Starts the parts that all test grounds have: a Redis, a payment provider, and a Fuse of this
 * process.
 */
async function common(stack: AsyncDisposableStack) {
  const face = stack.use(await startFace({ redis: stack.use(await startRedis()) }));
  const provider = stack.use(
    Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => new Response("fine")),
  );
  const here = () =>
    createFuse({
      stores: { cache: upstash({ url: face.url, token: face.token }) },
      // A long timeout, so that a busy machine is not mistaken for an outage of the store.
      storeTimeoutMs: 30_000,
    });
  return { face, here, settings: { PROVIDER: `http://127.0.0.1:${provider.addr.port}/`, ...OPS } };
}

async function onDeno(): Promise<Ground> {
  await using stack = new AsyncDisposableStack();
  const { here, settings } = await common(stack);
  const [fuse, shown] = [stack.use(here()), stack.use(here())];
  const app = createApp(shown, () => settings);
  const answers: string[] = [];
  const server = stack.use(
    Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
      const response = await app.fetch(request);
      answers.push(`${request.method} ${response.status}`);
      return response;
    }),
  );
  const rest = stack.move();
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    ...{ fuse, answers },
    async pay() {
      await fuse.make("payments").snapshot();
      const result = await fuse.make("payments").tryCall(() => "fine");
      return result.ok ? result.value : "rejected";
    },
    [Symbol.asyncDispose]: () => rest.disposeAsync(),
  };
}

async function onWorkers(host: WorkerdHost): Promise<Ground> {
  await using stack = new AsyncDisposableStack();
  const { face, here, settings } = await common(stack);
  const code = await bundle();
  const bindings = {
    ...settings,
    UPSTASH_REDIS_REST_URL: face.url,
    UPSTASH_REDIS_REST_TOKEN: face.token,
    STORE_TIMEOUT_MS: "30000",
  };
  const workerd = stack.use(await host.start([{ code, bindings }, { code, bindings }]));
  const fuse = stack.use(here());
  const [one, other] = workerd.isolates;
  const authorization = `Basic ${btoa(`${OPS.OPS_USER}:${OPS.OPS_PASSWORD}`)}`;
  const rest = stack.move();
  return {
    url: one!.url,
    ...{ fuse, answers: [] },
    async pay() {
      // The isolate learns the store's state with its next answer: this call asks for one.
      const headers = { authorization };
      const look = await other!.fetch("/ops/api/circuits/cache/payments", { headers });
      await look.body?.cancel();
      const response = await other!.fetch("/pay");
      const text = await response.text();
      return response.status === 503 ? "rejected" : text;
    },
    [Symbol.asyncDispose]: () => rest.disposeAsync(),
  };
}

/** Bundles the Worker of the example. */
async function bundle(): Promise<string> {
  await using project = await workerProject();
  const folder = new URL("examples/operations/", root).pathname;
  await copy(folder, `${project.folder}/operations`);
  const bundles = await bundleWorkers(project, ["operations/worker.ts"], true);
  const { code, imports } = bundles["operations/worker.ts"]!;
  assertEquals(imports, []);
  return code;
}
