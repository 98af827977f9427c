/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
/**
 * The dialog in which an operator acts. It is outside of the part that a refresh replaces.
 *
 * @module
 */

import { ACTIONS, OVERRIDING } from "../operator.ts";
import type { Html } from "./parts.tsx";
import { ACTION_WORDS } from "./words.ts";

/** How long an override may last, in ms. */
const SPANS: readonly (readonly [ms: number, title: string])[] = [
  [600_000, "in 10 minutes"],
  [1_800_000, "in 30 minutes"],
  [3_600_000, "in 1 hour"],
  [14_400_000, "in 4 hours"],
  [86_400_000, "in 24 hours"],
];

/** The dialog; the script opens it for a circuit. */
export function ActionDialog(): Html {
  return (
    <dialog id="dialog" aria-labelledby="dialog-title">
      <form id="order">
        <h2 id="dialog-title">
          Act on <span id="dialog-circuit"></span>
        </h2>
        <p id="dialog-store" class="hint"></p>
        <fieldset>
          <legend>Action</legend>
          {ACTIONS.map((action) => {
            const [title, effect] = ACTION_WORDS[action];
            return (
              <label class="choice">
                <input
                  type="radio"
                  name="action"
                  value={action}
                  required
                  data-ends={OVERRIDING.includes(action) ? "yes" : "no"}
                />
                <span>
                  <b>{title}</b> {effect}
                </span>
              </label>
            );
          })}
        </fieldset>
        <label class="field" id="ends">
          <span>Ends</span>
          <select name="end" required>
            <option value="">choose when it ends</option>
            {SPANS.map(([ms, title]) => <option value={String(ms)}>{title}</option>)}
            <option value="minutes">in … minutes</option>
            <option value="none">no end: until somebody releases it</option>
          </select>
        </label>
        <label class="field" id="minutes" hidden>
          <span>Minutes</span>
          <input name="minutes" type="number" min="1" max="525600" step="1" required disabled />
        </label>
        <label class="field">
          <span>Reason</span>
          <textarea name="reason" required maxlength={1000} rows={2}></textarea>
        </label>
        <p class="hint">
          The reason is kept with the circuit and in its trail: put no secret there.
        </p>
        <p id="dialog-error" class="notice bad" role="alert" hidden></p>
        <div class="buttons">
          <button type="button" id="cancel">Cancel</button>
          <button type="submit" id="do" class="primary">Do it</button>
        </div>
      </form>
    </dialog>
  );
}
