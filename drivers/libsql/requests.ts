/**
 * Sending the requests of a store: batches whose last statement reads the circuit, and the rows of
 * the trail that they append.
 *
 * @module
 */

import type { Answer, RemoveRequest, StoreRequest } from "../../src/contract.ts";
import { identify } from "../../src/key.ts";
import { isStoreAnswerError } from "../../src/errors.ts";
import { newId, originOf } from "../../src/records.ts";
import { Answers, heard, type Known } from "./answers.ts";
import { type Digest, makeDigests } from "./chain.ts";
import { send, type SqlResult, type SqlStatement, untilApplied } from "./client.ts";
import { DATABASE } from "./failures.ts";
import type { Configuration } from "./options.ts";
import { checkRow, parseRow, releasedBy, type Row, snapshotOf } from "./rows.ts";
import { type ChangeRow, editsOf, seal, type Sealed, sealEdits } from "./seal.ts";
import { makeStatements, type Statements } from "./statements.ts";
import type { Statement, Values } from "./statements/prepare.ts";
import { EDITS } from "./statements/read.ts";

/** The minimum of a request. */
export const ANONYMOUS: RemoveRequest = {
  ...{ id: "", at: 0, shape: { windowMs: 1, windowSize: 0 }, reason: null, actor: null },
};

/** The requests of one store. */
export class Requests {
  /** The last answers. */
  readonly answers: Answers = new Answers();
  readonly #configuration: Configuration;
  #statements: Statements | undefined;
  /** `true` from an answer to another request on, until an answer is to its own again. */
  #slipped = false;

  constructor(configuration: Configuration) {
    this.#configuration = configuration;
  }

  /** All statements, built when they are first needed. */
  get statements(): Statements {
    const { schema, clock } = this.#configuration;
    return this.#statements ??= makeStatements(schema, clock !== undefined);
  }

  /** The time on the store's clock, if the store was given one. */
  time(): number | undefined {
    return this.#configuration.clock?.();
  }

