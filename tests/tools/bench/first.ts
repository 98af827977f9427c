/**
 * The first call of a fresh isolate: everything that is loaded, created and compiled until it has
 * ended.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { spread } from "./harness.ts";
import { installed, Programs, REQUIRE } from "./programs.ts";
import type { Section } from "./section.ts";
import { budget, type Table, times } from "./table.ts";

/** Entry points, each with the code of a first call. */
const PROGRAMS = {
  "an empty module": ["export {};", "await fn();"],
  "fuse": [
    `export { createFuse } from "@fuse/edge";`,
    `await m.createFuse().make("api").call(fn);`,
  ],
  "cockatiel": [
    `export { circuitBreaker, ConsecutiveBreaker, handleAll } from "${installed("cockatiel")}";`,
    `await m.circuitBreaker(m.handleAll, {
       halfOpenAfter: 60_000,
       breaker: new m.ConsecutiveBreaker(5),
     }).execute(fn);`,
  ],
  "opossum": [
    `export { default } from "${installed("opossum")}";`,
    `await new m.default(fn, { timeout: false }).fire();`,
  ],
} as const;

type Name = keyof typeof PROGRAMS;

/** A time in ms. */
interface Took {
  readonly load: number;
  readonly call: number;
}

/** Section `first`. */
export const section: Section = {
  async *run(options) {
    await using programs = await Programs.open(options);
    const names = Object.keys(PROGRAMS) as Name[];
    const paths = new Map<Name, string>();
    const empty = await programs.bundle("empty", { stdin: { contents: "export {};" } });
    for (const [i, name] of names.entries()) {
      const [library, call] = PROGRAMS[name];
      const resolveDir = fileURLToPath(new URL(".", import.meta.url));
      const path = await programs.bundle(`library-${i}`, {
        stdin: { contents: library, resolveDir },
        minify: true,
        ...name === "opossum" ? { banner: { js: REQUIRE } } : {},
      });
      const contents = `
        const fn = () => Promise.resolve(42);
        // The work that any program has done by then.
        await fn();
        await import(${JSON.stringify(empty)});
        const began = performance.now();
        const m = await import(${JSON.stringify(path)});
        const loaded = performance.now();
        ${call}
        const called = performance.now();
        console.log(JSON.stringify({ load: loaded - began, call: called - loaded }));
        globalThis.process?.exit();
        Deno.exit();`;
      paths.set(
        name,
        await programs.bundle(`program-${i}`, { stdin: { contents }, external: [path, empty] }),
      );
    }
    for (const runtime of ["Deno", "Node"] as const) {
      const took = new Map<Name, Took[]>(names.map((name) => [name, []]));
      for (let round = options.quick ? 7 : 25; round > 0; round--) {
        for (const name of names) {
          const line = await programs.run(runtime, paths.get(name)!, "");
          took.get(name)!.push(JSON.parse(line));
        }
      }
      yield table(runtime, took);
    }
  },
};

function table(runtime: string, took: ReadonlyMap<Name, readonly Took[]>): Table {
  const [empty, theirs] = [took.get("an empty module")!, took.get("cockatiel")!];
  const columns = ["module", "load, ms", "call, ms", "both, ms", "× cockatiel", SPREAD, "budget"];
  return {
    name: runtime === "Deno" ? "first" : "first-node",
    title: `First call on ${runtime}: a fresh process loads, makes a breaker and calls once`,
    columns,
    rows: [...took].map(([name, all]) => {
      const ms = (of: (took: Took) => number) => spread(all.map(of)).median.toFixed(2);
      const to = spread(all.map((one, i) => sum(one) / sum(theirs[i]!)));
      return [
        name,
        ms(({ load }) => load),
        ms(({ call }) => call),
        ms(sum),
        ...all === empty ? ["", ""] : times(to),
        name === "fuse" ? budget(to.median, 2) : "",
      ];
    }),
    notes: [
      "Each is one minified file, of what a breaker needs alone; nothing that V8 has kept of earlier",
      "runs is used. Median over processes, by turns.",
    ],
    readme: columns.filter((column) => column !== SPREAD),
  };
}

function sum({ load, call }: Took): number {
  return load + call;
}

const SPREAD = "min–max";
