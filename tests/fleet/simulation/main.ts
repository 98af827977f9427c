/**
 * `deno task simulate [--seconds N] [--seed N] [--isolates N] [--out DIR] [--markdown]`: measures
 * outages over fleets, then plays random worlds for as long as it is told. With `--pace`, it measures
 * how fleets pace themselves on a store of limited capacity, and does nothing else.
 * `deno task simulate --replay SCENARIO` plays one again, a failing test's for one.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { render, renderForReadme } from "../../tools/bench/table.ts";
import { writeTables } from "../../tools/pages/pages.ts";
import { newSeed } from "../../support/virtual_time.ts";
import { play } from "./fleet.ts";
import { healthOf, type Healthy, judgeHealthy } from "./healthy.ts";
import { type Fleet, mean, measure, type Outage } from "./measure.ts";
import { draw, type Plot } from "./plots.ts";
import { drawRamps, RAMPS, rampTable, recover, type Recovery } from "./ramp.ts";
import { CAPACITY } from "./pace/busy_store.ts";
import { LARGE, largePlan, MOST_BY_DEFAULT } from "./pace/plan.ts";
import { drawPace, largeTable, paceTable, type Pair } from "./pace/report.ts";
import { playCrowd, type Played, UNPACED } from "./pace/world.ts";
import { scenarioOf } from "./scenario.ts";
import { read, report } from "./shrink.ts";
import { BLOCKS, costTable, outageTable, stamp } from "./tables.ts";

const ISOLATES = [1, 10, 100, 1_000];
const RATES = [0.1, 1, 10];
/** Of fleets that pace themselves. */
const CROWDS = [100, 1_000, 10_000];
/** Of larger fleets, which take ten minutes and 5 GB with 100 000 isolates at 1 call a second. */
const RATES_OF_LARGE = [0.1, 1];

const USAGE = `Usage: deno task simulate [options]

Measures outages over simulated fleets, then plays random worlds until the time is up.

  --seconds N    For how long: half of it to measure, but every fleet once (default: 60)
  --seed N       Where the random worlds begin (default: drawn, and printed)
  --isolates N   Only fleets of this size (default: 1, 10, 100 and 1 000; worlds of any)
  --out DIR      Where plots go, as SVG (default: simulation)
  --markdown     Write the tables of the pages
  --pace         Only measure fleets of 100, 1 000 and 10 000 on a store of limited capacity; a
                 larger one, with --isolates, has a policy for it and 0.1 and 1 calls a second
  --rate N       With --pace: only this many calls a second of each (default: 0.1, 1 and 10)
  --replay TEXT  Only play this scenario, as a failure prints it, and print its trace
  -h, --help     Show this`;

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string" },
    isolates: { type: "string" },
    out: { type: "string", default: "simulation" },
    markdown: { type: "boolean", default: false },
    pace: { type: "boolean", default: false },
    rate: { type: "string" },
    replay: { type: "string" },
    help: { type: "boolean", short: "h", default: false },
  },
});

if (values.help) console.log(USAGE);
else if (values.replay !== undefined) Deno.exit(await replay(values.replay));
else Deno.exit(values.pace ? await pace() : await simulate());

async function simulate(): Promise<number> {
  const seconds = number("seconds", values.seconds, 0);
  const isolates = values.isolates === undefined
    ? undefined
    : number("isolates", values.isolates, 1);
  const seed = values.seed === undefined ? newSeed() : number("seed", values.seed, 0);
  const end = performance.now() + seconds * 1_000;

  const outages = await measureAll(isolates === undefined ? ISOLATES : [isolates], seed, seconds);
  const recoveries = await recoverAll(isolates ?? ISOLATES.at(-1)!, seed);
  for (const table of [outageTable(outages), costTable(outages), rampTable(recoveries)]) {
    console.log(render(table));
  }
  if (values.markdown) await writePages(outages, recoveries);
  await writePlots([...await draw(outages), await drawRamps(recoveries)]);
  return await playUntil(end, seed, isolates);
}

/** The same fleets without a limit of requests and with it. */
async function pace(): Promise<number> {
  const sizes = values.isolates === undefined ? CROWDS : [number("isolates", values.isolates, 1)];
  const rates = values.rate === undefined ? RATES : [Number(values.rate)];
  const seed = values.seed === undefined ? newSeed() : number("seed", values.seed, 0);
  if (sizes[0]! > MOST_BY_DEFAULT) return await paceLarge(sizes[0]!, seed);
  const pairs: Pair[] = [];
  for (const isolates of sizes) {
    for (const rate of rates) {
      const before = await playCrowd({ isolates, rate, policy: UNPACED }, seed);
      pairs.push({ before, after: await playCrowd({ isolates, rate }, seed) });
      console.error(`Measured: ${isolates} isolates, ${rate} calls/s each`);
    }
  }
  const table = paceTable(pairs);
  console.log(render(table));
  if (values.markdown) {
    await writeInto(new Map([[table.name, `${renderForReadme(table)}\n\n_Seed ${seed}._`]]));
  }
  await writePlots(await drawPace(pairs));
  return 0;
}

