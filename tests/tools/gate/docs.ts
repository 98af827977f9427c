/**
 * The documentation that users see: reads `deno doc --json` of the entry points.
 *
 * @module
 */
import { deno, readConfig, root } from "./project.ts";

/** An entry point, as `deno doc` describes it. */
export interface EntryDoc {
  /** Its name in `exports`. */
  readonly entry: string;
  readonly moduleDoc: JsDoc | undefined;
  /** Without re-exports from another entry point, which are documented there. */
  readonly symbols: readonly SymbolDoc[];
}

/** An exported name. */
export interface SymbolDoc {
  readonly name: string;
  readonly kind: string;
  readonly jsDoc: JsDoc | undefined;
  readonly members: readonly MemberDoc[];
  /** The declaration: a file's path in the project, and a line of it from 1 on. */
  readonly at: { readonly path: string; readonly line: number };
  readonly isAsync: boolean;
}

/** A property or method of an exported type. */
export interface MemberDoc {
  /** The name with that of its type: `Fuse.make`. */
  readonly name: string;
  readonly jsDoc: JsDoc | undefined;
  readonly optional: boolean;
  readonly numeric: boolean;
  readonly isMethod: boolean;
  /** Whether it returns a promise or an asynchronous iterator. */
  readonly isAsync: boolean;
}

/** A doc comment. */
export interface JsDoc {
  readonly doc?: string;
  readonly tags?: readonly { readonly kind: string; readonly doc?: string }[];
}

/** All entry points. */
export async function documentation(): Promise<readonly EntryDoc[]> {
  const { exports } = readConfig();
  const { ok, stdout, stderr } = await deno(["doc", "--json", ...Object.values(exports)]);
  if (!ok) throw new Error(`deno doc failed\n${stderr}`);
  const { nodes } = JSON.parse(stdout) as { nodes: Readonly<Record<string, RawModule>> };
  return Object.entries(exports).map(([entry, path]) => {
    const module = nodes[new URL(path, root).href];
    if (module === undefined) throw new Error(`deno doc knows nothing of ${path}`);
    return {
      entry,
      moduleDoc: module.module_doc,
      symbols: module.symbols.flatMap(({ name, declarations }) =>
        declarations.filter(({ kind }) => kind !== "reference").map((it) => symbolOf(name, it))
      ),
    };
  });
}

/** Doc comment and tags as one text; `""` without any. */
export function textOf(jsDoc: JsDoc | undefined): string {
  return [jsDoc?.doc, ...(jsDoc?.tags ?? []).map(({ kind, doc }) => `@${kind} ${doc ?? ""}`)]
    .filter(Boolean).join("\n").trim();
}

/** Returns whether a doc comment has such a tag. */
export function hasTag(jsDoc: JsDoc | undefined, kind: string): boolean {
  return jsDoc?.tags?.some((tag) => tag.kind === kind) ?? false;
}

interface RawModule {
  readonly module_doc?: JsDoc;
  readonly symbols: readonly { readonly name: string; readonly declarations: readonly Raw[] }[];
}

/** A declaration, or a member of one. */
interface Raw {
  readonly name: string;
  readonly kind: string;
  readonly jsDoc?: JsDoc;
  readonly location: { readonly filename: string; readonly line: number };
  readonly def?: RawType & { readonly isAsync?: boolean };
}

interface RawType {
  readonly properties?: readonly RawMember[];
  readonly methods?: readonly RawMember[];
  readonly constructors?: readonly RawMember[];
}

interface RawMember {
  readonly name: string;
  readonly jsDoc?: JsDoc;
  readonly optional?: boolean;
  readonly accessibility?: string;
  readonly tsType?: unknown;
  /** The type of an interface's method. */
  readonly returnType?: unknown;
  /** The type of a class's method. */
  readonly functionDef?: { readonly returnType?: unknown };
}

function symbolOf(name: string, { kind, jsDoc, location, def }: Raw): SymbolDoc {
  const types = kind === "typeAlias" ? typesIn(def) : kind === "variable" ? [] : [def ?? {}];
  const members = [...types].flatMap((type) =>
    [
      ...(type.properties ?? []).map((member) => memberOf(name, member, false)),
      ...(type.methods ?? []).map((member) => memberOf(name, member, true)),
      ...(type.constructors ?? []).map((member) => memberOf(name, member, true)),
    ].flat()
  );
  return {
    name,
    kind,
    jsDoc,
    // Either a getter or its setter is documented.
    members: members.filter((one) =>
      textOf(one.jsDoc) !== "" ||
      !members.some((other) => other.name === one.name && textOf(other.jsDoc) !== "")
    ),
    at: { path: location.filename.slice(root.href.length), line: location.line },
    isAsync: def?.isAsync ?? false,
  };
}

function memberOf(of: string, member: RawMember, isMethod: boolean): MemberDoc[] {
  if (member.accessibility === "private") return [];
  const returned = JSON.stringify(member.returnType ?? member.functionDef?.returnType ?? null);
  return [{
    name: `${of}.${member.name}`,
    jsDoc: member.jsDoc,
    optional: member.optional ?? false,
    numeric: /"repr":"number"/.test(JSON.stringify(member.tsType ?? null)),
    isMethod,
    isAsync: /^\{"repr":"(Promise|AsyncIterableIterator)"/.test(returned),
  }];
}

/** Every object type written out in an alias. In interfaces, the member explains it. */
function* typesIn(node: unknown): Generator<RawType> {
  if (typeof node !== "object" || node === null) return;
  if ("properties" in node || "methods" in node || "constructors" in node) yield node as RawType;
  for (const below of Object.values(node)) yield* typesIn(below);
}
