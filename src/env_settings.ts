/**
 * Reads environment variables: which stores there are, and which is the default.
 *
 * @module
 */

import type { D1Like } from "../drivers/d1.ts";
import type { NamespaceLike } from "../drivers/durable_object.ts";
import { makeClient, OF_HOST } from "../drivers/upstash/rest.ts";
import { inLine, received } from "./checks.ts";

/** The beginning of every error. */
const CANNOT = "Cannot create fuse from environment";

/** The seed's three stores, and decisions in the second with a trail in the third. */
const STORES = ["array", "cache", "database", "tiered"] as const;
type StoreName = typeof STORES[number];

/** Variables that belong to this package: another name with these beginnings is misspelled. */
const CACHE_ONLY = ["FUSE_CACHE_STORE", "FUSE_CACHE_PREFIX"];
const TRAIL_ONLY = ["FUSE_AUDIT", "FUSE_TRAIL_KEY"];
const OURS = ["FUSE_STORE", ...CACHE_ONLY, ...TRAIL_ONLY, "FUSE_INSTANCE"];

/** The longest address or token: the limit of a header. */
const LONGEST = 8_000;

/** The settings of a Fuse. */
export interface Settings {
  /** The default store. */
  readonly store: StoreName;
  /** The options of `upstash()`, or `null` if there is no such store. */
  readonly cache: { readonly url: string; readonly token: string; readonly prefix: string } | null;
  /** The options of `libsql()`, `d1()` or `durableObject()`, or `null` if there is no such store. */
  readonly database: ((Address | Binding) & Trail) | null;
  /** The name of this isolate; `null` if it has none. */
  readonly instance: string | null;
  /** Notes about settings that are valid but probably not meant. They hold no secret. */
  readonly notes: readonly string[];
}

/** The place of a database. */
export interface Address {
  readonly url: string;
  readonly authToken: string | undefined;
}

/** A binding of a Worker to one of Cloudflare's own databases. */
export type Binding = { readonly d1: D1Like } | { readonly objects: NamespaceLike };

/** The contents of the trail, and the secret of its hashes. */
interface Trail {
  readonly audit: "transitions" | "calls";
  readonly trailKey: string | undefined;
}

/** A variable that holds something. */
interface Variable {
  readonly name: string;
  readonly value: unknown;
}

/** Reads a variable; `null` if it is not set. */
type Read = (name: string) => Variable | null;

/**
 * Reads the variables that it knows by name, and nothing else of `env`.
 *
 * @throws {RangeError | TypeError} Naming the variable, and what to do.
 */
export function settingsOf(env: object): Settings {
  checkEnv(env);
  const read: Read = (name) => variableOf(env, name);
  refuseMisspelled(env);
  refuseHosts(read);

  const said = storeSaid(read);
  const cacheVariables = cacheVariablesOf(read);
  const prefix = prefixOf(read);
  const databaseVariables = databaseVariablesOf(read);
  const binding = databaseVariables.isOurs ? null : bindingOf(read);

  // A program that sets one of a store's variables means that store. Half a set-up is reported, so
  // that circuits do not count elsewhere unnoticed.
  const means = {
    cache: [cacheVariables.url, cacheVariables.token, ...CACHE_ONLY].some(read),
    database: binding !== null || [databaseVariables.url, databaseVariables.token].some(read),
  };
  const store = said ?? (means.cache ? "cache" : means.database ? "database" : "array");
  const notes = notesOnStrangers(read, store, said);
  const instance = instanceOf(read);
  const trail = trailOf(read);

  function make<T>(name: "cache" | "database", isOurs: boolean, one: () => T): T | null {
    const isNeeded = store === name || store === "tiered";
    if (!isNeeded && !means[name]) return null;
    try {
      return one();
    } catch (error) {
      // Variables that other programs read too may be meant for those alone.
      if (isNeeded || isOurs || !(error instanceof Fault)) throw error;
      if (said !== "array" && !error.isOthers) {
        notes.push(`there is no store "${name}": ${error.message.slice(CANNOT.length + 2)}`);
      }
      return null;
    }
  }
  const cache = make("cache", false, () => ({ ...cacheOf(read, cacheVariables), prefix }));
  const { isOurs } = databaseVariables;
  const database = make("database", isOurs, () => ({
    ...(binding ?? databaseOf(read, databaseVariables)),
    ...trail,
  }));
  if (database === null && said !== "array") {
    for (const name of TRAIL_ONLY.filter(read)) {
      notes.push(`"${name}" has no effect, as there is no store "database"`);
    }
  }
  if (store === "tiered" && trail.audit === "calls") {
    notes.push(`FUSE_AUDIT=calls has no effect on the store "tiered", which keeps no row a call`);
  }

  const platform = store === "array" ? platformOf(read) : null;
  if (platform !== null) {
    notes.push(
      `circuits are kept in the memory of one isolate, and ${platform} runs many that will not ` +
        `learn of each other's failures; set FUSE_STORE=cache, UPSTASH_REDIS_REST_URL and ` +
        `UPSTASH_REDIS_REST_TOKEN`,
    );
  }
  return { store, cache, database, instance, notes };
}

