/**
 * Guards a store: every request has a deadline, and whatever fails repeatedly gets growing
 * back-offs. The scope of a failure is as narrow as possible: the whole store, one kind of
 * requests, or one circuit. Holds values only, never a promise.
 *
 * @module
 */

import { quote, received } from "../checks.ts";
import type { Awaitable, Clock } from "../contract.ts";
import { type AnswerScope, isStoreAnswerError, StoreUnavailableError } from "../errors.ts";
import type { Events } from "../events.ts";
import type { CircuitIdentity } from "../key.ts";
import { Backoff } from "./backoff.ts";
import { withDeadline } from "./deadline.ts";

/** The kind of a request. A store may answer reads and refuse writes. */
export type RequestKind = "reads" | "writes";

/** The back-offs of one circuit. */
export interface CircuitHealth {
  reads: Backoff | null;
  writes: Backoff | null;
  /** `true` while the store fails this circuit, and answers others. */
  refused: boolean;
}

/** The circuit whose request it is. */
export interface Requester {
  readonly identity: CircuitIdentity;
  /** `null` until the store has failed it. */
  health: CircuitHealth | null;
}

/** A request to a store. */
export interface Asking<T> {
  /** For events, such as `record`. */
  readonly operation: string;
  readonly kind: RequestKind;
  /** Left out for a request that concerns many circuits. */
  readonly circuit?: Requester;
  /** `true` for an operator's request, which is sent even during a back-off. */
  readonly always?: boolean;
  readonly send: () => Awaitable<T>;
  /** Returns the proof in an answer. By default, that requests of this kind work. */
  readonly proves?: (answer: T) => RequestKind;
}

/** The number of circuits refused in a row that counts as a refusal of all. */
const MANY = 3;

/** The requests of one kind, over all circuits. */
interface Kind {
  readonly backoff: Backoff;
  /** The circuits that were refused since the last success. */
  readonly refused: Set<string>;
}

/** A request on its way. */
interface Attempt {
  readonly number: number;
  /** The back-offs that it probes. */
  readonly probes: readonly Backoff[];
}

/** Guards one named store of a Fuse. */
export class StoreGuard {
  readonly timeoutMs: number;
  readonly #name: string;
  readonly #clock: Clock;
  readonly #events: Events;
  readonly #random: (() => number) | undefined;
  /** The whole store. */
  readonly #transport: Backoff;
  readonly #kinds: Readonly<Record<RequestKind, Kind>>;
  /** Numbers requests, so that a missed deadline knows what was answered meanwhile. */
  #sent = 0;
  #lastAnswered = 0;
  /** The store's last failure: its answer, or the error that kept it from answering. */
  #cause: { readonly error: unknown; readonly answered: boolean } | null = null;
  #taken = 0;
  /** `true` if the last request that concerns no circuit, such as `list`, failed. */
  #aloneFailed = false;
  /** The number of circuits that the guard knows. */
  #circuits = 0;

  constructor(
    name: string,
    timeoutMs: number,
    clock: Clock,
    events: Events,
    random?: () => number,
  ) {
    this.#name = name;
    this.timeoutMs = timeoutMs;
    this.#clock = clock;
    this.#events = events;
    this.#random = random;
    const kind = () => ({ backoff: new Backoff(timeoutMs, random), refused: new Set<string>() });
    this.#transport = new Backoff(timeoutMs, random);
    this.#kinds = { reads: kind(), writes: kind() };
  }

  /** `true` if the last news about the store as a whole is a failure. */
  get failing(): boolean {
    const { reads, writes } = this.#kinds;
    return this.#transport.failing || reads.backoff.failing || writes.backoff.failing;
  }

  /** The number of writes that the store has confirmed. */
  get taken(): number {
    return this.#taken;
  }

  /** Notes that there is one more circuit. */
  register(): void {
    this.#circuits++;
  }

