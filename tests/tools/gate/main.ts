/**
 * The whole gate: `deno task ok`. Every step runs, also after a failure; the output of a failed
 * step is shown. The last line counts the tests and the steps.
 *
 * CI runs the tests itself, by the README's command, and passes their exit code: `gate.ts
 * --tests-exited=0` reads their report in `.coverage/` and runs the rest.
 *
 * The allowed imports of entry points are among the tests: `tests/system/boundary_test.ts`.
 */
import { deno, DRIZZLE_KIT, readConfig, root } from "./project.ts";
import { docTestedPages } from "../pages/pages.ts";
import { type Counted, countTests, coverageProblems, docProblems } from "./reports.ts";
import { startRedis } from "../../support/redis_server.ts";
import { startFace } from "../../support/upstash_face.ts";

const REPORTS = ".coverage";
const MINIMUM_COVERAGE = 95;

interface Result {
  readonly ok: boolean;
  /** Shown when the step failed. */
  readonly output?: string;
  /** The number of its tests; a step without tests counts as one. */
  readonly counted?: Counted;
}

interface Step {
  readonly name: string;
  run(): Promise<Result>;
}

const entryPoints = Object.values(readConfig().exports);

const steps: readonly Step[] = [
  command("format", "fmt", "--check"),
  command("lint", "lint"),
  command("types", "check", "--quiet", "--frozen", "."),
  { name: "doc lint", run: lintDocs },
  command("publish, dry run", "publish", "--dry-run", "--allow-dirty"),
  command("migrations", "run", "-A", DRIZZLE_KIT, "check"),
  { name: "tests", run: () => runTests(Deno.args) },
  { name: "doc tests", run: runDocTests },
  { name: `coverage ≥ ${MINIMUM_COVERAGE} %`, run: checkCoverage },
];

Deno.exit(await runAll(steps) ? 0 : 1);

async function runAll(steps: readonly Step[]): Promise<boolean> {
  const summary: string[] = [];
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const { name, run } of steps) {
    console.log(`\n· ${name}`);
    const began = performance.now();
    const { ok, output, counted } = await run().catch((error): Result => ({
      ok: false,
      output: Deno.inspect(error),
    }));
    if (!ok && output) console.log(output.trimEnd());
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    summary.push(`${ok ? "  ok    " : "  FAILED"}  ${name.padEnd(18)} ${seconds.padStart(6)} s`);

    total.passed += counted?.passed ?? (ok ? 1 : 0);
    total.skipped += counted?.skipped ?? 0;
    total.failed += counted?.failed ?? 0;
    // A step that failed without a failing test, for example with a type error, counts as one.
    if (!ok && !counted?.failed) total.failed += 1;
  }
  console.log(`\n${summary.join("\n")}\n`);
  const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : "";
  console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);
  return total.failed === 0;
}

function command(name: string, ...args: string[]): Step {
  return {
    name,
    run: async () => {
      const { ok, stdout, stderr } = await deno(args);
      return { ok, output: stdout + stderr };
    },
  };
}

/** All together, as JSR documents them: a type that one exports need not be exported by the others. */
async function lintDocs(): Promise<Result> {
  const { ok, stdout, stderr } = await deno(["doc", "--lint", ...entryPoints]);
  const problems = ok ? [] : docProblems(stdout + stderr);
  return { ok: problems.length === 0, output: problems.join("\n") };
}

async function runTests(args: readonly string[]): Promise<Result> {
  const report = `${REPORTS}/tests.xml`;
  const exited = args.find((arg) => arg.startsWith("--tests-exited="))?.split("=")[1];
  if (exited !== undefined) return { ok: exited === "0", counted: countTests(report) };

  await Deno.remove(new URL(REPORTS, root), { recursive: true }).catch(() => {});
  const { ok, stderr } = await deno(
    // As `deno task test` runs them.
    ["task", "test", `--coverage=${REPORTS}`, "--coverage-raw-data-only", `--junit-path=${report}`],
    // In full, as CI runs them.
    { show: true, deadlineMs: 900_000, env: { TEST_SCALE: "full" } },
  );
  return { ok, output: stderr, counted: countTests(report) };
}

async function runDocTests(): Promise<Result> {
  const report = `${REPORTS}/doc_tests.xml`;
  // A path that is named twice, for example a page in `src`, runs once.
  const documented = [...entryPoints, "src", "drivers", "migrations", ...docTestedPages()];
  // The variables that a reader has from Upstash, for the blocks.
  await using redis = await startRedis();
  await using face = await startFace({ redis });
  const { ok, stdout, stderr } = await deno(
    [
      "test",
      "-A",
      "--parallel",
      "--doc",
      "--quiet",
      "--reporter=dot",
      `--junit-path=${report}`,
      ...documented,
    ],
    {
      env: {
        UPSTASH_REDIS_REST_URL: face.url,
        UPSTASH_REDIS_REST_TOKEN: face.token,
        REDIS_URL: redis.url,
      },
    },
  );
  return { ok, output: stdout + stderr, counted: countTests(report) };
}

async function checkCoverage(): Promise<Result> {
  // A test that kills its process may leave half a report, at which `deno coverage` stops.
  for await (const { name } of Deno.readDir(REPORTS)) {
    const path = `${REPORTS}/${name}`;
    if (name.endsWith(".json") && !isJson(await Deno.readTextFile(path))) await Deno.remove(path);
  }
  const { ok, stdout, stderr } = await deno(["coverage", "--lcov", REPORTS]);
  if (!ok) return { ok, output: stderr };
  const problems = coverageProblems(stdout, ["src", "drivers", "migrations"], MINIMUM_COVERAGE);
  return { ok: problems.length === 0, output: problems.join("\n") };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
