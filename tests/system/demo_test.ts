import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { kill } from "node:process";
import { IN_FULL, scaled } from "../support/scale.ts";
import { lines } from "../../examples/demo/lines.ts";

/** For each of two passes, in real time; 4 is the least. */
const SECONDS = scaled(4, 5);

Deno.test("demo shows what the breaker changes, ends by itself and leaves nothing running", async () => {
  const { code, stdout, stderr } = await demo("--seconds", `${SECONDS}`).output();
  const output = text(stdout);
  assertEquals(text(stderr), "");
  assertEquals(code, 0);

  const requests = row(output, "requests");
  const answered = row(output, "  answered");
  const rejected = row(output, "  rejected");
  const failed = row(output, "  failed");
  assertEquals(requests, { without: 50 * SECONDS, with: 50 * SECONDS });
  assertEquals(answered.without + rejected.without + failed.without, 50 * SECONDS);
  assertEquals(answered.with + rejected.with + failed.with, 50 * SECONDS);
  assertEquals(rejected.without, 0);
  assert(rejected.with > 0);
  const sent = row(output, "sent to the dead upstream");
  assert(sent.with < sent.without, `sent ${sent.with} with Fuse, ${sent.without} without`);
  assertMatch(output, /p50 latency +\d+ ms +\d+ ms\np99 latency +\d+ ms +\d+ ms\n/);

  for (const phase of ["healthy", "slow", "unavailable", "refusing", "resetting", "recovered"]) {
    assertEquals(output.match(RegExp(`s  upstream ${phase}$`, "gm"))?.length, 2, phase);
  }
  assertMatch(output, /circuit OPEN: .+; retry in \d+\.\d s/);
  assertMatch(output, /circuit HALF_OPEN: /);
  assertMatch(output, /circuit CLOSED: /);
  assertGone(output);
});

// Another two passes, in real time.
Deno.test({ name: "demo --serve stays up until it is interrupted", ...IN_FULL }, async () => {
  await using process = demo("--serve", "--seconds", "4").spawn();
  let output = "";
  for await (const line of lines(process.stdout)) {
    output += `${line}\n`;
    const url = line.match(/curl (\S+\/state)/)?.[1];
    if (!url || !output.includes("p99 latency")) continue; // said at the start, too
    const circuit = await (await fetch(url)).json();
    assertEquals(circuit.name, "upstream");
    process.kill("SIGINT");
  }
  assertEquals(await new Response(process.stderr).text(), "");
  assertEquals((await process.status).code, 0);
  assertGone(output);
});

Deno.test("demo refuses a command line that it does not understand", async () => {
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