  /** Makes the digest of the store's trail. */
  digest(): Promise<Digest> {
    return makeDigests(this.#configuration.trailKeys);
  }

  /** Sends statements that are bound already. */
  async send(work: SqlStatement[] | SqlStatement): Promise<readonly SqlResult[]> {
    try {
      return await send(this.#configuration.connection, work);
    } catch (error) {
      // While answers come to the wrong requests, so may errors.
      throw this.#slipped && isStoreAnswerError(error) ? new Error(error.message) : error;
    }
  }

  /** Reads a circuit, and which of the named tallies it contains, if there are any. */
  async read(key: string, named?: readonly string[]): Promise<Row> {
    const id = newId();
    const { read, readNaming } = this.statements;
    const values = { ...this.#now(), key, id };
    const [result] = await this.send(
      named === undefined ? read(values) : readNaming({ ...values, named: JSON.stringify(named) }),
    );
    const row = this.#named(result!.rows[0], id, key);
    this.answers.learn(key, row);
    return row;
  }

  /** Reads a page of circuits: each as {@linkcode rowOf} takes it, with its id and the bytes of its key. */
  async list(values: Values): Promise<SqlResult["rows"][number][]> {
    const id = newId();
    const [result] = await this.send(this.statements.list({ ...values, ...this.#now(), id }));
    const [name, ...rows] = Array.from(result!.rows);
    this.#named(name, id, null);
    return rows;
  }

  /**
   * Returns the circuit of an answer.
   *
   * @throws {Error} If the answer names another request: it came to the wrong one.
   */
  #named(result: SqlResult["rows"][number] | undefined, id: string, key: string | null): Row {
    const row = parseRow(result);
    this.#slipped =
      !(row.request === id.toWellFormed() && row.asked === (key?.toWellFormed() ?? null));
    if (this.#slipped) throw new Error(`${DATABASE}its answer is to another request`);
    return checkRow(row);
  }

  /** Sends a batch whose last statement reads the circuit. */
  async write(
    key: string,
    request: StoreRequest,
    statements: readonly Statement[],
    values: Values,
  ): Promise<Row> {
    return (await this.sendAll(key, request, statements, values)).row;
  }

  /** Sends a batch whose last statement reads the circuit, and returns what the others answered, too. */
  async sendAll(
    key: string,
    request: StoreRequest,
    statements: readonly Statement[],
    values: Values,
  ): Promise<{ readonly row: Row; readonly results: readonly SqlResult[] }> {
    const { name, context, boundary } = identify("", key);
    // A request without an id is never sent again, but must differ from all others.
    const id = request.id || newId();
    const all = { sealed: 0, ...values, ...this.#now(), key, name, context, boundary, id };
    return this.#learn(key, id, await this.send(statements.map((statement) => statement(all))));
  }

  /** Sends a batch that is bound already, and reads the circuit after it. */
  async sendFor(
    key: string,
    statements: readonly SqlStatement[],
  ): Promise<{ results: readonly SqlResult[]; row: Row }> {
    const id = newId();
    const answer = this.statements.answer({ ...this.#now(), key, id });
    return this.#learn(key, id, await this.send([...statements, answer]));
  }

  #learn(key: string, id: string, answers: readonly SqlResult[]) {
    const row = this.#named(answers.at(-1)!.rows[0], id, key);
    this.answers.learn(key, row);
    return { row, results: answers.slice(0, -1) };
  }

  #now(): Values {
    const now = this.time();
    return now === undefined ? {} : { now };
  }

  /** Hashes the rows that a request appends to the trail, from the last answer about the circuit. */
  async seal(
    key: string,
    known: Known,
    request: StoreRequest,
    change: ChangeRow | null,
  ): Promise<Sealed> {
    const digest = await this.digest();
    const latest = await this.#sealAllButAPage(key, known);
    const origin = originOf(request);
    return await seal({ digest, key, known: latest, now: this.time(), origin }, change);
  }

  /** Returns the last answer about a circuit. Creates the circuit, if none is known. */
  async look(key: string): Promise<Row> {
    let known = this.answers.get(key);
    const { create, answer } = this.statements;
    if (known?.row.id == null) {
      known = heard(await this.write(key, ANONYMOUS, [create, answer], {}));
    }
    return (await this.#sealAllButAPage(key, known)).row;
  }

  /**
   * Takes edits by hand into the chain until one request can take the rest: a row that records a change
   * comes after all edits. Returns the circuit with that rest.
   */
  async #sealAllButAPage(key: string, known: Known): Promise<Known> {
    return await untilApplied(async () => {
      known = await this.#withEdits(key, await this.sealEdits(key, known, EDITS));
      return editsOf(known.row).length < EDITS ? known : undefined;
    });
  }

  /** Takes the oldest edits by hand into the chain, if there are at least so many. */
  async sealEdits(key: string, known: Known, many: number): Promise<Known> {
    if (!(Number(known.row.unsealed) >= many)) return known;
    const latest = await this.#withEdits(key, known);
    if (editsOf(latest.row).length < many) return latest;
    const { sealEdits: apply, answer } = this.statements;
    const { values } = await sealEdits(await this.digest(), key, latest.row);
    return heard(await this.write(key, ANONYMOUS, [...apply, answer], values));
  }

  /** Reads the edits by hand that an answer counts. One request, if there are some. */
  async #withEdits(key: string, known: Known): Promise<Known> {
    if (!known.row.unsealed || known.row.edits !== undefined) return known;
    const id = newId();
    const [result] = await this.send(this.statements.edits({ key, id }));
    const { edits } = this.#named(result!.rows[0], id, key);
    return { ...known, row: { ...known.row, edits } };
  }

  /** Returns the statements that go between a decision and what applies it. */
  before({ edits, expired }: Sealed): readonly Statement[] {
    const { seal, expire } = this.statements;
    return [...edits ? [seal] : [], ...expired ? expire : []];
  }
}

/** Returns the answer to a request. */
export function answerOf(row: Row, { id, shape }: StoreRequest): Answer {
  const { head } = row;
  return {
    ...{ snapshot: snapshotOf(row, shape), released: releasedBy(row, id) },
    ...typeof head === "string" && head !== "" ? { head } : null,
  };
}
