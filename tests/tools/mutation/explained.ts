/**
 * Mutants that may survive, and why.
 *
 * @module
 */
import { PARTS } from "../generate/lua.ts";
import { LUA } from "./explained_lua.ts";
import { because, type Explained, type Mutant } from "./mutant.ts";

const MACHINE = because("null compares as 0: now >= null holds", [
  ["", "s.openUntil === null", "false"],
]);

const VIEW = [
  ...because("waiting for nothing besides is the same wait", [
    ["", "rest === undefined", "false"],
  ]),
  ...because("no two are alike: one sequence numbers requests and answers", [
    ["", "sent < this.#learntAs", "sent <= this.#learntAs"],
  ]),
  ...because("undefined is as false as false", [
    ["catch", "{ // Whoever records next finds it due again. return false; }", "{}"],
  ]),
  ...because("what is believed is held", [
    ["#believed = false;", "false", "true"],
    ["", "this.#current(now)?.override", "this.#current(now).override"],
  ]),
  ...because("elsewhere no cooldown is left, unless a clock goes back during a trial", [
    ["return own.state", 'own.state === "OPEN"', "true"],
    ["? s.state", 's.state === "OPEN"', "true"],
  ]),
  ...because("a stand-in that begins from nothing is one that begins anew", [
    ["", 'held.epoch !== ""', "true"],
    ["held.epoch", '""', '"Stryker was here!"'],
  ]),
  ...because("the stand-in's store has just been emptied: no id is known, nothing can be kept", [
    ["this.request", '""', '"Stryker was here!"'],
    ["existing:", '"replace"', '""'],
  ]),
  ...because("the stand-in would get totals, or nothing: nobody is shown its totals", [
    ["", "under.generation === TOTALS_ONLY", "false"],
    ["", "successes + failures === 0", "false"],
  ]),
  ...because("within a life an earlier generation never knows more calls", [
    ["", "s.generation === held.generation", "true"],
  ]),
];

const EXPLAINED: Readonly<Record<string, readonly Explained[]>> = {
  "src/rules/machine.ts": MACHINE,
  "src/shared/circuit.ts": VIEW,
  ...Object.fromEntries(PARTS.map((path) => [path, LUA])),
};

/** Returns why this mutant may survive, or `undefined`. */
export function explanation(mutant: Mutant): string | undefined {
  return EXPLAINED[mutant.file]?.find(({ code, original, replacement }) =>
    mutant.code.includes(code) && original === mutant.original &&
    replacement === mutant.replacement
  )?.why;
}
