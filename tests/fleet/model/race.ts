/**
 * Plays a session without waiting for anything: calls, operators and requests to the store overlap
 * and overtake one another in virtual time. No model can predict the result, but everything must be
 * accounted for, and no impossible event may be announced.
 *
 * @module
 */
import { inVirtualTime } from "../simulation/virtual_globals.ts";
import { assertEquals } from "@std/assert";
import { type CircuitBreaker, createFuse, type Fuse } from "@fuse/edge";
import { distant, NEVER_MS } from "../../support/fleet.ts";
import { seeded, VirtualTime } from "../../support/virtual_time.ts";
import { begin, Ignored, isSlow, outcomeOf } from "./calls.ts";
import { type Case, CASES, STRATEGY_OF_THE_USER } from "./cases.ts";
import type { Command, Ending, Session, Step, Via } from "./commands.ts";
import { Ear } from "./ear.ts";
import { watched } from "./watched.ts";
import { memory } from "../../support/drivers.ts";

/** Plays a session to its end. Throws if it does not add up. */
export async function race(
  session: Session,
  consistency: "eventual" | "strong",
): Promise<void> {
  const time = new VirtualTime();
  await inVirtualTime(time, seeded(session.faults + 1), async () => {
    const track = new Track(session, consistency, time);
    for (const command of session.commands) track.plan(command);
    await track.finish();
  });
}

class Track {
  readonly #time: VirtualTime;
  readonly #random: () => number;
  readonly #session: Session;
  readonly #consistency: "eventual" | "strong";
  readonly #store: ReturnType<typeof distant>;
  readonly #ear: Ear;
  readonly #fuses: Fuse[] = [];
  readonly #retired: Fuse[] = [];
  readonly #breakers: CircuitBreaker[] = [];
  /** Calls that wait for the command that ends them. */
  readonly #held: ((ending: Ending) => Promise<void>)[] = [];
  readonly #did = { ended: 0, rejected: 0 };
  readonly #broken: unknown[] = [];
  #booted = 0;
  /** The time of the next command, in ms from the beginning. */
  #at = 0;