  /** Returns `true` while requests of a kind, for this circuit, are held back. */
  blocks(kind: RequestKind, circuit: Requester | null, now: number): boolean {
    if (this.#transport.down(now)) return true;
    const { backoff, refused } = this.#kinds[kind];
    const own = circuit?.health?.[kind] ?? null;
    if (own !== null && own.down(now)) return true;
    if (!backoff.failing) return false;
    if (backoff.down(now)) return true;
    // A single request probes for all: of a circuit that has not failed itself, if there is one.
    return own !== null && own.failing && refused.size < this.#circuits &&
      backoff.leftMs(now) > -this.timeoutMs;
  }

  /** Returns the error for a call that needs the store during a back-off. */
  unavailable(
    now: number,
    kind: RequestKind = "reads",
    circuit: Requester | null = null,
  ): StoreUnavailableError {
    const failing = this.#scopes(kind, circuit).filter((scope) => scope.failing);
    const retryAfterMs = Math.max(1, ...failing.map((scope) => Math.ceil(scope.leftMs(now))));
    return new StoreUnavailableError(this.#name, retryAfterMs, this.#cause ?? undefined);
  }

  /**
   * Sends a request, at once and in this turn, and waits for at most `timeoutMs`.
   *
   * @throws {StoreUnavailableError} If the request failed, was not answered in time, or is held back.
   */
  async run<T>(asking: Asking<T>): Promise<T> {
    const { kind, circuit = null } = asking;
    const now = this.#clock();
    if (asking.always !== true && this.blocks(kind, circuit, now)) {
      throw this.unavailable(now, kind, circuit);
    }
    const attempt = this.#begin(kind, circuit, now);
    let answer: T;
    try {
      answer = await withDeadline(asking.send, this.timeoutMs);
    } catch (error) {
      throw this.#failed(asking, attempt, error);
    }
    this.#answered(attempt, asking.proves?.(answer) ?? kind, circuit);
    return answer;
  }

  /**
   * Sends a request whose failure affects no other request, such as `list`. Without `proves`, neither
   * does its success.
   *
   * @throws {StoreUnavailableError} If the request failed, was not answered in time, or is held back.
   */
  async runAlone<T>(asking: Omit<Asking<T>, "circuit">): Promise<T> {
    const { operation, kind, send, always, proves } = asking;
    const now = this.#clock();
    if (always !== true && this.blocks(kind, null, now)) throw this.unavailable(now, kind);
    const attempt = { number: ++this.#sent, probes: [] };
    try {
      const answer = await withDeadline(send, this.timeoutMs);
      this.#aloneFailed = false;
      if (proves !== undefined) this.#answered(attempt, proves(answer), null);
      return answer;
    } catch (error) {
      const answered = scopeOf(error) !== null;
      this.#events.emit("store_error", { store: this.#name, operation, error, retryAfterMs: 1 });
      if (!this.failing && !this.#aloneFailed) this.#warn(operation, error);
      this.#aloneFailed = true;
      throw new StoreUnavailableError(this.#name, 1, { error, answered });
    }
  }

  /** Returns the back-offs that there are for a request. */
  #scopes(kind: RequestKind, circuit: Requester | null): Backoff[] {
    const own = circuit?.health?.[kind] ?? [];
    return [this.#transport, this.#kinds[kind].backoff].concat(own);
  }

  #begin(kind: RequestKind, circuit: Requester | null, now: number): Attempt {
    // An operator's request, which is sent anyway, is no probe.
    const probes = this.#scopes(kind, circuit).filter((backoff) =>
      !backoff.down(now) && backoff.probe(now)
    );
    return { number: ++this.#sent, probes };
  }

  #answered({ number, probes }: Attempt, proved: RequestKind, circuit: Requester | null): void {
    if (proved === "writes") this.#taken++;
    const now = this.#clock();
    this.#reached(number, now, () => {
      // A store that accepts writes answers reads.
      for (const kind of proved === "writes" ? ["reads", "writes"] as const : [proved]) {
        this.#kinds[kind].backoff.answered(now);
        this.#kinds[kind].refused.clear();
        circuit?.health?.[kind]?.answered(now);
      }
    });
    for (const backoff of probes) backoff.inconclusive(now);
    if (circuit === null) return;
    const { health } = circuit;
    if (!health?.refused || health.reads?.failing || health.writes?.failing) return;
    health.refused = false;
    const store = this.#name;
    this.#events.emit("store_recovered", { store, circuit: { ...circuit.identity } });
  }

  /** The server has answered, and `proving` notes the proof in its answer. */
  #reached(number: number, now: number, proving = () => {}): void {
    const wasFailing = this.failing;
    this.#lastAnswered = Math.max(this.#lastAnswered, number);
    this.#transport.answered(now);
    proving();
    if (wasFailing && !this.failing) {
      this.#events.emit("store_recovered", { store: this.#name });
    }
  }