/** A mistake in the variables of one store. */
class Fault extends TypeError {
  override readonly name = "TypeError";
  /** `true` if the value is plainly meant for another program. */
  readonly isOthers: boolean;

  constructor(text: string, isOthers = false) {
    super(`${CANNOT}: ${text}`);
    this.isOthers = isOthers;
  }
}

function checkEnv(env: unknown): void {
  const allowed = "an object of variables, such as Deno.env.toObject() or a Worker's env";
  const isDenoEnv = env !== undefined &&
    env === (globalThis as { Deno?: { env?: unknown } }).Deno?.env;
  if (typeof env !== "object" || env === null || Array.isArray(env) || isDenoEnv) {
    const came = isDenoEnv ? "Deno.env" : typeof env === "string" ? "a string" : received(env);
    throw new TypeError(`${CANNOT}: "env" must be ${allowed}, received ${came}`);
  }
  if (isListed(env)) {
    throw new TypeError(
      `${CANNOT}: "env" must be ${allowed}, received entries, as a Map has; give ` +
        `Object.fromEntries(map)`,
    );
  }
}

/** A Map, Headers, URLSearchParams or FormData: none has its entries as properties. */
function isListed(env: object): boolean {
  try {
    return Symbol.iterator in env;
  } catch {
    return false;
  }
}

/** Stands for a value whose getter throws. */
const UNREADABLE = Symbol("a value that cannot be read");

/** An empty text counts as not set: that is the meaning of `FUSE_STORE=` in a file. */
function variableOf(env: object, name: string): Variable | null {
  let value: unknown;
  try {
    value = env[name as keyof typeof env];
  } catch {
    value = UNREADABLE;
  }
  return value === undefined || value === null || value === "" ? null : { name, value };
}

/** A Worker may give bindings any name, so only data is a variable. */
function refuseMisspelled(env: object): void {
  let names: string[] = [];
  try {
    names = Object.keys(env);
  } catch {
    // An `env` that cannot be listed can still be read.
  }
  for (const name of names) {
    if (!name.startsWith("FUSE_") || OURS.includes(name)) continue;
    const type = typeof variableOf(env, name)?.value;
    if (type === "string" || type === "number" || type === "boolean") {
      throw new TypeError(
        `${CANNOT}: there is no variable ${received(name)}, only ${OURS.join(", ")}`,
      );
    }
  }
}

/** The parts of another kind of address: a program that sets them expects circuits to go there. */
function refuseHosts(read: Read): void {
  for (const name of ["CB_DB_HOST", "CB_DB_DATABASE"]) {
    if (typeof read(name)?.value === "string") {
      throw new TypeError(
        `${CANNOT}: "${name}" is not read, as the database is reached by one address; set ` +
          `CB_DB_URL (libsql:, https:, http: or file:) and CB_DB_AUTH_TOKEN`,
      );
    }
  }
}

/** Variables of other programs that look as if they had a meaning here. */
function notesOnStrangers(read: Read, store: StoreName, said: StoreName | null): string[] {
  const isSet = (name: string) => typeof read(name)?.value === "string";
  const isOpen = said === null && store === "array";
  const notes: string[] = [];
  if ((store === "cache" || store === "tiered" || isOpen) && isSet("CACHE_DRIVER")) {
    notes.push(
      `"CACHE_DRIVER" is not read; FUSE_STORE and FUSE_CACHE_STORE say where circuits are kept`,
    );
  }
  if ((store === "database" || store === "tiered" || isOpen) && isSet("DB_CONNECTION")) {
    notes.push(
      `"DB_CONNECTION" is not read; FUSE_STORE=database with CB_DB_URL, or TURSO_DATABASE_URL, ` +
        `says where circuits are kept`,
    );
  }
  return notes;
}

