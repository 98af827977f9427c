/**
 * Parses Prometheus text (exposition format 0.0.4), as strictly as its grammar.
 *
 * @module
 */

/** One line of the text. */
export interface Sample {
  readonly metric: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** @throws {SyntaxError} If a line violates the format. */
export function samplesOf(text: string): Sample[] {
  if (!text.endsWith("\n")) throw new SyntaxError("The last line has no end");
  return text.slice(0, -1).split("\n").filter((line) => !/^# (HELP|TYPE) /.test(line)).map(
    sampleOf,
  );
}

const LINE = /^([a-zA-Z_:][\w:]*)\{(.*)\} (\d+(?:\.\d+)?(?:e\+\d+)?)$/s;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)/gys;

function sampleOf(line: string): Sample {
  const [, metric, inner, value] = LINE.exec(line) ?? [];
  if (metric === undefined) throw new SyntaxError(`No sample: ${line}`);
  const labels: Record<string, string> = {};
  let end = 0;
  for (const [whole, label, text] of inner!.matchAll(LABEL)) {
    if (Object.hasOwn(labels, label!)) throw new SyntaxError(`Twice the same label: ${line}`);
    labels[label!] = text!.replace(/\\(.)/g, (_, c) => c === "n" ? "\n" : c);
    end += whole.length;
  }
  if (end !== inner!.length) throw new SyntaxError(`No labels: ${line}`);
  return { metric, labels, value: Number(value) };
}