  #failed<T>(asking: Asking<T>, attempt: Attempt, error: unknown): StoreUnavailableError {
    const { operation, circuit = null } = asking;
    const now = this.#clock();
    const scope = scopeOf(error);
    this.#cause = { error, answered: scope !== null };
    const [widest, ...others] = this.#concerned(asking, attempt, scope);
    const first = !widest.failing;
    const failed = (backoff: Backoff) =>
      backoff.failed(now, { probing: attempt.probes.includes(backoff) });
    const began = failed(widest);
    others.forEach(failed);
    const unavailable = this.unavailable(now, asking.kind, circuit);
    if (began) {
      const { retryAfterMs } = unavailable;
      const detail = { store: this.#name, operation, error, retryAfterMs };
      const own = circuit === null ? detail : { ...detail, circuit: { ...circuit.identity } };
      this.#events.emit("store_error", own);
      if (first) this.#warn(operation, error);
    }
    return unavailable;
  }

  /**
   * Once for each outage, without a listener: a wrongly configured store must not fail silently.
   */
  #warn(operation: string, error: unknown): void {
    this.#events.warnUnheard("store_error", failedAt(this.#name, operation, error));
  }

  /** Returns the back-offs that a failure concerns, that of the widest scope first. */
  #concerned<T>(
    { operation, kind: asked, circuit }: Asking<T>,
    attempt: Attempt,
    scope: AnswerScope | null,
  ): readonly [Backoff, ...Backoff[]] {
    if (scope === null) {
      const answeredMeanwhile = this.#lastAnswered > attempt.number;
      if (circuit === undefined || !answeredMeanwhile) return [this.#transport];
      const own = this.#own(circuit, asked);
      circuit.health!.refused = true;
      return [own];
    }
    this.#reached(attempt.number, this.#clock());
    // A refused `acquire` is a refused write, even if it was sent as a read.
    const kind = operation === "acquire" ? "writes" : asked;
    if (circuit === undefined) return [this.#kinds[kind].backoff];
    // This circuit must not ask again at once, whatever others may do.
    const own = this.#own(circuit, asked);
    // Many such refusals hold back the kind as which they were sent, too.
    const looking = kind === asked ? [] : this.#ofAll(asked, circuit);
    if (scope === "store") return [this.#kinds[kind].backoff, own, ...looking];
    circuit.health!.refused = true;
    const [widest = own, ...others] = [...this.#ofAll(kind, circuit), ...looking];
    return widest === own ? [own] : [widest, ...others, own];
  }

  /**
   * Returns the back-off of a kind if this refusal is one of many in a row, which seem to concern
   * all circuits.
   */
  #ofAll(kind: RequestKind, { identity }: Requester): readonly Backoff[] {
    const { backoff, refused } = this.#kinds[kind];
    refused.add(identity.key);
    return refused.size >= MANY ? [backoff] : [];
  }

  #own(circuit: Requester, kind: RequestKind): Backoff {
    const health = circuit.health ??= { reads: null, writes: null, refused: false };
    return health[kind] ??= new Backoff(this.timeoutMs, this.#random);
  }
}

/** Returns the sentence about a failure of a store. */
export function failedAt(store: string, operation: string, error: unknown): string {
  // Anything may be thrown, also an object that cannot be converted to a text.
  const said = error instanceof Error ? error : received(error);
  return `store ${quote(store)} fails at ${operation}, ${said}`;
}

/** Returns the scope of an error from the server; `null` if the server was not reached. */
export function scopeOf(error: unknown): AnswerScope | null {
  return isStoreAnswerError(error) ? error.scope : null;
}
