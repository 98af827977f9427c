/**
 * The statements that ask for admission.
 *
 * @module
 */

import { type SQL, sql } from "drizzle-orm";
import {
  BEGIN_GENERATION,
  type Change,
  decide,
  type Dialect,
  OVERRIDDEN,
  OWN,
  time,
  update,
  VALID,
} from "./dialect.ts";
import { $, prepare, type Statement } from "./prepare.ts";
import { appendChange } from "./trail.ts";

/** The statements of `acquire`. A request "wins" if it moves the circuit to HALF_OPEN. */
export interface AcquireStatements extends Change {
  /** Drops leases that have expired, and grants one if there are fewer than `max`. */
  readonly lease: readonly Statement[];
}

/** Builds the statements of `acquire`. */
export function acquireStatements(dialect: Dialect): AcquireStatements {
  const { expired, sealed } = dialect;
  const due = cooldownPassed(dialect);
  return {
    // A request that finds nothing to do leaves no trace.
    decide: decide(dialect, due, sql`(${due} or ${expired}) and ${sealed}`),
    apply: [
      appendChange(dialect),
      update(
        dialect,
        sql`${BEGIN_GENERATION}, state = 'HALF_OPEN', reason = 'cooldown_passed'`,
      ),
    ],
    lease: [dropExpired(dialect), grant(dialect)],
  };
}

/** True of an OPEN circuit that is to go half-open: see `cooldownPassed` of `src/rules/machine.ts`. */
function cooldownPassed({ expired, now }: Dialect): SQL {
  return sql`(
    b.state = 'OPEN' and (not ${OVERRIDDEN} or ${expired})
    and not coalesce(
      ${time("b.open_until")} > ${now} and coalesce(
        b.open_until - ${now} <= b.cooldown_ms + max(b.cooldown_ms, 60000), 1
      ), 0
    )
  )`;
}

/** A lease that ends later than it could was granted by a clock that has since gone back. */
function dropExpired({ circuits, leases, now, ownId }: Dialect): Statement {
  return prepare(sql`
    delete from ${leases} as l
    where l.circuit_breaker_id = ${ownId} and (
      coalesce(${time("l.until")}, 0) <= ${now}
      or (not l.ended and l.until - ${now} > 2 * l.lease_ms)
      or not (select ${VALID} from ${circuits} b where ${OWN})
    )`);
}

function grant({ circuits, leases, now }: Dialect): Statement {
  return prepare(sql`
    insert into ${leases} (
      circuit_breaker_id, token, generation, began, until, lease_ms, ended
    )
    select b.id, ${$("token")}, b.generation, b.began, ${now} + ${$("leaseMs")}, ${$("leaseMs")}, 0
    from ${circuits} b
    where ${OWN} and b.state = 'HALF_OPEN' and not ${OVERRIDDEN}
      and (
        select count(*) from ${leases} l where l.circuit_breaker_id = b.id and not l.ended
      ) < ${$("max")}
    on conflict do nothing`);
}
