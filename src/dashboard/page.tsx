/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
/**
 * The page.
 *
 * @module
 */

import type { Context } from "hono";
import { raw } from "hono/html";
import { inLine } from "../checks.ts";
import type { Fuse } from "../fuse.ts";
import { SCRIPT, STYLE } from "./assets.ts";
import { Detail } from "./detail.tsx";
import { ActionDialog } from "./dialog.tsx";
import {
  BadRequest,
  find,
  type Found,
  type Query,
  readSearch,
  type Search,
  storesOfView,
} from "./find.ts";
import { Filters } from "./filters.tsx";
import { idOf, List } from "./list.tsx";
import { breakerOf, checkStores, isAbsent, lookAt, type Shown, type StoreStatus } from "./look.ts";
import { type Html, Scopes } from "./parts.tsx";
import type { Settings } from "./settings.ts";
import { type Past, pastOf } from "./timeline.ts";

/** How many circuits the page shows at once. */
const LIMIT = 50;

/** How many circuits that cannot be shown the page names. */
const NAMED = 10;

/** The header by which the script asks for the part that a refresh replaces. */
export const FRAGMENT_HEADER = "fuse-fragment";

/** Answers with the page or, to its own script, with the part of it that changes. */
export async function showPage(c: Context, settings: Settings): Promise<Response> {
  const fuse = settings.fuseOf(c);
  const query = c.req.query();
  const asked = read(fuse, query);
  const [stores, page, shown] = await Promise.all([
    checkStores(fuse),
    circuitsOf(fuse, asked),
    detailOf(fuse, query),
  ]);
  // The store may have been held back, which its answer has ended.
  const detail = isRefused(stores, shown) ? await detailOf(fuse, query) : shown;
  const status = asked.problem === null && page.problem === null ? 200 : 400;
  const props = { settings, query, stores, page, detail, problem: asked.problem ?? page.problem };
  c.status(status);
  if (c.req.header(FRAGMENT_HEADER) !== undefined) return await c.html(<View {...props} />);
  return await c.html(
    <>
      {raw("<!doctype html>")}
      <Page
        {...props}
        stores={stores}
        names={storesOfView(fuse)}
        nonce={c.get("secureHeadersNonce")}
      />
    </>,
  );
}

/** A part of the page, or the reason why it is missing. */
interface Answered {
  readonly problem: string | null;
}

const NOTHING: Found = { circuits: [], cursor: null, missing: [], refused: [] };

function read(fuse: Fuse, query: Query): Answered & { search: Search | null } {
  try {
    return { search: readSearch(fuse, query, LIMIT), problem: null };
  } catch (error) {
    return { search: null, problem: refusalOf(error) };
  }
}

async function circuitsOf(
  fuse: Fuse,
  { search }: { search: Search | null },
): Promise<Answered & Found> {
  if (search === null) return { ...NOTHING, problem: null };
  try {
    return { ...await find(fuse, search), problem: null };
  } catch (error) {
    return { ...NOTHING, problem: refusalOf(error) };
  }
}

function refusalOf(error: unknown): string {
  if (error instanceof BadRequest) return error.message;
  throw error;
}

/**
 * A circuit that the query names, with its past; `"absent"` if there is none; `null` if the query
 * names none.
 */
type Detailed = Shown & { readonly past: Past } | "absent" | null;

async function detailOf(fuse: Fuse, { in: store, key }: Query): Promise<Detailed> {
  if (store === undefined || key === undefined) return null;
  const breaker = breakerOf(fuse, { store, key });
  if (breaker === null) return "absent";
  const [shown, past] = await Promise.all([lookAt(breaker), pastOf(fuse, breaker)]);
  return isAbsent(shown.circuit) ? "absent" : { ...shown, past };
}

/** Returns `true` if a store answers, though not about this circuit. */
function isRefused(stores: readonly StoreStatus[], detail: Detailed): boolean {
  if (detail === null || detail === "absent" || !detail.circuit.local) return false;
  return stores.some(({ name, ok }) => ok && name === detail.circuit.store);
}

interface ViewProps {
  readonly settings: Settings;
  readonly query: Query;
  readonly stores: readonly StoreStatus[];
  readonly page: Found;
  readonly detail: Detailed;
  readonly problem: string | null;
}

