import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { runCli } from "@fuse/edge/cli";
import { cli } from "./process.ts";

/** Runs a command in this process, without variables. */
async function run(args: readonly string[], env: object = {}) {
  let [stdout, stderr] = ["", ""];
  const code = await runCli(args, {
    env,
    stdout: (text) => stdout += text,
    stderr: (text) => stderr += text,
  });
  return { code, stdout, stderr };
}

const CASES: readonly (readonly [title: string, args: string, says: string])[] = [
  ["close, which names both", "close payments --reason r", "force-close keeps it closed"],
  ["a slip", "opne payments --reason r", "(Did you mean open?)"],
  ["a slip in an option", "status --jsno", "(Did you mean --json?)"],
  ["an argument too many", "status now", "too many arguments"],
  ["no name", "show", "missing required argument 'name'"],
  ["no reason", "force-open payments", "A reason is required"],
  ["an empty reason", "reset payments --reason=", "A reason is required"],
  ["disable without an end", "disable payments --reason r", "say until when"],
  ["force-close without an end", "force-close payments --reason r", "say until when"],
  ["two ends", "force-open p --reason r --for 1m --no-end", "exclude each other"],
  ["an end in the past", "disable p --reason r --until 2001-01-01T00:00:00Z", "in the past"],
  ["an end without a time zone", "disable p --reason r --until 2101-01-01T00:00", "time zone"],
  ["a day that there is not", "disable p --reason r --until 2101-02-30T00:00:00Z", "in ISO 8601"],
  ["the memory of this process", "open p --reason r --create --store array", "of this process"],
  ["a duration without a unit", "disable p --reason r --for 10", "such as 90s, 10m"],
  ["no duration", "disable p --reason r --for 0m", "such as 90s, 10m"],
  ["a scope without an id", "show p --context tenant", "TYPE:ID"],
  ["a state that there is not", "status --state ajar", "one of CLOSED, OPEN, HALF_OPEN"],
  ["a limit that is no number", "history --limit all", "an integer"],
  ["prune without an age", "prune", "--older-than"],
  ["no store", "status", "No store to look at"],
  ["an end for a release", "release p --reason r --for 1m", "unknown option '--for'"],
  ["--api and --config", "status --api http://localhost --config x.ts", "exclude each other"],
  ["--header alone", "status --header a:b", "--header goes with --api"],
  ["--api for the trail", "tail --api http://localhost", "needs the store itself"],
  ["--actor and --api", "open p --reason r --actor a --api http://localhost", "knows who you are"],
  [
    "credentials in an address",
    "status --api http://user:hunter2@localhost",
    "without credentials",
  ],
  ["a header that is none", "status --api http://localhost --header hunter2", '"name: value"'],
  ["a module that is not there", "status --config /nowhere/fuse.ts", "fuse.ts"],
];

for (const [title, args, says] of CASES) {
  Deno.test(`runCli() refuses ${title}`, async () => {
    const { code, stdout, stderr } = await run(args.split(" "));
    assertEquals([code, stdout], [1, ""], stderr);
    assertStringIncludes(stderr, says);
    assert(!stderr.includes("hunter2"), stderr);
  });
}

Deno.test("runCli() refuses the variables that fuseFromEnv() refuses", async () => {
  const { code, stderr } = await run(["status"], { FUSE_STOER: "cache" });
  assertEquals(code, 1);
  assertStringIncludes(stderr, "FUSE_STOER");
});

Deno.test("the command line writes errors to stderr and exits with 1", async () => {
  const { code, stdout, stderr } = await cli({}, "opne", "payments");
  assertEquals([code, stdout], [1, ""]);
  assertStringIncludes(stderr, "(Did you mean open?)");
});

Deno.test("the command line prints its help, without the command close", async () => {
  const { code, stdout } = await cli({}, "--help");
  assertEquals(code, 0);
  assertStringIncludes(stdout, "force-open|open");
  assert(!/^ +close/m.test(stdout));
});
