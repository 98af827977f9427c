/**
 * `deno task dashboard:picture`: takes the dashboard's picture for its page. With a folder as its
 * argument, it takes further ones there: dark, on a phone, and with the dialog.
 *
 * @module
 */
import { dashboard } from "@fuse/edge/dashboard";
import { Hono } from "hono";
import type { BrowserContextOptions, Page } from "playwright-core";
import { playScene } from "../../dashboard/scene.ts";
import { openPage, startChromium } from "../../support/chromium.ts";
import { root } from "../gate/project.ts";

const TARGET = new URL("src/dashboard/dashboard.png", root).pathname;
const PAYMENTS = `?in=database&key=${encodeURIComponent("payments:for:tenant:acme")}`;

if (import.meta.main) {
  using scene = await playScene(Date.now());
  const app = new Hono().route(
    "/ops",
    dashboard({ fuse: scene.fuse, auth: (_c, next) => next(), title: "Circuits of the shop" }),
  );
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, app.fetch);
  const url = `http://127.0.0.1:${server.addr.port}/ops${PAYMENTS}`;
  await using browser = await startChromium(undefined);

  const take = async (
    path: string,
    options: BrowserContextOptions,
    at = url,
    act = (_page: Page): Promise<unknown> => Promise.resolve(),
  ) => {
    const { page } = await openPage(browser, options);
    await page.goto(at);
    await act(page);
    await page.screenshot({ path });
    await page.context().close();
  };
  const wide = { viewport: { width: 1360, height: 860 } };
  await take(TARGET, wide);
  const [folder] = Deno.args;
  if (folder !== undefined) {
    const phone = { viewport: { width: 390, height: 844 } };
    const list = url.slice(0, url.indexOf("?"));
    await take(`${folder}/dark.png`, { ...wide, colorScheme: "dark" });
    await take(`${folder}/list.png`, wide, list);
    await take(`${folder}/phone.png`, phone, list);
    await take(`${folder}/phone-detail.png`, { ...phone, colorScheme: "dark" });
    await take(`${folder}/dialog.png`, wide, url, async (page) => {
      await page.locator("#act").click();
      await page.getByRole("radio", { name: "Disable" }).check();
    });
    await take(`${folder}/phone-dialog.png`, phone, url, (page) => page.locator("#act").click());
    await take(`${folder}/plain.png`, { ...wide, javaScriptEnabled: false });
  }
}
