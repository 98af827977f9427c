/**
 * `deno task soak [--seconds 60] [--driver memory|upstash|libsql|tiered …] [--seed N] [--pace 6]`:
 * runs each driver under load, with faults on and off, observes its memory and closes its books.
 *
 * Time runs `--pace` times as fast as the machine's, so that a minute is enough for ids to be
 * forgotten, tallies given up and cooldowns to grow; at 1 the stores use their servers' clocks.
 * Each driver runs in a process of its own. Exits with 1 if anything was lost or counted twice, a
 * trail disagrees, or memory grew.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { render } from "../../tools/bench/table.ts";
import { GROUNDS, type Weather } from "./grounds.ts";
import { phasesTable, stands, trendOf, verdictTable } from "./report.ts";
import { memory, soak, type Time } from "./soak.ts";

const WEEK: readonly Weather[] = ["calm", "chaos", "wire", "dead", "calm", "wire", "chaos", "calm"];
const LONGEST_PHASE_S = 15;
/** Samples of memory over a run. */
const SAMPLES = 48;

const { values } = parseArgs({
  args: Deno.args,
  options: {
    seconds: { type: "string", default: "60" },
    driver: { type: "string", multiple: true, default: [""] },
    seed: { type: "string" },
    pace: { type: "string", default: "6" },
  },
});
const seconds = positive("seconds", values.seconds);
const pace = positive("pace", values.pace);
const seed = values.seed === undefined
  ? crypto.getRandomValues(new Uint32Array(1))[0]!
  : Number(values.seed);
if (!Number.isSafeInteger(seed)) refuse(`"--seed" must be an integer, received ${values.seed}`);
const drivers = values.driver.flatMap((name) => {
  const meant = Object.keys(GROUNDS).filter((driver) => driver.startsWith(name));
  const all = Object.keys(GROUNDS).join(", ");
  if (meant.length === 0) refuse(`"--driver" must begin one of ${all}, received ${name}`);
  return meant;
});
Deno.exit(drivers.length === 1 ? await here(drivers[0]!) : await apart(drivers));

async function here(driver: string): Promise<number> {
  console.log(`${driver}: seed ${seed}, ${seconds} s, time ${pace} times as fast`);
  const phases = phasesOf(seconds);
  const starts: number[] = [];
  const samples: number[] = [];
  const result = await soak({
    ...{ driver, seed, phases, time: fast(), isolates: 4, callers: 10, storeTimeoutMs: 1_500 },
    ...{ slow: true, attempts: 150 },
    // Each driver has its full time, however long the previous one took to end.
    going: (phase) =>
      performance.now() - (starts[phase] ??= performance.now()) < seconds * 1000 / phases.length,
    watch: () => sampling(samples),
  });
  const trend = trendOf(samples);
  console.log(render(phasesTable(result)));
  console.log(render(verdictTable(result, trend)));
  return stands(result, trend) ? 0 : 1;
}

/** Runs all drivers, also after a failure. */
async function apart(drivers: readonly string[]): Promise<number> {
  let worst = 0;
  for (const driver of drivers) {
    const { code } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--v8-flags=--expose-gc", import.meta.filename!, "--driver", driver],
        ...["--seconds", `${seconds}`, "--seed", `${seed}`, "--pace", `${pace}`],
      ],
    }).spawn().status;
    worst = Math.max(worst, code);
  }
  return worst;
}

/** The phases in turn, with a calm beginning and end. */
function phasesOf(seconds: number): Weather[] {
  const weeks = Math.max(1, Math.round(seconds / (WEEK.length * LONGEST_PHASE_S)));
  return Array.from({ length: weeks }, () => WEEK).flat();
}

function fast(): Time {
  const origin = Date.now();
  return {
    clock: pace === 1 ? Date.now : () => Math.floor(origin + (Date.now() - origin) * pace),
    injected: pace !== 1,
    rest: (random) => pause(random() * 30),
    wait: () => pause(150),
  };
}

/** Samples memory. Returns a function that stops it. */
function sampling(samples: number[]): () => void {
  const timer = setInterval(
    async () => samples.push((await memory()).held),
    seconds * 1000 / SAMPLES,
  );
  return () => clearInterval(timer);
}

function pause(ms: number): Promise<unknown> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function positive(option: string, value: string): number {
  const number = Number(value);
  if (!(number > 0)) refuse(`"--${option}" must be a positive number, received ${value}`);
  return number;
}

function refuse(message: string): never {
  console.error(message);
  Deno.exit(2);
}
