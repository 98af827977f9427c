/**
 * The floors of the project: the floor of each file, and its imports.
 *
 * @module
 */
import { filesBelow, root } from "../gate/project.ts";

/** A floor. Files import from their own floor and from lower ones. */
export interface Floor {
  readonly name: string;
  readonly files: RegExp;
}

/** The floors, from the ground up. */
export const FLOORS: readonly Floor[] = [
  {
    name: "ground",
    files:
      /^(src\/(contract|stored_circuit|trail|cursors|records|checks|key|errors|turns)|migrations\/files)\.ts$/,
  },
  { name: "rules", files: /^src\/(rules\/\w+|history|transfer)\.ts$/ },
  {
    name: "circuit",
    files:
      /^src\/(admission|circuit|local_circuit|circuit_breaker|handle|calls|handle_options|call_form|announce|events|call_scope|background|fetch|body|fallbacks|nesting|operator|timeouts)\.ts$/,
  },
  { name: "memory", files: /^drivers\/memory(\/\w+)?\.ts$/ },
  { name: "shared", files: /^src\/shared\/\w+\.ts$/ },
  {
    name: "drivers",
    files: /^drivers\/(upstash|redis|libsql|tiered|d1|durable_object)(\/[\w/]+)?\.ts$/,
  },
  { name: "core", files: /^(mod|src\/(fuse|registry|inventory|known))\.ts$/ },
  {
    name: "entry points",
    files:
      /^(src\/(hono(\/\w+)?|notify(\/\w+)?|otel(\/\w+)?|prometheus|log|env|env_settings)\.ts|src\/testing\/|migrations\/mod\.ts)/,
  },
  { name: "tools of operators", files: /^src\/(cli|dashboard)(\/\w+)?\.tsx?$/ },
];

/** Files of one floor that must not import each other, in groups. */
export const APART: readonly RegExp[] = [
  /^drivers\/(upstash|redis)/,
  /^drivers\/(libsql|tiered|d1|durable_object)/,
  /^src\/testing\//,
  /^src\/(hono|hono\/\w+|prometheus)\.ts$/,
  /^src\/(env|env_settings)\.ts$/,
  /^src\/notify(\/\w+)?\.ts$/,
  /^src\/otel(\/\w+)?\.ts$/,
  /^src\/log\.ts$/,
  /^migrations\/mod\.ts$/,
  /^src\/cli(\/|\.ts)/,
  /^src\/dashboard(\/|\.ts)/,
];

/** Files above the lowest permitted importer, which lower files must not import. */
export const NOT_FROM_CORE = /^(src\/shared|drivers\/(?!memory))/;

/** The imports of each file of the library, types included. */
export type Imports = ReadonlyMap<string, readonly string[]>;

/** Reads the imports of all files of the library. */
export function readImports(): Imports {
  const files = [
    "mod.ts",
    ...["src", "drivers", "migrations"].flatMap((f) => filesBelow(f, ".ts")),
    ...filesBelow("src", ".tsx"),
  ];
  return new Map(files.map((file) => {
    const text = Deno.readTextFileSync(new URL(file, root));
    return [file, importsOf(file, text)];
  }));
}

/** Returns the files that a file's text imports or re-exports from. */
export function importsOf(file: string, text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, "");
  const statements = code.matchAll(/^(?:import|export)\s(?:[^;"]*?\sfrom\s+)?"(\.[^"]+)"/gm);
  return [...statements].map(([, path]) => new URL(path!, `file:///${file}`).pathname.slice(1));
}

/** Returns the violations, a sentence each: a file on no floor, an import up or aside, a circle. */
export function faultsOf(imports: Imports): string[] {
  const faults: string[] = [];
  for (const [file, targets] of imports) {
    if (floorOf(file) < 0) faults.push(`${file} stands on no floor`);
    for (const target of targets) {
      const [from, to] = [floorOf(file), floorOf(target)];
      if (to > from) faults.push(`${file} imports ${target}, which is above it`);
      if (to === from && groupOf(file) !== groupOf(target)) {
        faults.push(`${file} imports ${target}, which it must not know`);
      }
      if (FLOORS[from]?.name === "core" && NOT_FROM_CORE.test(target)) {
        faults.push(`${file} imports ${target}, which only shared stores need`);
      }
    }
  }
  return [...faults, ...circlesOf(imports)];
}

function floorOf(file: string): number {
  return FLOORS.findIndex(({ files }) => files.test(file));
}

function groupOf(file: string): number {
  return APART.findIndex((group) => group.test(file));
}

function circlesOf(imports: Imports): string[] {
  const circles: string[] = [];
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string) => {
    if (path.includes(file)) {
      circles.push(`${[...path.slice(path.indexOf(file)), file].join(" → ")} is a circle`);
    } else if (!done.has(file)) {
      path.push(file);
      imports.get(file)?.forEach(visit);
      path.pop();
      done.add(file);
    }
  };
  for (const file of imports.keys()) visit(file);
  return circles;
}
