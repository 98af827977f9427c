/**
 * Shrinks a failing scenario: leaves out every part that the failure does not need (delta
 * debugging, after Zeller and Hildebrandt), and prints the rest so that it can be played again.
 *
 * @module
 */
import { play, type Played, type PlayOptions } from "./fleet.ts";
import type { Scenario, Step } from "./scenario.ts";
import type { Violation } from "./violation.ts";

/** A failing scenario, and its violation. */
export interface Failure {
  readonly scenario: Scenario;
  readonly violation: Violation;
}

/** The largest number of plays for one failure. */
const MOST_PLAYS = 1_500;

/** Returns the smallest scenario found that violates the same invariant. */
export async function shrink(failure: Failure, options: PlayOptions = {}): Promise<Failure> {
  const search = new Search(failure, options);
  await search.isolates();
  await search.steps();
  await search.surroundings();
  await search.steps();
  return search.best;
}

/** Returns a report for debugging: the violation, the minimal scenario, its trace. */
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

/** Returns a scenario as text. */
export function write(scenario: Scenario): string {
  return JSON.stringify(scenario);
}

/** Parses the text of {@linkcode write}. */
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

  /** Removes all steps of one isolate. */
  async isolates(): Promise<void> {
    for (let slot = this.best.scenario.clocks.length - 1; slot >= 0; slot--) {
      await this.#try({
        steps: this.best.scenario.steps.filter((step) => isolateOf(step) !== slot),
      });
    }
  }

  /** Removes halves, quarters, and so on to single steps, until no step can go. */
  async steps(): Promise<void> {
    let size = Math.ceil(this.best.scenario.steps.length / 2);
    while (size >= 1) {
      let went = false;
      // From the end: late steps matter least.
      for (let end = this.best.scenario.steps.length; end > 0; end -= size) {
        const { steps } = this.best.scenario;
        const rest = [...steps.slice(0, Math.max(0, end - size)), ...steps.slice(end)];
        if (await this.#try({ steps: rest })) went = true;
      }
      if (!went || size > 1) size = size === 1 ? 0 : Math.ceil(size / 2);
    }
  }

  /** Corrects clocks, removes isolates that are not needed, and evens the network. */
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
