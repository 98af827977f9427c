/**
 * Debian's Chromium, driven by Playwright.
 *
 * @module
 */
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { findOrInstall, type Program } from "./debian.ts";
import { SCALE } from "./scale.ts";

const CHROMIUM: Program = {
  title: "Chromium",
  names: ["chromium", "chromium-browser", "google-chrome"],
  package: "chromium",
  advice: "install it with `sudo apt-get install chromium` on Debian",
};

/** Appended to the name of a test that is ignored because there is no Chromium. */
export const CHROMIUM_MISSING =
  ' (NOT CHECKED: no "chromium" here, install the package "chromium" of Debian)';

/** Finds Chromium. A full run installs it. Returns `undefined` if it is not available. */
export async function findChromium(): Promise<string | undefined> {
  if (SCALE !== "full") return undefined;
  try {
    return await findOrInstall(CHROMIUM);
  } catch (error) {
    console.warn(`${(error as Error).message}`);
    return undefined;
  }
}

/** Starts the browser. */
export async function startChromium(
  path: string | undefined,
): Promise<Browser & AsyncDisposable> {
  const browser = await chromium.launch({
    executablePath: path ?? await findOrInstall(CHROMIUM),
    // Containers run as root, and have little shared memory.
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
  });
  return Object.assign(browser, { [Symbol.asyncDispose]: () => browser.close() });
}

/** A page that notes the errors in its console, such as refusals by the Content-Security-Policy. */
export async function openPage(
  browser: Browser,
  options: BrowserContextOptions = {},
): Promise<{ page: Page; problems: string[] }> {
  const context = await browser.newContext(options);
  // A long timeout: a busy machine is no fault.
  context.setDefaultTimeout(30_000);
  const page = await context.newPage();
  const problems: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(String(error)));
  return { page, problems };
}