function Page(
  props: ViewProps & { readonly names: readonly string[]; readonly nonce: string | undefined },
): Html {
  const { settings: { title, readOnly, pollMs }, query, names, nonce } = props;
  return (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <title>{inLine(title)}</title>
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="robots" content="noindex" />
        <link rel="icon" href={ICON} />
        <noscript>
          <meta http-equiv="refresh" content="15" />
        </noscript>
        <style nonce={nonce}>{raw(STYLE)}</style>
      </head>
      <body data-poll-ms={String(pollMs)} data-title={inLine(title)}>
        <a class="skip" href="#view">Skip to the circuits</a>
        <header id="top">
          <h1>{inLine(title)}</h1>
          {readOnly && <span class="tag">read-only</span>}
          <span id="live" class="script"></span>
        </header>
        <p id="stale" role="alert" hidden></p>
        <p id="said" role="status" hidden></p>
        <Filters query={query} stores={names} />
        <View {...props} />
        {!readOnly && <ActionDialog />}
        <p class="hint scriptless">
          Without JavaScript the page refreshes itself every 15 seconds{readOnly
            ? "."
            : ", and has no actions."}
        </p>
        <script nonce={nonce}>{raw(SCRIPT)}</script>
      </body>
    </html>
  );
}

/** The part that a refresh replaces. */
function View(props: ViewProps): Html {
  const { settings: { readOnly }, query, stores, page, detail, problem } = props;
  const now = Date.now();
  const href = (changes: Readonly<Record<string, string | null>>) => hrefOf(query, changes);
  const shown = detail !== null && detail !== "absent";
  const back = href({ in: null, key: null });
  return (
    <main id="view" tabindex={-1} data-now={String(now)} class={detail === null ? "" : "split"}>
      <Stores stores={stores} missing={page.missing} />
      {problem !== null && <p class="notice bad" id="problem">{inLine(problem)}</p>}
      {page.refused.slice(0, NAMED).map((circuit) => (
        <p class="notice bad">
          <a href={href({ in: circuit.store, key: circuit.key })}>{inLine(circuit.name)}</a>{" "}
          <Scopes circuit={circuit} /> in {inLine(circuit.store)} cannot be shown:{" "}
          {inLine(circuit.error)}
        </p>
      ))}
      {page.refused.length > NAMED && (
        <p class="notice bad">
          {page.refused.length - NAMED} more cannot be shown.
        </p>
      )}
      {shown && (
        <Detail
          {...detail}
          isRefused={isRefused(stores, detail)}
          readOnly={readOnly}
          now={now}
          back={back}
        />
      )}
      {detail === "absent" && (
        <section id="detail">
          <p class="notice">There is no such circuit any more.</p>
          <a href={back}>Close</a>
        </section>
      )}
      <List
        page={page}
        first={!query.cursor}
        partial={problem !== null || page.missing.length > 0}
        readOnly={readOnly}
        current={shown ? idOf(detail.circuit) : null}
        href={href}
      />
      {page.circuits.length + page.refused.length === 0 && problem === null && (
        <p class="hint" id="empty">
          {page.missing.length > 0
            ? "No store has answered with a circuit."
            : isFiltered(query)
            ? "No circuit matches."
            : "There are no circuits yet: each appears with its first call."}
        </p>
      )}
    </main>
  );
}

function Stores(
  { stores, missing }: { stores: readonly StoreStatus[]; missing: readonly string[] },
): Html {
  return (
    <ul id="stores" aria-label="Stores">
      {stores.map(({ name, ok, latencyMs, traits }) => {
        const answers = ok && !missing.includes(name);
        return (
          <li class={answers ? "good" : "bad"}>
            <b>{inLine(name)}</b> {answers
              ? `answers in ${latencyMs} ms`
              : ok
              ? "did not answer the list"
              : "does not answer"}
            {!answers && <span>: its circuits may be missing here</span>}
            {traits?.audited && <small>keeps a trail</small>}
            {traits !== null && !traits.shared && <small>of one process</small>}
          </li>
        );
      })}
    </ul>
  );
}

/** The parameters that select the circuits. */
const FILTERS = ["text", "state", "store", "context", "boundary", "overridden", "name", "limit"];

function isFiltered(query: Query): boolean {
  return [...FILTERS, "cursor"].some((name) => !!query[name]);
}

function hrefOf(query: Query, changes: Readonly<Record<string, string | null>>): string {
  const next = { ...query, ...changes };
  const parameters = new URLSearchParams();
  for (const name of [...FILTERS, "cursor", "in", "key"]) {
    if (next[name]) parameters.set(name, next[name]);
  }
  return `?${parameters}`;
}

const ICON = "data:image/svg+xml," + encodeURIComponent(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path fill="none" stroke="#4b6bdc" ' +
    'stroke-width="2" stroke-linecap="round" d="M1 10h4M11 10h4M5 10l5-6"/></svg>',
);
