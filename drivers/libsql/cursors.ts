/**
 * The cursors for delivering the trail.
 *
 * @module
 */

import { type SQL, sql } from "drizzle-orm";
import {
  ANNOUNCED,
  type Claim,
  type ClaimRequest,
  type CursorName,
  type DeliveredRow,
  type DeliveredTrail,
  type MoveRequest,
} from "../../src/cursors.ts";
import { send, type SqlResult } from "./client.ts";
import { eventOf } from "./history.ts";
import type { Configuration } from "./options.ts";
import { nowTerm, type Tables, tablesOf } from "./statements/dialect.ts";
import { $, prepare, type Statement, type Values } from "./statements/prepare.ts";

/** The trail of a database, to be delivered. */
export class DatabaseTrail implements DeliveredTrail {
  readonly #configuration: Configuration;
  #statements: ReturnType<typeof makeStatements> | undefined;

  constructor(configuration: Configuration) {
    this.#configuration = configuration;
  }

  async claim({ events, ...request }: ClaimRequest): Promise<Claim | null> {
    const { begin, hold, cursor, end, rows } = this.#all;
    const values = { ...this.#now(), ...request, events: JSON.stringify(events), announced: "[]" };
    const results = await this.#send([begin, hold, cursor, end, rows], values);
    const [held, last] = [results[2]!.rows[0], results[3]!.rows[0]];
    if (held === undefined) return null;
    const found = Array.from(results[4]!.rows, rowOf);
    const more = found.length === request.limit;
    return {
      position: Number(held.position),
      end: more ? Number(found.at(-1)!.id) : Number(last!.id),
      more,
      rows: found,
      announced: textsOf(held.told),
    };
  }

  async move({ announced, ...request }: MoveRequest): Promise<boolean> {
    const { move, count } = this.#all;
    const values = { ...request, announced: JSON.stringify(announced) };
    const results = await this.#send([move, count], values);
    return Number(results[1]!.rows[0]!.n) > 0;
  }

  async announce(
    cursor: CursorName & { readonly lookBackMs: number },
    changes: readonly string[],
  ): Promise<void> {
    const { begin, announce } = this.#all;
    const announced = JSON.stringify(changes.map((change) => change.toWellFormed()));
    await this.#send([begin, announce], { ...this.#now(), ...cursor, announced });
  }

  get #all() {
    const { schema, clock } = this.#configuration;
    return this.#statements ??= makeStatements(tablesOf(schema), nowTerm(clock !== undefined));
  }

  #now(): Values {
    const { clock } = this.#configuration;
    return clock === undefined ? {} : { now: clock() };
  }

  async #send(statements: readonly Statement[], values: Values): Promise<readonly SqlResult[]> {
    const { connection } = this.#configuration;
    return await send(connection, statements.map((statement) => statement(values)));
  }
}

/** Returns a row of the trail. */
function rowOf(row: Readonly<Record<string, unknown>>): DeliveredRow {
  const { cursor: _, ...event } = eventOf(row);
  const [generation, began] = [row.generation, row.began].map(Number) as [number, number];
  const isOfGeneration = typeof row.epoch === "string" && row.generation !== null;
  return {
    ...event,
    generation: isOfGeneration ? { epoch: String(row.epoch), generation, began } : null,
  };
}

/** Returns the texts in JSON; none if the JSON is invalid. */
function textsOf(json: unknown): string[] {
  try {
    const texts: unknown = JSON.parse(String(json) || "[]");
    return Array.isArray(texts) ? texts.filter((text) => typeof text === "string") : [];
  } catch {
    return [];
  }
}

/** Builds the statements. */
function makeStatements({ cursors, events }: Tables, now: SQL) {
  const own = sql`name = ${$("name")} and channel = ${$("channel")}`;
  const held = sql`${own} and holder = ${$("holder")}`;
  // A cursor begins after the last row that is older than that.
  const start = sql`coalesce(
    (select max(e.id) from ${events} e where e.created_at < ${now} - ${$("lookBackMs")}), 0
  )`;
  const told = sql`iif(json_valid(told), told, '[]')`;
  const kind = sql`e.event in (select value from json_each(${$("events")}))`;
  return {
    begin: prepare(sql`
      insert into ${cursors} (name, channel, position)
      select ${$("name")}, ${$("channel")}, ${start} where true
      on conflict (name, channel) do nothing`),
    // Nobody holds a cursor for longer: such a hold is from a clock that has gone back since.
    hold: prepare(sql`
      update ${cursors} set
        position = iif(holder = '', max(position, ${start}), position),
        holder = ${$("holder")}, held_until = ${now} + ${$("holdMs")}
      where ${own} and (
        holder = ${$("holder")} or held_until <= ${now} or held_until > ${now} + ${$("holdMs")}
      )`),
    cursor: prepare(sql`select position, told from ${cursors} where ${held}`),
    end: prepare(sql`
      select max(coalesce((select max(e.id) from ${events} e), 0), position) as id
      from ${cursors} where ${held}`),
    rows: prepare(sql`
      select e.id, e.key as "key", e.event as "event", e.metadata as "metadata",
        e.created_at as "at", e.epoch, e.generation, e.began
      from ${events} e
      where e.id > (select position from ${cursors} where ${held}) and ${kind}
      order by e.id limit ${$("limit")}`),
    move: prepare(sql`
      update ${cursors} set position = ${$("to")}, held_until = 0, told = (
        select json_group_array(t.value) from json_each(${told}) t
        where t.value not in (select value from json_each(${$("announced")}))
      )
      where ${held} and position = ${$("from")}`),
    announce: prepare(sql`
      update ${cursors} set told = (
        select json_group_array(value) from (
          select value from (
            select value, 0 as late, key from json_each(${told})
            union all
            select value, 1 as late, key from json_each(${$("announced")})
          ) order by late desc, key limit ${sql.raw(`${ANNOUNCED}`)}
        )
      )
      where ${own}`),
    count: prepare(sql`select changes() as n`),
  };
}
