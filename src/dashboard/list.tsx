/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
/**
 * The list of circuits.
 *
 * @module
 */

import { inLine } from "../checks.ts";
import type { CircuitPage } from "../inventory.ts";
import { byUrgency, isShut } from "../operator.ts";
import type { CircuitSnapshot } from "../rules/snapshot.ts";
import { ActButton, Badge, type Html, Scopes, Time } from "./parts.tsx";
import { gaugesOf } from "./policy.ts";
import { failureOf, many, standing, stateWord } from "./words.ts";

/** The properties of the list. */
export interface ListProps {
  readonly page: CircuitPage;
  /** `true` if this is the first page. */
  readonly first: boolean;
  /** `true` if circuits may be missing: a store has not answered, or the search cannot be read. */
  readonly partial: boolean;
  readonly readOnly: boolean;
  /** The circuit that is shown beside, by its id. */
  readonly current: string | null;
  /** Returns the address of the page with other parameters. */
  readonly href: (changes: Readonly<Record<string, string | null>>) => string;
}

/** Returns what names a circuit within the page. */
export function idOf({ store, key }: { store: string; key: string }): string {
  return JSON.stringify([store, key]);
}

/** Circuits in a table, those that need attention first. */
export function List(props: ListProps): Html {
  const { page, first, partial, href } = props;
  const circuits = page.circuits.toSorted(byUrgency);
  const plain = circuits.filter(isPlain);
  const urgent = circuits.filter((circuit) => !isPlain(circuit));
  return (
    <section id="list" aria-label="Circuits">
      {first && (circuits.length > 0 || !partial) && (
        <Summary
          urgent={urgent}
          more={plain.length === 0 && page.cursor !== null}
          partial={partial}
        />
      )}
      {urgent.length > 0 && (
        <Table id="urgent" title="Not plainly closed" circuits={urgent} {...props} />
      )}
      {plain.length > 0 && <Table id="plain" title="Closed" circuits={plain} {...props} />}
      <nav id="pages" aria-label="Pages">
        {!first && <a href={href({ cursor: null })}>First page</a>}
        {page.cursor !== null && <a href={href({ cursor: page.cursor })} rel="next">Next page</a>}
      </nav>
    </section>
  );
}

function isPlain({ state, override }: CircuitSnapshot): boolean {
  return state === "CLOSED" && override === null;
}

function Summary(
  { urgent, more, partial }: {
    urgent: readonly CircuitSnapshot[];
    more: boolean;
    partial: boolean;
  },
): Html {
  const open = urgent.filter(isShut).length;
  const halfOpen = urgent.filter(({ state, override }) =>
    state === "HALF_OPEN" && override === null
  );
  const overridden = urgent.filter(({ override }) => override !== null).length;
  const parts = [
    ["open", open, "bad"],
    ["half-open", halfOpen.length, "warn"],
    ["overridden", overridden, "held"],
  ] as const;
  if (urgent.length === 0) {
    return (
      <p id="summary" class={partial ? "" : "calm"} data-open="0">
        Nothing {partial ? "that has answered" : "here"} is open, half-open or overridden.
      </p>
    );
  }
  return (
    <p id="summary" data-open={String(open)}>
      {(more || partial) && <span>At least</span>}
      {parts.filter(([, count]) => count > 0).map(([word, count, tone]) => (
        <span class={`count ${tone}`}>
          <b>{count}</b> {word}
        </span>
      ))}
    </p>
  );
}

interface TableProps extends ListProps {
  readonly id: string;
  readonly title: string;
  readonly circuits: readonly CircuitSnapshot[];
}

function Table({ id, title, circuits, ...props }: TableProps): Html {
  return (
    <table id={id}>
      <caption>{title}</caption>
      <thead>
        <tr>
          <th scope="col">State</th>
          <th scope="col">Circuit</th>
          <th scope="col">Why</th>
          <th scope="col">Failures</th>
          <th scope="col">Store</th>
          {!props.readOnly && (
            <th scope="col" class="actions">
              <span class="unseen">Actions</span>
            </th>
          )}
        </tr>
      </thead>
      <tbody>
        {circuits.map((circuit) => <Row circuit={circuit} {...props} />)}
      </tbody>
    </table>
  );
}

function Row({ circuit, href, readOnly, current }: ListProps & { circuit: CircuitSnapshot }): Html {
  const { word, tone } = standing(circuit);
  const id = idOf(circuit);
  const [inARow, inWindow] = gaugesOf(circuit);
  return (
    <tr id={`row:${id}`} class={tone} aria-current={current === id ? "true" : undefined}>
      <td class="state">
        <Badge tone={tone} word={word} />
      </td>
      <th scope="row">
        <span class="name">
          <a href={href({ in: circuit.store, key: circuit.key })}>{inLine(circuit.name)}</a>
          <Scopes circuit={circuit} />
        </span>
      </th>
      <td class="why">
        <Why circuit={circuit} />
      </td>
      <td class="failures">
        <span>{inWindow!.text}{inWindow!.limit !== "" && <small>{inWindow!.limit}</small>}</span>
        {circuit.metrics.consecutiveFailures > 0 && (
          <span>{inARow!.text}{inARow!.limit !== "" && <small>{inARow!.limit}</small>}</span>
        )}
      </td>
      <td class="store">{inLine(circuit.store)}</td>
      {!readOnly && (
        <td class="actions">
          <ActButton circuit={circuit} id={`act:${id}`} />
        </td>
      )}
    </tr>
  );
}

/** Explains a circuit's state in a few words. */
function Why({ circuit }: { circuit: CircuitSnapshot }): Html {
  const { override } = circuit;
  return (
    <>
      {override !== null && <Overridden override={override} />}
      {circuit.state !== "CLOSED" && <Opened circuit={circuit} />}
      {isPlain(circuit) && circuit.closedAt !== null && (
        <span class="since">
          closed <Time at={circuit.closedAt} />
        </span>
      )}
    </>
  );
}

/** An override with its reason, actor and end. */
export function Overridden(
  { override }: { override: NonNullable<CircuitSnapshot["override"]> },
): Html {
  const { until, reason, actor } = override;
  return (
    <span class="override">
      {reason !== null && <span>“{inLine(reason)}”</span>}
      {actor !== null && <span>by {inLine(actor)}</span>}
      {until === null ? <span class="endless">no end</span> : (
        <span>
          ends <Time at={until} />
        </span>
      )}
    </span>
  );
}

/** The failure that opened a circuit, and the next trial. */
function Opened({ circuit }: { circuit: CircuitSnapshot }): Html {
  const { state, override, openedAt, openUntil, reason, trials } = circuit;
  const failure = failureOf(circuit);
  return (
    <span class="opened">
      {override !== null && <span>{stateWord(state)} beneath</span>}
      {failure !== null && <span class="failure">{failure}</span>}
      {failure === null && reason !== null && <span>{inLine(reason)}</span>}
      {openedAt !== null && (
        <span>
          opened <Time at={openedAt} />
        </span>
      )}
      {state === "OPEN" && openUntil !== null && (
        <span>
          next trial <Time at={openUntil} />
        </span>
      )}
      {state === "HALF_OPEN" && (
        <span>
          {many(trials.inFlight, "trial")} in flight, {trials.successes} succeeded
        </span>
      )}
    </span>
  );
}