function storeSaid(read: Read): StoreName | null {
  const said = read("FUSE_STORE");
  if (said === null) return null;
  const store = STORES.find((name) => name === said.value);
  return store ?? refuse(said, `one of ${STORES.map((name) => `"${name}"`).join(", ")}`);
}

function instanceOf(read: Read): string | null {
  const said = read("FUSE_INSTANCE");
  if (said === null) return null;
  const { value } = said;
  if (typeof value === "string" && value.length <= 100 && inLine(value) === value) {
    return value;
  }
  return refuse(said, "a text of 1-100 characters on one line");
}

function trailOf(read: Read): Trail {
  const said = read("FUSE_AUDIT");
  const audit = said === null ? "transitions" : said.value;
  if (audit !== "transitions" && audit !== "calls") {
    return refuse(said!, `"transitions" or "calls"`);
  }
  const key = read("FUSE_TRAIL_KEY");
  return { audit, trailKey: key === null ? undefined : textOf(key) };
}

interface Names {
  readonly url: string;
  readonly token: string;
}

/** `redis-critical` is in `UPSTASH_REDIS_CRITICAL_REST_URL` and `UPSTASH_REDIS_CRITICAL_REST_TOKEN`. */
function cacheVariablesOf(read: Read): Names {
  const said = read("FUSE_CACHE_STORE");
  const name = said === null ? "redis" : said.value;
  if (
    typeof name !== "string" || name.length > 50 || !/^[a-z][a-z\d]*([_-][a-z\d]+)*$/i.test(name)
  ) {
    return refuse(
      said!,
      `a name such as "redis" or "redis-critical": letters and digits with single hyphens or ` +
        `underscores in between, at most 50 characters`,
    );
  }
  const middle = name.replaceAll("-", "_").toUpperCase();
  const vercel = { url: "KV_REST_API_URL", token: "KV_REST_API_TOKEN" };
  const names = { url: `UPSTASH_${middle}_REST_URL`, token: `UPSTASH_${middle}_REST_TOKEN` };
  // As a pair: no token of one is ever sent to the other.
  const isVercel = middle === "REDIS" && ![names.url, names.token].some(read) &&
    [vercel.url, vercel.token].some(read);
  return isVercel ? vercel : names;
}

function prefixOf(read: Read): string {
  const said = read("FUSE_CACHE_PREFIX");
  if (said === null) return "circuit_breaker";
  const { value } = said;
  if (typeof value !== "string" || value.length > 200 || /[\s\p{Cc}\p{Cs}]/u.test(value)) {
    return refuse(said, "a text of 1-200 characters without spaces");
  }
  return value;
}

function cacheOf(read: Read, names: Names): { url: string; token: string } {
  const [url, token] = [read(names.url), read(names.token)];
  const missing = [names.url, names.token].filter((name) => read(name) === null);
  if (url === null || token === null) {
    throw new Fault(
      `${missing.map((name) => `"${name}"`).join(" and ")} must be set for the store "cache"`,
    );
  }
  const address = addressOf(url, ["https:", "http:"]);
  if (makeClient(address, "none") === null) {
    throw new Fault(
      `"${names.url}" must be an address that begins with https:// or http://, in lower case, ` +
        `${OF_HOST}, received another text of ${address.length} characters`,
    );
  }
  return { url: address, token: tokenOf(token) };
}

/** A database for circuits alone wins as a pair: another's token is never sent there. */
function databaseVariablesOf(read: Read): Names & { readonly isOurs: boolean } {
  const ours = { url: "CB_DB_URL", token: "CB_DB_AUTH_TOKEN", isOurs: true };
  if (read(ours.url) !== null || read(ours.token) !== null) return ours;
  return { url: "TURSO_DATABASE_URL", token: "TURSO_AUTH_TOKEN", isOurs: false };
}

/** Methods show the kind of a binding: a Worker may give its bindings any name. */
function bindingOf(read: Read): Binding | null {
  const has = (value: unknown, ...methods: string[]) =>
    typeof value === "object" &&
    methods.every((name) => typeof methodOf(value, name) === "function");
  const [db, objects] = [read("FUSE_DB")?.value, read("FUSE")?.value];
  if (has(db, "prepare", "batch")) return { d1: db as D1Like };
  if (has(objects, "idFromName", "get")) return { objects: objects as NamespaceLike };
  return null;
}

function methodOf(value: unknown, name: string): unknown {
  try {
    return Object(value)[name];
  } catch {
    return undefined;
  }
}

