/**
 * The JSON API of the dashboard.
 *
 * @module
 */

import type { Context, Hono } from "hono";
import { quote } from "../checks.ts";
import { isStoreUnavailableError } from "../errors.ts";
import { act, type Action, ACTIONS, fromSegment, OVERRIDING } from "../operator.ts";
import { BadRequest, find, readSearch } from "./find.ts";
import { breakerOf, checkStores, isAbsent, lookAt, type Place, trailOf } from "./look.ts";
import type { Settings } from "./settings.ts";

/** The default number of circuits of a page. */
const LIMIT = 100;
/** The number of events in the answer about a circuit. */
const EVENTS = 20;

/** Adds the routes of the API. */
export function addApi(app: Hono, { fuseOf, actorOf }: Settings): void {
  app.get("/api/stores", async (c) => c.json(await checkStores(fuseOf(c))));

  app.get("/api/circuits", (c) =>
    answer(c, async () => {
      const fuse = fuseOf(c);
      return await find(fuse, readSearch(fuse, c.req.query(), LIMIT));
    }));

  app.get("/api/circuits/:store/:key", (c) =>
    answer(c, async () => {
      const fuse = fuseOf(c);
      const breaker = breakerOf(fuse, placeOf(c));
      if (breaker === null) return null;
      const shown = await lookAt(breaker);
      if (isAbsent(shown.circuit)) return null;
      const { events } = await trailOf(fuse, breaker, EVENTS);
      return { ...shown, events };
    }));

  app.post("/api/circuits/:store/:key/:action", (c) => {
    const asked = c.req.param("action");
    const action = ACTIONS.find((action) => action === asked);
    if (action === undefined) {
      const error = `There is no action ${quote(asked)}, only ${ACTIONS.join(", ")}`;
      return c.json({ error }, 404);
    }
    return answer(c, async () => {
      const breaker = breakerOf(fuseOf(c), placeOf(c));
      if (breaker === null) return null;
      const { reason, forMs } = readOrder(action, await c.req.json().catch(() => null));
      await act(breaker, action, { reason, forMs, actor: actorOf(c) });
      return action === "remove" ? { circuit: null, explanation: null } : await lookAt(breaker);
    });
  });
}

function placeOf({ req }: Context): Place {
  return { store: fromSegment(req.param("store")!), key: fromSegment(req.param("key")!) };
}

/** Answers with JSON: 404 for `null`, and with a specific status for expected errors. */
async function answer(c: Context, work: () => Promise<object | null>): Promise<Response> {
  try {
    const body = await work();
    return body === null ? c.json({ error: "There is no such circuit" }, 404) : c.json(body);
  } catch (error) {
    if (error instanceof BadRequest) return c.json({ error: error.message }, 400);
    if (isStoreUnavailableError(error)) return c.json({ error: error.message }, 503);
    throw error;
  }
}

/** The longest reason that circuits accept, in characters. */
const MAX_REASON = 1000;

/** @throws {BadRequest} If the body is not valid, or not for this action. */
function readOrder(action: Action, body: unknown): { reason: string; forMs: number | undefined } {
  const { reason, forMs } = Object(body) as Record<string, unknown>;
  if (typeof reason !== "string" || reason.trim() === "") {
    throw new BadRequest(`The body must be JSON with a "reason", a text that is not empty`);
  }
  if (reason.length > MAX_REASON) {
    throw new BadRequest(`"reason" must have at most ${MAX_REASON} characters`);
  }
  if (forMs === undefined) return { reason: reason.trim(), forMs };
  if (!OVERRIDING.includes(action)) throw new BadRequest(`"forMs" does not go with ${action}`);
  if (!Number.isSafeInteger(forMs) || (forMs as number) < 1) {
    throw new BadRequest(`"forMs" must be a positive integer, or left out for no end`);
  }
  return { reason: reason.trim(), forMs: forMs as number };
}
