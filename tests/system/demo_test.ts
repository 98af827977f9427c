import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { kill } from "node:process";
import { codeOf, readPages, sectionOf } from "../tools/pages/pages.ts";
import { IN_FULL, scaled } from "../support/scale.ts";
import { lines } from "../../examples/demo/lines.ts";
import type { Ending } from "../../examples/demo/load.ts";
import { normalAfterMs, report } from "../../examples/demo/report.ts";

/** The duration of each of two passes, in real seconds; 8 is the least. */
const SECONDS = scaled(8, 10);

Deno.test("the demo shows the effect of the breaker, ends by itself and leaves nothing running", async () => {
  const { code, stdout, stderr } = await demo("--seconds", `${SECONDS}`).output();
  const output = text(stdout);
  assertEquals(text(stderr), "");
  assertEquals(code, 0);

  const requests = row(output, "requests");
  const fresh = row(output, "  answered fresh");
  const stale = row(output, "  answered stale");
  const errors = row(output, "  errors");
  assertEquals(requests, { without: 50 * SECONDS, with: 50 * SECONDS });
  assertEquals(fresh.without + stale.without + errors.without, 50 * SECONDS);
  assertEquals(fresh.with + stale.with + errors.with, 50 * SECONDS);
  assert(fresh.with > fresh.without, output);
  assert(stale.without > 0 && stale.with > 0, output);
  assertMatch(output, /p50 latency +\d+ ms +\d+ ms\np99 latency +\d+ ms +\d+ ms\n/);

  const sent = row(output, "sent to the dead upstream");
  const during = row(output, "  during its fault");
  const after = row(output, "  after it, until normal service");
  assertEquals(sent.without, during.without + after.without);
  assertEquals(sent.with, during.with + after.with);
  assert(sent.with < sent.without, output);
  const inVain = row(output, "jobs done for nobody");
  assert(inVain.with < inVain.without, output);
  assertMatch(output, /normal service after the fault +not within the run +\d+\.\d s\n/);

  for (const phase of ["healthy", "slow", "mended"]) {
    assertEquals(output.match(RegExp(`s  upstream ${phase}: `, "g"))?.length, 2, phase);
  }
  assertMatch(output, /circuit OPEN: .+; retry in \d+\.\d s/);
  assertMatch(output, /circuit HALF_OPEN: /);
  assertMatch(output, /circuit CLOSED: /);
  assertGone(output);
});

Deno.test("normalAfterMs() returns the first second in which 95 % were answered fresh", () => {
  const pass = (endings: Ending[]) => ({
    samples: endings.map((ending, i) => ({ ending, dueAt: i * 50, latencyMs: 0 })),
    traffic: { sentAt: [], doneForNobody: 0 },
    faultBeganAt: 0,
    faultEndedAt: 200,
  });
  const many = (count: number, ending: Ending) => Array<Ending>(count).fill(ending);

  // Twenty requests a second, the fault ends with the fifth: one of twenty may be stale.
  const recovered = [...many(10, "stale"), ...many(9, "fresh"), "stale", ...many(21, "fresh")];
  assertEquals(normalAfterMs(pass(recovered as Ending[])), 300);
  assertEquals(normalAfterMs(pass(many(41, "fresh"))), 0);
  assertEquals(normalAfterMs(pass(many(41, "stale"))), undefined);
  const flapping = many(41, "fresh").map((ending, i) => i % 10 === 0 ? "error" : ending);
  assertEquals(normalAfterMs(pass(flapping)), undefined);
  const tooLate = [...many(30, "error"), ...many(20, "fresh")];
  assertEquals(normalAfterMs(pass(tooLate)), undefined);
});

Deno.test("the demo's page quotes the table that the demo prints", () => {
  const pass = {
    samples: [],
    traffic: { sentAt: [], doneForNobody: 0 },
    faultBeganAt: 0,
    faultEndedAt: 0,
  };
  const labels = (table: string) => table.split("\n").map((line) => line.slice(0, 38).trimEnd());
  const printed = labels(report(pass, pass));
  const quoted = labels(codeOf(sectionOf(readPages(), "The table").text, "text")[0]!.trimEnd());
  assertEquals(quoted, printed.slice(0, quoted.length));
  assertEquals(quoted.filter((label) => /^-+$/.test(label)).length, 3); // the whole table
});

// Two more passes, in real time.
Deno.test({ name: "demo --serve runs until it is interrupted", ...IN_FULL }, async () => {
  await using process = demo("--serve", "--seconds", "8").spawn();
  let output = "";
  let circuit: { name: string } | undefined;
  let page = "";
  for await (const line of lines(process.stdout)) {
    output += `${line}\n`;
    if (circuit || !/^The traffic goes on: [^]+ s +[1-9]\d* fresh/m.test(output)) continue;
    const [, url = ""] = output.match(/curl (\S+\/state)/) ?? [];
    circuit = await (await fetch(url)).json();
    const [, ops = "", password] =
      output.match(/(http\S+\/ops) {2}\(user operator, password (\S+)\)/) ?? [];
    const stranger = await fetch(ops);
    await stranger.body?.cancel();
    assertEquals(stranger.status, 401);
    const authorization = `Basic ${btoa(`operator:${password}`)}`;
    page = await (await fetch(ops, { headers: { authorization } })).text();
    process.kill("SIGINT");
  }
  assertEquals(circuit?.name, "upstream");
  assertStringIncludes(page, ">upstream</a>");
  assertEquals(await new Response(process.stderr).text(), "");
  assertEquals((await process.status).code, 0);
  assertGone(output);
});

Deno.test("the demo refuses an invalid command line", async () => {
  for (const args of [["--sreve"], ["--seconds", "soon"], ["now"]]) {
    const { code, stderr } = await demo(...args).output();
    assertEquals(code, 2);
    assertStringIncludes(text(stderr), args.at(-1)!);
    assertStringIncludes(text(stderr), "Usage: deno task demo");
  }
});

function demo(...args: string[]): Deno.Command {
  const program = new URL("../../examples/demo/main.ts", import.meta.url).href;
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", program, ...args],
    env: { NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  });
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** A row of the table. */
function row(output: string, label: string): { without: number; with: number } {
  const found = output.match(RegExp(`^${label} +(\\d+) +(\\d+)$`, "m"));
  assert(found, `no row "${label}" in\n${output}`);
  return { without: Number(found?.[1]), with: Number(found?.[2]) };
}

/** The upstream's process has ended with the demo. */
function assertGone(output: string): void {
  const pid = Number(output.match(/\(process (\d+)\)/)?.[1]);
  assert(pid > 0);
  assertThrows(() => kill(pid, 0), Error, "ESRCH");
}
