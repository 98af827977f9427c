/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
/**
 * A circuit, in full.
 *
 * @module
 */

import { inLine } from "../checks.ts";
import type { CircuitEvent } from "../contract.ts";
import { dateOf } from "../rules/snapshot.ts";
import { Overridden } from "./list.tsx";
import type { Shown } from "./look.ts";
import { ActButton, Badge, type Html, Scopes, Time } from "./parts.tsx";
import { gaugesOf, policyRows } from "./policy.ts";
import type { Past } from "./timeline.ts";
import { failureOf, many, spanText, standing } from "./words.ts";

/** The parts of a circuit that are shown. */
export interface DetailProps extends Shown {
  readonly past: Past;
  /** `true` if the store answers, though not about this circuit. */
  readonly isRefused: boolean;
  readonly readOnly: boolean;
  readonly now: number;
  /** The address of the page without it. */
  readonly back: string;
}

/** A circuit in full. */
export function Detail(props: DetailProps): Html {
  const { circuit, explanation, isRefused, readOnly, back } = props;
  const { word, tone } = standing(circuit);
  return (
    <section id="detail" aria-labelledby="detail-name" class={tone}>
      <header>
        <h2 id="detail-name">{inLine(circuit.name)}</h2>
        <Badge tone={tone} word={word} />
        <a href={back} class="close" aria-label="Close the details">Close</a>
      </header>
      <p class="place">
        <Scopes circuit={circuit} />
        <span>in {inLine(circuit.store)}</span>
      </p>
      {circuit.local && (
        <p class="notice bad">
          {isRefused
            ? "The store refuses this circuit until it is reset or removed"
            : "The store does not answer"}: this is what this isolate knows.
        </p>
      )}
      <p id="explanation">{inLine(explanation)}</p>
      {!readOnly && <ActButton circuit={circuit} id="act" />}
      <Facts {...props} />
      <Policy {...props} />
      <Timeline {...props} />
      <Events {...props} />
    </section>
  );
}

function Facts({ circuit }: DetailProps): Html {
  const { override, lastFailure, openUntil, state, trials, metrics, reopenCount } = circuit;
  return (
    <dl>
      {override !== null && (
        <>
          <dt>Override</dt>
          <dd>
            <Overridden override={override} />
          </dd>
        </>
      )}
      {lastFailure !== null && (
        <>
          <dt>Opened by</dt>
          <dd>
            {failureOf(circuit)}, <Time at={lastFailure.at} />
          </dd>
        </>
      )}
      {state === "OPEN" && openUntil !== null && (
        <>
          <dt>Next trial</dt>
          <dd>
            <Time at={openUntil} />
          </dd>
        </>
      )}
      {state === "HALF_OPEN" && (
        <>
          <dt>Trials</dt>
          <dd>
            {trials.inFlight} in flight, {trials.successes} succeeded, {trials.failures} failed
          </dd>
        </>
      )}
      {reopenCount > 0 && (
        <>
          <dt>Reopened</dt>
          <dd>{many(reopenCount, "time")} since it last closed</dd>
        </>
      )}
      <dt>Since it began</dt>
      <dd>
        {many(metrics.totalSuccesses, "success", "successes")},{" "}
        {many(metrics.totalFailures, "failure")}, {many(metrics.totalRejected, "rejection")}
        {metrics.totalSlow > 0 && `, ${many(metrics.totalSlow, "slow call")}`}
      </dd>
      {metrics.lastSuccessAt !== null && (
        <>
          <dt>Last success</dt>
          <dd>
            <Time at={metrics.lastSuccessAt} />
          </dd>
        </>
      )}
      {metrics.lastFailureAt !== null && (
        <>
          <dt>Last failure</dt>
          <dd>
            <Time at={metrics.lastFailureAt} />
          </dd>
        </>
      )}
    </dl>
  );
}

function Policy({ circuit }: DetailProps): Html {
  const rows = policyRows(circuit);
  return (
    <>
      <h3>Counts and policy</h3>
      <table id="gauges">
        <tbody>
          {gaugesOf(circuit).map(({ text, limit }) => (
            <tr>
              <td>{text}</td>
              <td>{limit}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {circuit.policy === null
        ? <p class="hint">The record does not say which policy the circuit has.</p>
        : rows.length === 0
        ? <p class="hint">Every option of the policy has its default.</p>
        : (
          <dl id="policy">
            {rows.map(([option, value]) => (
              <>
                <dt>{option}</dt>
                <dd>{value}</dd>
              </>
            ))}
          </dl>
        )}
    </>
  );
}

/** The width of the timeline, in its own units. */
const WIDTH = 1000;

function Timeline({ past, now }: DetailProps): Html | null {
  const { openings, since, kind } = past;
  if (kind !== "kept" || since === null) return null;
  const length = Math.max(1, now - since);
  const at = (ms: number) => Math.round(WIDTH * Math.min(1, Math.max(0, (ms - since) / length)));
  const openMs = openings.reduce((sum, { from, to }) => sum + (to ?? now) - (from ?? since), 0);
  const words = `${many(openings.length, "opening")} in ${spanText(length)}, ` +
    `${spanText(openMs)} in all`;
  return (
    <>
      <h3>Openings</h3>
      <svg
        id="timeline"
        viewBox={`0 0 ${WIDTH} 24`}
        preserveAspectRatio="none"
        role="img"
        aria-label={words}
      >
        <rect class="track" x="0" y="0" width={WIDTH} height="24" />
        {openings.map(({ from, to }) => {
          const x = at(from ?? since);
          return (
            <rect class="open" x={x} y="0" width={Math.max(3, at(to ?? now) - x)} height="24" />
          );
        })}
      </svg>
      <p class="axis">
        <Time at={dateOf(since)} />
        <span>{words}</span>
        <span>now</span>
      </p>
    </>
  );
}

/** How many events are listed. */
const SHOWN = 15;

function Events({ past }: DetailProps): Html {
  if (past.kind === "unanswered") {
    return <p class="notice warn">The trail does not answer: what happened before is not shown.</p>;
  }
  if (past.kind === "none") return <p class="hint">This store keeps no trail.</p>;
  return (
    <>
      <h3>Trail</h3>
      <ol id="events">
        {past.events.slice(0, SHOWN).map((event) => (
          <li>
            <Time at={event.at} /> <b>{event.event.replaceAll("_", " ")}</b>
            {wordsOf(event)}
          </li>
        ))}
      </ol>
    </>
  );
}

function wordsOf({ metadata }: CircuitEvent): string {
  const { actor, reason } = metadata ?? {};
  return [
    typeof actor === "string" && actor !== "" ? ` by ${inLine(actor)}` : "",
    typeof reason === "string" && reason !== "" ? `: ${inLine(reason)}` : "",
  ].join("");
}
