/**
 * Comparing a circuit with the newest row of its trail.
 *
 * @module
 */

/** A circuit, as far as rows describe it. */
export interface Circuit {
  readonly epoch: string;
  readonly generation: number;
  readonly began: number;
  readonly state: string;
  readonly openUntil: number | null;
  readonly cooldownMs: number | null;
  readonly reason: string;
  /** The kind, the end, the reason and the actor of its override. */
  readonly kind: string | null;
  readonly until: number | null;
  readonly overrideReason: string | null;
  readonly actor: string | null;
}

/** The newest row of a trail. */
export interface LastRow {
  readonly id: number;
  readonly epoch: string | null;
  readonly generation: number | null;
  readonly began: number | null;
  readonly event: string;
  /** JSON. */
  readonly metadata: string | null;
}

/** A problem of a circuit. */
export interface Difference {
  readonly problem: "circuit" | "removed" | "unchained";
  readonly detail?: string;
}

/** The fields that rows contain, and their columns in the database. */
const FIELDS: readonly [
  column: string,
  of: keyof Circuit,
  at: "after" | "override",
  field: string,
][] = [
  ["state", "state", "after", "state"],
  ["open_until", "openUntil", "after", "openUntil"],
  ["cooldown_ms", "cooldownMs", "after", "cooldownMs"],
  ["reason", "reason", "after", "reason"],
  ["override", "kind", "override", "kind"],
  ["override_until", "until", "override", "until"],
  ["override_reason", "overrideReason", "override", "reason"],
  ["override_actor", "actor", "override", "actor"],
];

/**
 * Compares a circuit with the newest row of its trail.
 *
 * A circuit in its first generation has no rows of its own. What the newest row says of an earlier life
 * is not compared with it, but that life must have ended by a row.
 *
 * @param circuit The circuit, or `null` if there is none.
 * @param last Its newest row, or `null` if it has none. Both are of one moment.
 * @returns What is wrong, or `null`.
 */
export function differenceOf(circuit: Circuit | null, last: LastRow | null): Difference | null {
  if (last === null) return circuit === null || isNew(circuit) ? null : { problem: "unchained" };
  const after = afterOf(last);
  // A row that says nothing of the circuit was written by hand, and is found as such.
  const ended = after === null;
  if (circuit === null) return ended ? null : circuitIs("it is gone");
  if (circuit.epoch !== last.epoch) {
    if (!isNew(circuit)) return { problem: "unchained" };
    return ended ? null : circuitIs("it is another one");
  }
  if (ended) return circuitIs("it was removed");
  if (circuit.generation > (last.generation ?? 0)) return { problem: "removed" };
  if (circuit.generation !== last.generation || circuit.began !== last.began) {
    return circuitIs("its generation");
  }
  const told = { after, override: Object(after.override) as Record<string, unknown> };
  const field = FIELDS.find(([, of, at, field]) => {
    // Without an override, the rest of its fields means nothing.
    const is = at === "override" && circuit.kind === null ? null : circuit[of];
    return is !== (told[at][field] ?? null);
  });
  return field === undefined ? null : circuitIs(`its ${field[0]}`);
}

function circuitIs(detail: string): Difference {
  return { problem: "circuit", detail };
}

/** Returns `true` if a circuit is as every circuit begins. */
function isNew({ generation, state, kind }: Circuit): boolean {
  return generation === 1 && state === "CLOSED" && kind === null;
}

/** Returns the circuit as it was after a row; `null` if there was none afterwards. */
function afterOf({ metadata }: LastRow): Record<string, unknown> | null {
  try {
    return JSON.parse(metadata!).after ?? null;
  } catch {
    return null;
  }
}