function databaseOf(
  read: Read,
  names: Names & { isOurs: boolean },
): { url: string; authToken: string | undefined } {
  const [said, token] = [read(names.url), read(names.token)];
  if (said === null) {
    const or = names.isOurs ? "" : `, or "CB_DB_URL",`;
    throw new Fault(`"${names.url}"${or} must be set for the store "database"`);
  }
  const url = fileOf(said) ?? addressOf(said, ["libsql:", "https:", "http:"]);
  if (token === null && hostOf(url)?.endsWith(".turso.io")) {
    throw new Fault(`"${names.token}" must be set for a database at Turso`);
  }
  return { url, authToken: token === null ? undefined : tokenOf(token) };
}

/** Returns a file of this machine, which a Worker does not have; `null` for another address. */
function fileOf({ name, value }: Variable): string | null {
  if (typeof value !== "string" || !/^file:[^?#"'\\\s\p{Cc}\p{Cs}]+$/u.test(value)) return null;
  if (!isWorker()) return value;
  throw new Fault(`"${name}" must not be a file on Cloudflare Workers, which have none`, true);
}

/** The value is never repeated: there may be a password anywhere in it. */
function addressOf(said: Variable, schemes: readonly string[]): string {
  const { name, value } = said;
  const url = textOf(said);
  const allowed = `must be an address that begins with ${
    schemes.map((scheme) => `${scheme}//`).join(" or ")
  }`;
  const scheme = /^(\w+|):/.exec(url)?.[1]?.toLowerCase();
  // The errors below explain the usual mix-ups.
  if (scheme === "file" || scheme === "") {
    throw new Fault(
      `"${name}" ${allowed}, or be a file, as file:circuits.db, received another file or a database in ` +
        `memory; for that make the store yourself, with createFuse() and libsql({ client }) of ` +
        `@fuse/edge/libsql`,
      true,
    );
  }
  if (scheme === "redis" || scheme === "rediss") {
    throw new Fault(
      `"${name}" ${allowed}, received one of Redis's own protocol; take the REST address`,
    );
  }
  const host = schemes.includes(`${scheme}:`) ? hostOf(url) : null;
  if (host === null || !/^\w+:\/\/[^@?#"'\\\s\p{Cc}\p{Cs}]+$/u.test(url)) {
    throw new Fault(
      `"${name}" ${allowed}, without credentials, query, fragment, spaces or quotes, received ` +
        `another text of ${String(value).length} characters`,
    );
  }
  return url;
}

/** Returns `null` if there is none, or the address is invalid. */
function hostOf(url: string): string | null {
  try {
    // Hosts are checked only for schemes that the Web knows.
    return new URL(url.replace(/^libsql:/i, "https:")).hostname;
  } catch {
    return null;
  }
}

/** Checks the value for use in a header. */
function tokenOf(said: Variable): string {
  const token = textOf(said);
  if (/^[!#-&(-~]+$/.test(token)) return token;
  throw new Fault(
    `"${said.name}" must be a token of ASCII characters without spaces or quotes, received another ` +
      `text of ${token.length} characters`,
  );
}

function textOf({ name, value }: Variable): string {
  if (typeof value === "string" && value.length <= LONGEST) return value;
  const came = typeof value === "string"
    ? `one of ${value.length}`
    : value === UNREADABLE
    ? UNREADABLE.description
    : received(value);
  throw new Fault(`"${name}" must be a text of at most ${LONGEST} characters, received ${came}`);
}

/** Shows a word, and hides a possible secret in the wrong place. */
function refuse({ name, value }: Variable, allowed: string): never {
  const came = typeof value !== "string"
    ? value === UNREADABLE ? UNREADABLE.description : received(value)
    : value.length <= 30 && !/[:/@=\d]/.test(value)
    ? received(value)
    : `another text of ${value.length} characters`;
  const Refusal = typeof value === "string" ? RangeError : TypeError;
  throw new Refusal(`${CANNOT}: "${name}" must be ${allowed}, received ${came}`);
}

/** Returns the platform, if it runs a program in many isolates. Deno Deploy sets variables. */
function platformOf(read: Read): string | null {
  if (isWorker()) return "Cloudflare Workers";
  const isDeploy = ["DENO_DEPLOY", "DENO_DEPLOYMENT_ID"].some((name) =>
    typeof read(name)?.value === "string"
  );
  return isDeploy ? "Deno Deploy" : null;
}

function isWorker(): boolean {
  return globalThis.navigator?.userAgent === "Cloudflare-Workers";
}
