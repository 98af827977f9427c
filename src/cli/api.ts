/**
 * Reads and operates circuits through a dashboard, for stores that cannot be reached from here.
 *
 * @module
 */

import { inLine } from "../checks.ts";
import { type Action, type Order, segmentOf } from "../operator.ts";
import type { CircuitSnapshot } from "../rules/snapshot.ts";
import {
  CircuitRefused,
  type Fleet,
  type LeftOut,
  type Listed,
  type Place,
  type Shown,
  type StatusFilter,
} from "./fleet.ts";
import { CliError } from "./terminal.ts";

/** The time in which a dashboard must answer, in ms. */
const TIMEOUT_MS = 15_000;

/** The reasons for which a dashboard refuses, by status. */
const REFUSALS: Readonly<Record<number, string>> = {
  401: `it asks for authentication: give --header "authorization: …"`,
  403: "it does not allow this",
  405: "it is read-only",
};

/** The JSON API of a dashboard. Each answer is one request. */
export class ApiFleet implements Fleet {
  readonly #base: string;
  readonly #headers: Headers;

  constructor(url: URL, headers: Headers = new Headers()) {
    this.#base = `${url.origin}${url.pathname.replace(/\/+$/, "")}/api/`;
    this.#headers = headers;
  }

  async stores(): Promise<readonly string[]> {
    return (await this.#stores()).map(({ name }) => name);
  }

  async list(stores: readonly string[], { state }: StatusFilter): Promise<Listed> {
    const circuits: CircuitSnapshot[] = [];
    const refused = new Map<string, LeftOut>();
    const unanswered = new Set<string>();
    for (const store of stores) {
      let cursor: string | null = null;
      do {
        const query: URLSearchParams = new URLSearchParams({ store, limit: "1000" });
        if (state !== undefined) query.set("state", state);
        if (cursor !== null) query.set("cursor", cursor);
        const page: Page | null = await this.#get(`circuits?${query}`, isPage);
        circuits.push(...page!.circuits.map(revived));
        for (const name of page!.missing) unanswered.add(name);
        // An older dashboard does not report them.
        for (const one of page!.refused ?? []) {
          refused.set(JSON.stringify([store, one.key]), { ...one, error: new CliError(one.error) });
        }
        cursor = page!.cursor;
      } while (cursor !== null);
    }
    const error = new CliError("it did not answer the dashboard");
    const missing = [...unanswered].map((store) => ({ store, error }));
    return { circuits, refused: [...refused.values()], missing };
  }

  async show(place: Place): Promise<Shown | null> {
    const shown = await this.#get(pathOf(place), isShown);
    if (shown === null) return null;
    const { circuit, events } = shown;
    if (circuit.local) {
      const store = (await this.#stores()).find(({ name }) => name === place.store);
      if (store?.ok) throw new CircuitRefused(place);
      throw new CliError(`Store ${inLine(place.store)} does not answer the dashboard`);
    }
    if (circuit.generation === 0) return null;
    return {
      ...shown,
      circuit: revived(circuit),
      events: events.map((event) => ({ ...event, at: new Date(event.at) })),
    };
  }

  async act(place: Place, action: Action, { reason, forMs }: Order): Promise<void> {
    const response = await this.#send(`${pathOf(place)}/${action}`, {
      method: "POST",
      // Dashboards require this header, which browsers send with a page's own requests.
      headers: { "content-type": "application/json", "sec-fetch-site": "same-origin" },
      body: JSON.stringify({ reason, forMs }),
    });
    if (!response.ok) throw await refused(response);
    await response.body?.cancel();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #stores(): Promise<readonly Checked[]> {
    return (await this.#get("stores", areStores))!;
  }

  /** Returns the answer of a path, or `null` for 404. */
  async #get<T>(path: string, isAnswer: (json: unknown) => json is T): Promise<T | null> {
    const response = await this.#send(path, {});
    if (response.status === 404) {
      await response.body?.cancel();
      if (path.startsWith("circuits/")) return null;
      throw new CliError(
        "There is no dashboard at this address: give --api the address of its page, without /api",
      );
    }
    if (!response.ok) throw await refused(response);
    const json: unknown = await response.json().catch(() => undefined);
    if (isAnswer(json)) return json;
    throw new CliError("The dashboard did not answer with JSON of its API: is --api its path?");
  }

  async #send(path: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    for (const [name, value] of this.#headers) headers.set(name, value);
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    try {
      // A redirect would send the credentials elsewhere.
      return await fetch(this.#base + path, { ...init, headers, signal, redirect: "error" });
    } catch (error) {
      throw new CliError("The dashboard did not answer", { cause: error });
    }
  }
}

/** A store that the dashboard has checked. */
interface Checked {
  readonly name: string;
  readonly ok: boolean;
}

interface Page {
  readonly circuits: readonly CircuitSnapshot[];
  readonly cursor: string | null;
  readonly missing: readonly string[];
  readonly refused?: readonly (Omit<LeftOut, "error"> & {
    readonly key: string;
    readonly error: string;
  })[];
}

function areStores(json: unknown): json is readonly Checked[] {
  return Array.isArray(json) && json.every((store) => typeof Object(store).name === "string");
}

function isPage(json: unknown): json is Page {
  const { circuits, missing } = Object(json) as Partial<Page>;
  return Array.isArray(circuits) && Array.isArray(missing);
}

function isShown(json: unknown): json is Shown {
  const { circuit, events } = Object(json) as Partial<Shown>;
  return typeof circuit === "object" && Array.isArray(events);
}

function pathOf({ store, key }: Place): string {
  return `circuits/${segmentOf(store)}/${segmentOf(key)}`;
}

/** Dates are texts in JSON. */
function revived(circuit: CircuitSnapshot): CircuitSnapshot {
  const date = (value: Date | null) => value === null ? null : new Date(value);
  const { override, lastFailure, metrics } = circuit;
  return {
    ...circuit,
    override: override && { ...override, until: date(override.until) },
    lastFailure: lastFailure && { ...lastFailure, at: new Date(lastFailure.at) },
    openedAt: date(circuit.openedAt),
    openUntil: date(circuit.openUntil),
    closedAt: date(circuit.closedAt),
    metrics: {
      ...metrics,
      lastSuccessAt: date(metrics.lastSuccessAt),
      lastFailureAt: date(metrics.lastFailureAt),
    },
  };
}

async function refused(response: Response): Promise<CliError> {
  const why = REFUSALS[response.status] ?? inLine((await response.text()).slice(0, 300));
  if (!response.bodyUsed) await response.body?.cancel();
  return new CliError(`The dashboard refused with status ${response.status}: ${why}`);
}