/** A fleet that is too large for the default policy. Without a limit, none of its requests is answered in time. */
async function paceLarge(isolates: number, seed: number): Promise<number> {
  const rates = values.rate === undefined ? RATES_OF_LARGE : [Number(values.rate)];
  const plays: Played[] = [];
  for (const rate of rates) {
    const plan = largePlan(isolates, CAPACITY);
    plays.push(await playCrowd({ isolates, rate, plan, policy: LARGE }, seed));
    console.error(`Measured: ${isolates} isolates, ${rate} calls/s each`);
  }
  const table = largeTable(plays);
  console.log(render(table));
  if (values.markdown) {
    await writeInto(new Map([[table.name, `${renderForReadme(table)}\n\n_Seed ${seed}._`]]));
  }
  return 0;
}

async function writePlots(plots: readonly Plot[]): Promise<void> {
  await Deno.mkdir(values.out, { recursive: true });
  for (const { file, svg } of plots) {
    await Deno.writeTextFile(`${values.out}/${file}`, svg);
    console.error(`Written: ${values.out}/${file}`);
  }
}

/** Writes tables into their blocks, which have the tables' names. */
async function writePages(
  outages: readonly Outage[],
  recoveries: readonly Recovery[],
): Promise<void> {
  const ramp = rampTable(recoveries);
  const tables = new Map([[ramp.name, renderForReadme(ramp)]]);
  for (const table of [outageTable(outages), costTable(outages)]) {
    tables.set(table.name, `${renderForReadme(table)}\n\n_${stamp(outages)}_`);
  }
  await writeInto(tables);
}

async function writeInto(tables: ReadonlyMap<string, string>): Promise<void> {
  const written = await writeTables(tables, BLOCKS);
  for (const path of written.keys()) console.error(`Written: ${path}`);
}

/** Plays each fleet at least once, and again for half of the time. */
async function measureAll(
  sizes: readonly number[],
  seed: number,
  seconds: number,
): Promise<Outage[]> {
  const fleets = sizes.flatMap((isolates) =>
    (["eventual", "strong"] as const).flatMap((consistency) =>
      RATES.map((rate): Fleet => ({ isolates, consistency, rate }))
    )
  );
  const outages: Outage[] = [];
  for (const fleet of fleets) {
    const end = performance.now() + seconds * 500 / fleets.length;
    const runs: Outage[] = [];
    do runs.push(await measure(fleet, seed + runs.length)); while (performance.now() < end);
    outages.push(mean(runs));
    const { isolates, consistency, rate } = fleet;
    console.error(`Measured: ${isolates} isolates, ${consistency}, ${rate} calls/s each`);
  }
  return outages;
}

/** Plays the same recovery with each ramp. */
async function recoverAll(isolates: number, seed: number): Promise<Recovery[]> {
  const recoveries: Recovery[] = [];
  for (const rampMs of RAMPS) recoveries.push(await recover(isolates, rampMs, seed));
  console.error(`Measured: recoveries of ${isolates} isolates`);
  return recoveries;
}

async function playUntil(end: number, first: number, isolates?: number): Promise<number> {
  const healthy: Healthy[] = [];
  let calls = 0;
  let seed = first;
  // At least one: when no time is left, the printed count shows it.
  for (; seed === first || performance.now() < end; seed++) {
    const scenario = scenarioOf(seed, isolates);
    const played = await play(scenario);
    const { violation } = played;
    if (violation !== null) {
      console.log(await report({ scenario, violation }));
      return 1;
    }
    calls += played.calls.length;
    if (scenario.kind === "healthy") healthy.push(healthOf(scenario, played));
  }
  const problem = judgeHealthy(healthy);
  console.log(
    problem ??
      `Worlds played: ${seed - first}, from seed ${first}, with ${calls} calls. Nothing is wrong`,
  );
  return problem === null ? 0 : 1;
}

async function replay(text: string): Promise<number> {
  const { trace, violation } = await play(read(text), { trace: true });
  console.log(trace.join("\n"));
  console.log(
    violation === null ? "Nothing is wrong" : `${violation.invariant}: ${violation.message}`,
  );
  return violation === null ? 0 : 1;
}

function number(option: string, text: string, least: number): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= least && text !== "") return value;
  console.error(`"--${option}" must be an integer of at least ${least}, received ${text}`);
  Deno.exit(2);
}
