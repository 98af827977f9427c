/**
 * Finds circuits: reads queries, and returns pages of matching circuits.
 *
 * @module
 */

import { inLine } from "../checks.ts";
import type { CircuitState } from "../contract.ts";
import { inScope } from "../events.ts";
import type { Fuse } from "../fuse.ts";
import { knownStores, withRefused } from "../known.ts";
import type { CircuitFilter, CircuitPage } from "../inventory.ts";
import { type CircuitIdentity, nameMatches, readScope, type Scope, scopeText } from "../key.ts";
import { scopeTitle } from "../operator.ts";
import { CIRCUIT_STATES } from "../records.ts";
import type { CircuitSnapshot } from "../rules/snapshot.ts";

/** A request that cannot be answered: status 400. */
export class BadRequest extends Error {}

/** A filter of circuits, and a cursor. */
export interface Search {
  /** The store to search. `undefined` means all stores of the view. */
  readonly store: string | undefined;
  readonly filter: CircuitFilter;
  /** A part of the name or of a scope, in any case; `""` matches all. */
  readonly text: string;
  readonly cursor: string | null;
  readonly limit: number;
}

/** A page of circuits, and the circuits that it leaves out. */
export interface Found extends CircuitPage {
  /**
   * Circuits whose records are invalid, each with the store's answer. They match the filter by name,
   * scopes and text; their state and override are unknown.
   */
  readonly refused: readonly (CircuitIdentity & { readonly error: string })[];
}

/** The parameters of a query, by name. An empty parameter counts as missing, because forms send it. */
export type Query = Readonly<Record<string, string | undefined>>;

/** Returns the names of the stores of the Fuse's view. */
export function storesOfView(fuse: Fuse): readonly string[] {
  const known = knownStores(fuse).map(({ name }) => name);
  if (known.length === 0) return fuse.stores;
  return fuse.stores.filter((store) => known.includes(store));
}

/**
 * Reads a query.
 *
 * @param standard The default limit.
 * @throws {BadRequest} Naming the parameter and what is allowed.
 */
export function readSearch(fuse: Fuse, query: Query, standard: number): Search {
  const given = (name: string) => query[name] === "" ? undefined : query[name];
  const stores = storesOfView(fuse);
  const store = given("store");
  if (store !== undefined && !stores.includes(store)) throw refused("store", stores);
  const state = given("state")?.toUpperCase().replace("-", "_");
  if (state !== undefined && !isState(state)) throw refused("state", CIRCUIT_STATES);
  const overridden = given("overridden");
  if (overridden !== undefined && !["true", "false"].includes(overridden)) {
    throw refused("overridden", ["true", "false"]);
  }
  const name = given("name");
  if (name !== undefined && /\*./s.test(name)) {
    throw new BadRequest(`"name" must be a name, or a prefix with "*" at its end alone`);
  }
  const limit = Number(given("limit") ?? standard);
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= 1000)) {
    throw new BadRequest(`"limit" must be an integer from 1 to 1000`);
  }
  return {
    store,
    filter: {
      state,
      name,
      context: readScopeOf("context", given("context")),
      boundary: readScopeOf("boundary", given("boundary")),
      overridden: overridden === undefined ? undefined : overridden === "true",
    },
    text: given("text") ?? "",
    cursor: given("cursor") ?? null,
    limit,
  };
}

/**
 * Returns a page of circuits.
 *
 * @throws {BadRequest} If the cursor is not of such a search.
 */
export async function find(fuse: Fuse, search: Search): Promise<Found> {
  const view = search.store === undefined ? fuse : fuse.store(search.store);
  const { text, filter, cursor, limit } = search;
  try {
    const [page, refused] = await withRefused(
      view,
      () => text === "" ? view.listPage({ ...filter, cursor, limit }) : scan(view, search),
    );
    const left = refused.filter((one) => one.operation === "list" && concerns(search, one));
    return {
      ...page,
      refused: left.map(({ operation: _, error, ...circuit }) => ({
        ...circuit,
        error: error.message,
      })),
    };
  } catch (error) {
    // Everything else has been checked.
    if (error instanceof RangeError) {
      throw new BadRequest(`"cursor" must be a cursor of this search`);
    }
    throw error;
  }
}

/** The circuits of a request of a search. */
const SCANNED = 1000;
/** The most requests for a page: a Worker may send few. The next page continues the search. */
const SCANS = 10;

/**
 * Searches for a text. Its cursors are those of `listPage`, with the number of matches after the cursor
 * that were already shown.
 */
async function scan(view: Fuse, { filter, text, cursor, limit }: Search): Promise<CircuitPage> {
  const wanted = text.toLowerCase();
  let { from, shown } = placeOf(cursor);
  const circuits: CircuitSnapshot[] = [];
  for (let scans = 1;; scans++) {
    const page = await view.listPage({ ...filter, cursor: from, limit: SCANNED });
    const matches = page.circuits.filter((circuit) => textOf(circuit).includes(wanted));
    for (const match of matches.slice(shown)) {
      if (circuits.length === limit) {
        return { circuits, cursor: JSON.stringify({ from, shown }), missing: page.missing };
      }
      circuits.push(match);
      shown++;
    }
    from = page.cursor;
    shown = 0;
    if (from === null || scans === SCANS) {
      const next = from === null ? null : JSON.stringify({ from, shown });
      return { circuits, cursor: next, missing: page.missing };
    }
  }
}

function placeOf(cursor: string | null): { from: string | null; shown: number } {
  if (cursor === null) return { from: null, shown: 0 };
  try {
    const { from, shown } = JSON.parse(cursor);
    if ((from === null || typeof from === "string") && Number.isSafeInteger(shown)) {
      return { from, shown };
    }
  } catch {
    // Refused below.
  }
  throw new BadRequest(`"cursor" must be a cursor of this search`);
}

function textOf({ name, context, boundary }: CircuitIdentity): string {
  return [name, scopeTitle(context), scopeTitle(boundary)].join("\n").toLowerCase();
}

/** Returns `true` if a circuit matches by what stands in its key. */
function concerns({ filter, text }: Search, circuit: CircuitIdentity): boolean {
  const { name, context, boundary } = filter;
  const scopes = {
    context: context && scopeText(context, "context"),
    boundary: boundary && scopeText(boundary, "boundary"),
  };
  return inScope(scopes, circuit) && textOf(circuit).includes(text.toLowerCase()) &&
    (name === undefined || nameMatches(name, circuit.name));
}

/** `none` has no colon, so that no scope is written like this. */
function readScopeOf(parameter: string, text: string | undefined): Scope | null | undefined {
  if (text === undefined) return undefined;
  if (text === "none") return null;
  const scope = readScope(text);
  if (scope !== null) return scope;
  throw new BadRequest(`"${parameter}" must be "type:id", such as "tenant:42", or "none"`);
}

function isState(text: string): text is CircuitState {
  return (CIRCUIT_STATES as readonly string[]).includes(text);
}

function refused(parameter: string, words: readonly string[]): BadRequest {
  return new BadRequest(`"${parameter}" must be one of ${words.map(inLine).join(", ")}`);
}
