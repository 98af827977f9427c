/**
 * Mutants that no test can notice, or that none should, and why.
 *
 * @module
 */

/** Part of the line (lines move), what stands there, what is put in its place, and why that may live. */
type Explained = readonly [code: string, original: string, replacement: string, why: string];

const NO_COOLDOWN =
  "in any other state there is no cooldown or it has passed, unless a clock goes back during a trial";

/** By file. */
export const EXPLAINED: Readonly<Record<string, readonly Explained[]>> = {
  "src/machine.ts": [
    ["", "s.openUntil === null", "false", "null compares as 0: now >= null holds"],
  ],
  "src/view.ts": [
    ["", "rest === undefined", "false", "waiting for nothing besides is the same wait"],
    [
      "",
      "sent < this.#learntAs",
      "sent <= this.#learntAs",
      "no two are alike: one sequence numbers all",
    ],
    [
      "catch",
      "{ // Whoever records next finds it due again. return false; }",
      "{}",
      "undefined is as false as false",
    ],
    ["", "this.#current(now)?.override", "this.#current(now).override", "what is believed is held"],
    ["return own.state", 'own.state === "OPEN"', "true", NO_COOLDOWN],
    ["? s.state", 's.state === "OPEN"', "true", NO_COOLDOWN],
    [
      "",
      'held.epoch !== ""',
      "true",
      "a stand-in that begins from nothing is one that begins anew",
    ],
    ["held.epoch", '""', '"Stryker was here!"', "as above"],
    [
      "this.request",
      '""',
      '"Stryker was here!"',
      "the store has just been emptied of it: no id is known",
    ],
    ["existing:", '"replace"', '""', "nothing is there to be kept: it was removed"],
    [
      "",
      "under.generation === TOTALS_ONLY",
      "false",
      "the stand-in gets totals that nobody is shown",
    ],
    ["", "successes + failures === 0", "false", "as above, and totals of nothing"],
    [
      "",
      "s.generation === held.generation",
      "true",
      "within a life an earlier generation never knows more calls",
    ],
  ],
};
