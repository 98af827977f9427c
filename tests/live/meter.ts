/**
 * Counts the requests to the services, and notes the keys of Redis in them.
 *
 * @module
 */

/** The counts so far. */
export interface Meter extends Disposable {
  /** HTTP requests to Redis. */
  redisRequests: number;
  /** The commands in them, without those that a script runs. */
  commands: number;
  /** How many of the commands run a script. */
  scripts: number;
  /** HTTP requests to the database. */
  databaseRequests: number;
  /** Statements in them. */
  statements: number;
  /** Every key that a command has named. */
  readonly keys: Set<string>;
}

/**
 * Installs a meter in `fetch` until it is disposed. It does not count clients that were created
 * before.
 */
export function startMeter(redisUrl: string | undefined): Meter {
  const original = globalThis.fetch;
  const meter: Meter = {
    redisRequests: 0,
    commands: 0,
    scripts: 0,
    databaseRequests: 0,
    statements: 0,
    keys: new Set(),
    [Symbol.dispose]: () => void (globalThis.fetch = original),
  };
  const ofRedis = redisUrl === undefined ? undefined : new URL(redisUrl).origin;
  globalThis.fetch = async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    const body = parsed(input instanceof Request ? await input.clone().text() : init?.body);
    if (url.origin === ofRedis) countCommands(meter, body);
    else countStatements(meter, body);
    return await original(input, init);
  };
  return meter;
}

function parsed(body: unknown): unknown {
  try {
    return JSON.parse(String(body));
  } catch {
    return null;
  }
}

function countCommands(meter: Meter, body: unknown): void {
  meter.redisRequests++;
  if (!Array.isArray(body)) return;
  for (const command of (Array.isArray(body[0]) ? body : [body]) as unknown[][]) {
    meter.commands++;
    const [name, first, count, ...rest] = command.map(String);
    const isScript = /^EVAL(SHA)?$/i.test(name!);
    if (isScript) meter.scripts++;
    const keys = isScript ? rest.slice(0, Number(count)) : command.slice(1).map(String);
    if (isScript || /^DEL$/i.test(name!)) keys.forEach((key) => meter.keys.add(key));
    else if (/^(SET|GET|HSET|PTTL|HSCAN)$/i.test(name!)) meter.keys.add(first!);
  }
}

function countStatements(meter: Meter, body: unknown): void {
  meter.databaseRequests++;
  const { requests = [] } = Object(body) as { requests?: Step[] };
  for (const { type, batch } of requests) {
    meter.statements += type === "execute" ? 1 : batch?.steps.length ?? 0;
  }
}

/** A step of a request in libSQL's protocol over HTTP, as far as the meter reads it. */
interface Step {
  readonly type: string;
  readonly batch?: { readonly steps: readonly unknown[] };
}
