/**
 * The row of a circuit whose state another store keeps: it repeats the newest row of the trail, so
 * that queries by state, and joins, find the current state.
 *
 * @module
 */

import { type SQL, sql } from "drizzle-orm";
import { CIRCUIT_STATES, OVERRIDES } from "../../src/records.ts";
import type { CircuitState, OverrideRecord, UntoldRow } from "../../src/contract.ts";
import { jsonOf } from "./metadata.ts";
import { type Row, storedSnapshot } from "./rows.ts";
import type { After } from "./seal.ts";
import type { Tables } from "./statements/dialect.ts";
import { $, prepare, type Statement, type Values } from "./statements/prepare.ts";

/** A circuit as described by its rows. */
export interface Mirror extends After {
  readonly openedAt: number | null;
  readonly closedAt: number | null;
  /** JSON. */
  readonly lastFailure: string | null;
}

const FRESH: Mirror = {
  ...{ state: "CLOSED", openUntil: null, cooldownMs: null, reason: "", override: null },
  ...{ openedAt: null, closedAt: null, lastFailure: null },
};

/** Returns the circuit of an answer. */
export function mirrorOf(row: Row): Mirror {
  const { state, openUntil, cooldownMs, reason, override, openedAt, closedAt, lastFailure } =
    storedSnapshot(row, { windowMs: 1, windowSize: 0 });
  return {
    ...{ state, openUntil, cooldownMs, reason, override, openedAt, closedAt },
    lastFailure: lastFailure && jsonOf(lastFailure),
  };
}

/**
 * Returns the circuit after a change. The row may contain the circuit afterwards (`after`);
 * otherwise it follows from the event, as far as possible.
 *
 * @param before The circuit before, or `null` if there was none.
 * @returns The circuit, or `null` if it was removed.
 */
export function mirrorAfter(
  before: Mirror | null,
  { event, at, metadata }: Pick<UntoldRow, "event" | "at"> & {
    readonly metadata: Readonly<Record<string, unknown>> | null;
  },
): Mirror | null {
  if (event === "removed") return null;
  const said = metadata ?? {};
  const circuit = { ...before ?? FRESH, ...changeOf(event, at, said) };
  const after = told(said.after);
  return after === null ? circuit : { ...circuit, ...after };
}

/** Returns the changes that an event makes by itself. */
function changeOf(
  event: UntoldRow["event"],
  at: number,
  said: Readonly<Record<string, unknown>>,
): Partial<Mirror> {
  const { to, until, lastFailure } = said;
  const reason = typeof said.reason === "string" ? said.reason : "";
  const cooldownMs = whole(said.cooldownMs);
  switch (event) {
    case "opened":
      return {
        ...{ state: "OPEN", reason, cooldownMs, openedAt: whole(at) },
        openUntil: cooldownMs === null ? null : Math.round(at) + cooldownMs,
        lastFailure: lastFailure == null ? null : jsonOf(lastFailure as Record<string, unknown>),
      };
    case "half_opened":
      return { state: "HALF_OPEN", reason: "cooldown_passed" };
    case "closed":
    case "reset":
      return { state: "CLOSED", reason, openUntil: null, cooldownMs: null, closedAt: whole(at) };
    case "released":
      return { override: null };
    case "imported":
      return { ...FRESH, state: isState(to) ? to : "CLOSED" };
    default:
      return {
        override: overrideOf({ kind: event, until, reason: said.reason, actor: said.actor }),
      };
  }
}

/** Reads the circuit afterwards from a row; `null` if the row does not contain it. */
function told(after: unknown): After | null {
  const { state, openUntil, cooldownMs, reason, override } = Object(after);
  if (!isState(state)) return null;
  return {
    ...{ state, openUntil: whole(openUntil), cooldownMs: whole(cooldownMs) },
    ...{ reason: typeof reason === "string" ? reason : "", override: overrideOf(override) },
  };
}

function overrideOf(override: unknown): OverrideRecord | null {
  const { kind, until, reason, actor } = Object(override);
  if (!OVERRIDES.includes(kind)) return null;
  return { kind, until: whole(until), reason: text(reason), actor: text(actor) };
}

function isState(state: unknown): state is CircuitState {
  return CIRCUIT_STATES.includes(state as CircuitState);
}

function whole(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? Math.round(value) : null;
}

function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

/** Returns the part of a row that says how the circuit is afterwards. */
export function afterOf(mirror: Mirror | null): After | null {
  if (mirror === null) return null;
  const { state, openUntil, cooldownMs, reason, override } = mirror;
  return { state, openUntil, cooldownMs, reason, override };
}

/** Returns the values of {@linkcode mirror}. */
export function mirrorValues(
  mirror: Mirror,
  { epoch, generation, began, at }: Pick<UntoldRow, "epoch" | "generation" | "began" | "at">,
): Values {
  const { override, ...circuit } = mirror;
  return {
    ...circuit,
    ...{ epoch, generation, began, at, kind: override && override.kind },
    ...{ until: override && override.until, overrideReason: override && override.reason },
    actor: override && override.actor,
  };
}

/**
 * Writes the circuit, in the batch that appends its rows.
 *
 * @param appended Whether the batch appends rows.
 */
export function mirror({ circuits }: Tables, appended: SQL): Statement {
  return prepare(sql`
    update ${circuits} as b set
      epoch = ${$("epoch")}, generation = ${$("generation")}, began = ${$("began")},
      evidence_since = ${$("generation")}, revision = revision + 2, updated_at = ${$("at")},
      state = ${$("state")}, reason = ${$("reason")}, open_until = ${$("openUntil")},
      cooldown_ms = ${$("cooldownMs")}, opened_at = ${$("openedAt")},
      closed_at = ${$("closedAt")}, last_failure = ${$("lastFailure")},
      override = ${$("kind")}, override_until = ${$("until")},
      override_reason = ${$("overrideReason")}, override_actor = ${$("actor")},
      half_open_successes = 0, half_open_failures = 0
    where b.key = ${$("key")} and ${appended}`);
}

/**
 * Removes the circuit, in the batch that appends its rows. A decision is written before, as for a
 * removal by the store: without one, the trigger records a deletion by hand.
 */
export function forget({ circuits, requests, ...tables }: Tables, appended: SQL): Statement[] {
  return [
    prepare(sql`
      insert into ${requests} (circuit_breaker_id, id, at, won, revision)
      select b.id, 'removed by another store', ${$("at")}, 1, b.revision + 2
      from ${circuits} b where b.key = ${$("key")} and ${appended}
      on conflict (circuit_breaker_id, id) do update set revision = excluded.revision`),
    prepare(sql`delete from ${circuits} as b where b.key = ${$("key")} and ${appended}`),
    ...[tables.windows, tables.leases, requests].map((table) =>
      prepare(sql`
        delete from ${table} where circuit_breaker_id = ${$("circuit")} and ${appended}`)
    ),
  ];
}
