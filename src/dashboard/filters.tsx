/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
/**
 * The form that narrows the list.
 *
 * @module
 */

import { inLine } from "../checks.ts";
import type { Query } from "./find.ts";
import type { Html } from "./parts.tsx";

/** A form of plain parameters, so that it works without JavaScript. */
export function Filters(
  { query, stores }: { query: Query; stores: readonly string[] },
): Html {
  return (
    <details id="filtering" open>
      <summary>Filters</summary>
      <form id="filters" method="get" role="search" aria-label="Filter the circuits">
        <label class="grow">
          <span>Search</span>
          <input type="search" name="text" value={query.text ?? ""} placeholder="name or tenant" />
        </label>
        <Choice name="state" title="State" value={query.state} options={STATES} />
        <Choice name="overridden" title="Override" value={query.overridden} options={OVERRIDDEN} />
        {stores.length > 1 && (
          <Choice
            name="store"
            title="Store"
            value={query.store}
            options={[["", "any"], ...stores.map((store) => [store, inLine(store)] as const)]}
          />
        )}
        <label>
          <span>Tenant</span>
          <input name="context" value={query.context ?? ""} placeholder="tenant:42" />
        </label>
        <label>
          <span>Boundary</span>
          <input name="boundary" value={query.boundary ?? ""} placeholder="region:eu" />
        </label>
        <div class="buttons">
          <button type="submit">Filter</button>
          <a href="?">Clear</a>
        </div>
      </form>
    </details>
  );
}

type Options = readonly (readonly [value: string, title: string])[];

const STATES: Options = [
  ["", "any"],
  ["OPEN", "open"],
  ["HALF_OPEN", "half-open"],
  ["CLOSED", "closed"],
];
const OVERRIDDEN: Options = [["", "any"], ["true", "overridden"], ["false", "not overridden"]];

function Choice(
  { name, title, value, options }: {
    name: string;
    title: string;
    value: string | undefined;
    options: Options;
  },
): Html {
  return (
    <label>
      <span>{title}</span>
      <select name={name}>
        {options.map(([option, text]) => (
          <option value={option} selected={option === (value ?? "")}>{text}</option>
        ))}
      </select>
    </label>
  );
}
