/**
 * Makes a failing scenario small: leaves out whatever it fails without (delta debugging, after Zeller
 * and Hildebrandt), and writes down what is left so that it can be played again.
 *
 * @module
 */
import { play, type Played, type PlayOptions } from "./fleet.ts";
import type { Scenario, Step } from "./scenario.ts";
import type { Violation } from "./violation.ts";

/** A scenario that fails, and how. */
export interface Failure {
  readonly scenario: Scenario;
  readonly violation: Violation;
}

/** No more than so many plays are spent on one failure. */
const MOST_PLAYS = 1_500;

/** The smallest scenario found that violates the same invariant. */
export async function shrink(failure: Failure, options: PlayOptions = {}): Promise<Failure> {
  const search = new Search(failure, options);
  await search.isolates();
  await search.steps();
  await search.surroundings();
  await search.steps();
  return search.best;
}

/** All that somebody needs who has to find out why: what failed, the minimal scenario, its trace. */
export async function report(failure: Failure, options: PlayOptions = {}): Promise<string> {
  const { scenario, violation } = await shrink(failure, options);
  const { trace } = await play(scenario, { ...options, trace: true });
  const { steps } = failure.scenario;
  return [
    `Seed ${scenario.seed} violates "${violation.invariant}": ${violation.message}`,
    `${scenario.steps.length} of its ${steps.length} steps are enough. Played again by`,
    `deno task simulate --replay '${write(scenario)}'`,
    ...trace,
    `          ${violation.invariant}: ${violation.message}`,
  ].join("\n");
}

/** A scenario as text. */
export function write(scenario: Scenario): string {
  return JSON.stringify(scenario);
}

/** What {@linkcode write} wrote. */
export function read(text: string): Scenario {
  return JSON.parse(text) as Scenario;
}

class Search {
  best: Failure;
  readonly #options: PlayOptions;
  #plays = 0;

  constructor(failure: Failure, options: PlayOptions) {
    this.best = failure;
    this.#options = options;
  }

  /** Without all that one isolate does. */
  async isolates(): Promise<void> {
    for (let slot = this.best.scenario.clocks.length - 1; slot >= 0; slot--) {
      await this.#try({
        steps: this.best.scenario.steps.filter((step) => isolateOf(step) !== slot),
      });
    }
  }

  /** Without halves, quarters, and so on to single steps, until no step can go. */
  async steps(): Promise<void> {
    let size = Math.ceil(this.best.scenario.steps.length / 2);
    while (size >= 1) {
      let went = false;
      // From the end: what is late matters least.
      for (let end = this.best.scenario.steps.length; end > 0; end -= size) {
        const { steps } = this.best.scenario;
        const rest = [...steps.slice(0, Math.max(0, end - size)), ...steps.slice(end)];
        if (await this.#try({ steps: rest })) went = true;
      }
      if (!went || size > 1) size = size === 1 ? 0 : Math.ceil(size / 2);
    }
  }

  /** With clocks that are right, isolates that are needed, a network that is even. */
  async surroundings(): Promise<void> {
    const { scenario } = this.best;
    const { latencyMs: [least], clocks, steps } = scenario;
    const needed = 1 + Math.max(0, ...steps.map((step) => isolateOf(step) ?? 0));
    await this.#try({ clocks: clocks.slice(0, needed) });
    await this.#try({ clocks: this.best.scenario.clocks.map(() => ({ offsetMs: 0, drift: 0 })) });
    await this.#try({ latencyMs: [least, least] });
    await this.#try({ errorRate: 0 });
  }

  async #try(change: Partial<Scenario>): Promise<boolean> {
    const scenario = { ...this.best.scenario, ...change };
    if (scenario.steps.length === this.best.scenario.steps.length && "steps" in change) {
      return false;
    }
    if (this.#plays++ >= MOST_PLAYS) return false;
    const { violation }: Played = await play(scenario, this.#options);
    // Another invariant is another failure.
    if (violation?.invariant !== this.best.violation.invariant) return false;
    this.best = { scenario, violation };
    return true;
  }
}

function isolateOf(step: Step): number | null {
  return "isolate" in step ? step.isolate : null;
}
