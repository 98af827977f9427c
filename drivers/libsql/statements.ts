/**
 * The statements of the libSQL store, built by Drizzle once and bound for each request.
 *
 * A request that writes is one batch. Its first statement decides: it writes to
 * `circuit_breaker_requests` when the request came, whether the request wins, and which `revision`
 * the circuit will have once the request is applied. The other statements read that row, and do
 * nothing if the circuit has that revision already. So a request that arrives twice changes nothing
 * the second time, and all statements of a batch share one moment, although the database's clock
 * moves between them.
 *
 * A request raises the revision by two: by one when it releases an override that has run out, and
 * to the full when it is applied.
 *
 * @module
 */

import { sql } from "drizzle-orm";
import type { FuseSchema } from "./schema.ts";
import { type AcquireStatements, acquireStatements } from "./statements/acquire.ts";
import { type ChangeStatements, changeStatements } from "./statements/change.ts";
import {
  type Change,
  decide,
  type Dialect,
  makeDialect,
  OWN,
  WINNING,
} from "./statements/dialect.ts";
import { $, prepare, type Statement } from "./statements/prepare.ts";
import { type ReadStatements, readStatements } from "./statements/read.ts";
import { type RecordStatements, recordStatements } from "./statements/record.ts";
import { appendChange, mark, type TrailStatements, trailStatements } from "./statements/trail.ts";

/** All statements of a store. */
export interface Statements extends ReadStatements, TrailStatements, ChangeStatements {
  /** Creates the circuit, if there is none. */
  readonly create: Statement;
  readonly record: RecordStatements;
  readonly acquire: AcquireStatements;
  /** Writes to a table without triggers, and leaves nothing there. */
  readonly check: readonly Statement[];
  /** Replaces an invalid circuit by a new one. */
  readonly renew: readonly Statement[];
  /** Removes the circuit, after the row that records it. The last statement has a row if it did. */
  readonly remove: Change;
}

/**
 * Builds all statements of a store.
 *
 * @param schema The tables of the store.
 * @param bindsNow Whether the time is bound, as `now`. Else it is the database's.
 */
export function makeStatements(schema: FuseSchema, bindsNow: boolean): Statements {
  const dialect = makeDialect(schema, bindsNow);
  return {
    ...readStatements(dialect),
    ...trailStatements(dialect),
    ...changeStatements(dialect),
    create: create(dialect),
    renew: renew(dialect),
    record: recordStatements(dialect),
    acquire: acquireStatements(dialect),
    check: check(dialect),
    remove: remove(dialect),
  };
}

/**
 * The epoch of a life is the id of the request that began it, and the moment: if the same request is
 * sent again after a removal, it begins another life.
 */
function create({ circuits, now }: Dialect): Statement {
  return prepare(sql`
    insert into ${circuits} (key, name, context, boundary, epoch, began, created_at, updated_at)
    select ${$("key")}, ${$("name")}, ${$("context")}, ${$("boundary")},
      ${$("id")} || '.' || c.now, c.now, c.now, c.now
    from (select ${now} as now) c
    where true on conflict (key) do nothing`);
}

/**
 * Deletes the circuit, as a user would by hand, so that the trigger records it, and creates a new
 * one.
 */
function renew(dialect: Dialect): Statement[] {
  const { circuits, leases, ownId, requests, windows } = dialect;
  return [
    // The trigger's row must be valid. With another revision than before, or this would be an edit.
    prepare(sql`
      update ${circuits} as b set
        state = 'CLOSED', generation = 1, epoch = cast(epoch as text), revision = (revision is 0)
      where ${OWN}`),
    ...[windows, leases, requests].map((table) =>
      prepare(sql`delete from ${table} where circuit_breaker_id = ${ownId}`)
    ),
    prepare(sql`delete from ${circuits} as b where ${OWN}`),
    create(dialect),
  ];
}

/** The decision of a request for a circuit that cannot exist. */
function check({ requests }: Dialect): Statement[] {
  return [
    prepare(sql`
      insert into ${requests} (circuit_breaker_id, id, at, won, revision)
      values (-1, ${$("id")}, 0, 0, 0)`),
    prepare(sql`delete from ${requests} where circuit_breaker_id = -1`),
  ];
}

function remove(dialect: Dialect): Change {
  const { circuits, leases, requests, windows } = dialect;
  const won = sql`exists (select 1 from ${requests} r where ${WINNING})`;
  const owned = sql`circuit_breaker_id not in (select b.id from ${circuits} b)`;
  return {
    decide: decide(dialect, sql`1`),
    apply: [
      appendChange(dialect),
      mark(dialect),
      prepare(sql`delete from ${circuits} as b where ${OWN} and ${won} returning id`),
      ...[windows, leases, requests].map((table) =>
        prepare(sql`delete from ${table} where circuit_breaker_id = ${$("circuit")} and ${owned}`)
      ),
    ],
  };
}