  constructor(session: Session, consistency: "eventual" | "strong", time: VirtualTime) {
    this.#time = time;
    this.#session = session;
    this.#consistency = consistency;
    this.#random = seeded(session.faults);
    const record = watched(memory({ clock: this.#time.now }));
    this.#store = distant(record, this.#time, seeded(~session.faults), () => {});
    const { options }: Case = CASES[session.policy];
    const nonsense = typeof options.cooldownMs === "function";
    this.#ear = new Ear({ faults: false, nonsense });
    for (let isolate = 0; isolate < session.isolates; isolate++) this.#boot(isolate);
  }

  /** Commands follow one another as fast as packets. */
  plan(command: Command): void {
    this.#at += command.do === "clock" ? this.#length(command.step) : this.#random() * 30;
    this.#time.after(this.#at, () => {
      this.#play(command).catch((error) => this.#broken.push(error));
    });
  }

  async finish(): Promise<void> {
    await this.#time.run();
    await this.#meanwhile(async () => {
      for (const end of this.#held.splice(0)) await end("success");
      for (const fuse of [...this.#retired, ...this.#fuses]) await fuse.flush();
      // Flushes again: transitions may have been due.
      for (const fuse of [...this.#retired, ...this.#fuses]) await fuse.flush();
      this.#boot(this.#fuses.length);
      const last = this.#breakers.at(-1) as CircuitBreaker;
      // Every `until` has passed by then, and a write releases the last overrides.
      await this.#time.sleep(10_000);
      await last.reset();
      const { generation, metrics } = await last.snapshot();
      this.#ear.take("The events");
      assertEquals(this.#broken, [], "Nothing rejects but what must");
      assertEquals(
        {
          counted: metrics.totalSuccesses + metrics.totalFailures,
          rejected: metrics.totalRejected,
          announced: this.#ear.changes,
        },
        { counted: this.#did.ended, rejected: this.#did.rejected, announced: generation - 1 },
        "Every call is counted once, every generation after the first announced once",
      );
    });
    await this.#meanwhile(async () => {
      for (const fuse of [...this.#retired, ...this.#fuses]) await fuse[Symbol.asyncDispose]();
    });
  }

  async #play(command: Command): Promise<void> {
    switch (command.do) {
      case "call":
        return await this.#call(command.isolate, command.via, command.ending);
      case "burst":
        await Promise.all(
          Array.from(
            { length: command.n },
            (_, i) => this.#call(command.isolate + i, "tryCall", command.ending),
          ),
        );
        return;
      case "begin": {
        const end = await this.#begin(command.isolate, command.via);
        if (end !== undefined) this.#held.push(end);
        return;
      }
      case "end": {
        const [end] = this.#held.splice(command.pick % Math.max(1, this.#held.length), 1);
        return await end?.(command.ending);
      }
      case "forceOpen":
      case "forceClose":
      case "disable":
      case "metricsOnly": {
        const { until, forMs } = command.lasts;
        const lasts = until ?? forMs;
        return await this.#breaker(command.isolate)[command.do](
          lasts === undefined ? {} : { forMs: lasts },
        );
      }
      case "release":
      case "reset":
        return await this.#breaker(command.isolate)[command.do]();
      case "flush":
        return await this.#fuses[command.isolate % this.#fuses.length]?.flush();
      case "restart": {
        const isolate = command.isolate % this.#fuses.length;
        this.#retired.push(this.#fuses[isolate] as Fuse);
        return this.#boot(isolate);
      }
      case "clock":
      case "settle_again":
        return;
    }
  }

  async #call(isolate: number, via: Via, ending: Ending): Promise<void> {
    const lastsMs = this.#random() * 60 + (isSlow(ending) ? 120 : 0);
    const end = await this.#begin(isolate, via);
    if (end === undefined) return;
    await this.#time.sleep(lastsMs);
    await end(ending);
  }

  async #begin(
    isolate: number,
    via: Via,
  ): Promise<((ending: Ending) => Promise<void>) | undefined> {
    const begun = await begin(this.#breaker(isolate), via);
    if (!begun.granted) {
      this.#did.rejected++;
      return undefined;
    }
    return (ending) => {
      if (outcomeOf(ending) !== "neutral") this.#did.ended++;
      return begun.end(ending);
    };
  }

  /** Lets time pass until an operation with requests is done. */
  async #meanwhile(work: () => Promise<void>): Promise<void> {
    const done = work();
    // Handled here; code that awaits it below still gets the error.
    done.catch(() => {});
    await this.#time.run();
    await done;
  }

  #length(step: Step): number {
    const { windowMs, halfOpenLeaseMs, cooldownMs } = CASES[this.#session.policy].model;
    if (typeof step === "number") return Math.abs(step);
    if (step === "segment") return Math.ceil(windowMs / 10);
    if (step === "window") return windowMs;
    if (step === "lease") return halfOpenLeaseMs;
    if (step === "almost_lease") return halfOpenLeaseMs - 1;
    if (step === "until") return 1_000;
    return step === "cooldown" ? cooldownMs(0) : cooldownMs(0) - 40;
  }

  #breaker(isolate: number): CircuitBreaker {
    return this.#breakers[isolate % this.#breakers.length] as CircuitBreaker;
  }

  #boot(isolate: number): void {
    const fuse = createFuse({
      stores: { main: this.#store },
      clock: this.#time.now,
      strategies: STRATEGY_OF_THE_USER,
      storeTimeoutMs: NEVER_MS,
    });
    const number = this.#booted++;
    fuse.on("*", (event) => this.#ear.hear(number, event));
    this.#fuses[isolate] = fuse;
    this.#breakers[isolate] = fuse.make("model", {
      ...CASES[this.#session.policy].options,
      consistency: this.#consistency,
      flushSize: 4,
      ignore: [Ignored],
    });
  }
}
