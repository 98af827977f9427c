/**
 * Shows where one candidate spends its time: `deno run -A --v8-flags=--expose-gc
 * tests/tools/bench/profile.ts "closed: rolling_window, an object" fuse`. V8's own sampling
 * profiler, self time by function.
 *
 * @module
 */
import { Session } from "node:inspector/promises";
import { FAMILIES } from "./families.ts";
import { type Candidate, turn } from "./harness.ts";
import { SECTIONS } from "./sections.ts";
import { render } from "./table.ts";

const SECONDS = 2;

interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
}

interface Profile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: CallFrame }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

if (import.meta.main) {
  const [name, wanted = ""] = Deno.args;
  if (name === undefined) {
    throw new TypeError("Say which family or section, and part of a candidate's name");
  }
  const candidates = await candidatesOf(name);
  const chosen = candidates.find(({ name }) => name.includes(wanted));
  if (chosen === undefined) {
    throw new RangeError(
      `No candidate "${wanted}": ${candidates.map(({ name }) => name).join("; ")}`,
    );
  }
  await profile(chosen);
  Deno.exit();
}

async function candidatesOf(name: string): Promise<Candidate[]> {
  if (Object.hasOwn(FAMILIES, name)) return await FAMILIES[name]!({ std: null });
  const { section } = await SECTIONS[name]?.load() ?? {};
  if (section?.candidates !== undefined) return await section.candidates();
  throw new RangeError(
    `No family "${name}", and no section that races here: ${Object.keys(FAMILIES).join("; ")}`,
  );
}

async function profile(candidate: Candidate): Promise<void> {
  await candidate.run(200_000);
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.setSamplingInterval", { interval: 200 });
  await session.post("Profiler.start");
  let calls = 0;
  const start = performance.now();
  while (performance.now() - start < SECONDS * 1000) {
    await candidate.run(20_000);
    calls += 20_000;
    await turn();
  }
  const ns = ((performance.now() - start) * 1e6) / calls;
  const { profile } = await session.post("Profiler.stop") as { profile: Profile };
  const shares = selfTime(profile).slice(0, 25);
  console.log(render({
    name: "profile",
    title: `${candidate.name}: ${ns.toFixed(0)} ns/call under the profiler`,
    columns: ["function", "self %", "ns/call"],
    rows: shares.map(({ where, share }) => [
      where,
      (100 * share).toFixed(1),
      (ns * share).toFixed(0),
    ]),
  }));
}

function selfTime({ nodes, samples, timeDeltas }: Profile): { where: string; share: number }[] {
  const byId = new Map(nodes.map(({ id, callFrame }) => [id, describe(callFrame)]));
  const spent = new Map<string, number>();
  let all = 0;
  samples.forEach((id, i) => {
    const where = byId.get(id) ?? "?";
    const delta = timeDeltas[i] ?? 0;
    spent.set(where, (spent.get(where) ?? 0) + delta);
    all += delta;
  });
  return [...spent]
    .map(([where, time]) => ({ where, share: time / all }))
    .toSorted((a, b) => b.share - a.share);
}

function describe({ functionName, url, lineNumber }: CallFrame): string {
  const file = url.slice(url.lastIndexOf("/") + 1);
  return `${functionName || "(anonymous)"}${file === "" ? "" : ` ${file}:${lineNumber + 1}`}`;
}
