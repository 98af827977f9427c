/**
 * The channels of this package.
 *
 * @module
 */

import { check, known, MAX_TIMER_MS, refuse, refuseUnseen } from "../checks.ts";
import { hasName } from "../errors.ts";
import type { Notice } from "./notices.ts";

/** Delivers notices, oldest first. If it rejects, it is called again. */
export type Channel = (notices: readonly Notice[]) => Promise<void>;

/** Options of {@linkcode slack}. */
export interface SlackOptions {
  /** The address of an incoming webhook. It is a secret, and is shown in no error. */
  url: string;
  /**
   * How long to wait for an answer, in ms. A positive integer.
   *
   * @default {5000}
   */
  timeoutMs?: number | undefined;
}

/** Options of {@linkcode webhook}. */
export interface WebhookOptions extends SlackOptions {
  /** Signs each request. By default, requests are not signed. */
  secret?: string | undefined;
  /** Headers of each request, such as `authorization`: an address has no credentials. By default, there are none. */
  headers?: Record<string, string> | undefined;
}

/** A channel has failed. The message has nothing of the address, the headers or the answer. */
export class DeliveryError extends Error {
  override readonly name = "DeliveryError";
  /** `true` if another attempt may succeed. */
  readonly passing: boolean;
  /** The pause that the receiver asked for, in ms, or 0. */
  readonly retryAfterMs: number;

  constructor(message: string, passing: boolean, retryAfterMs = 0) {
    super(message);
    this.passing = passing;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Recognizes the error by its shape, because another copy of the package may have made the channel. */
export function isDeliveryError(error: unknown): error is DeliveryError {
  return hasName(error, "DeliveryError") &&
    typeof (error as Partial<DeliveryError>).passing === "boolean";
}

/**
 * Makes a channel that POSTs `{ notices }` as JSON. With a secret, each request has a header
 * `Fuse-Signature: t=<seconds>,v1=<hex>`: the HMAC-SHA-256 of the text `<seconds>.<body>`. A receiver
 * compares it in constant time, and refuses a `t` that is more than some minutes old.
 *
 * Every answer but 2xx is a failure, a redirect included. 429 and 5xx are tried again.
 *
 * @param options See {@linkcode WebhookOptions}.
 * @returns A channel for `notify()`. Making it performs no I/O.
 * @throws {TypeError | RangeError} Naming the option.
 */
export function webhook(options: WebhookOptions): Channel {
  known("webhook", options, ["url", "secret", "headers", "timeoutMs"]);
  const { secret, headers = {} } = options;
  if (secret !== undefined && (typeof secret !== "string" || secret === "")) {
    refuseUnseen("webhook", "secret", "a text that is not empty", secret);
  }
  const fixed = headersOf(headers);
  const post = poster("webhook", options);
  return async (notices) => {
    const body = JSON.stringify({ notices });
    const sent = new Headers(fixed);
    sent.set("content-type", "application/json");
    if (secret !== undefined) sent.set("fuse-signature", await signatureOf(secret, body));
    await post(body, sent);
  };
}

/**
 * Makes a channel that posts the texts of notices to an incoming webhook of Slack, in as few messages as
 * possible.
 *
 * @param options See {@linkcode SlackOptions}.
 * @returns A channel for `notify()`. Making it performs no I/O.
 * @throws {TypeError | RangeError} Naming the option.
 */
export function slack(options: SlackOptions): Channel {
  known("slack", options, ["url", "timeoutMs"]);
  const post = poster("slack", options);
  return async (notices) => {
    for (const text of messagesOf(notices.map(({ text }) => escaped(text)))) {
      await post(JSON.stringify({ text }), new Headers({ "content-type": "application/json" }));
    }
  };
}

/** Escapes the characters with which Slack begins mentions, links and commands. */
function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** The longest message for Slack, in characters. A longer text is cut there. */
const MAX_MESSAGE = 3_900;

/** Joins texts to messages. */
function messagesOf(texts: readonly string[]): string[] {
  const messages: string[] = [];
  for (const text of texts) {
    const cut = text.length > MAX_MESSAGE ? `${text.slice(0, MAX_MESSAGE)}…` : text;
    const joined = messages.length === 0 ? cut : `${messages.at(-1)}\n${cut}`;
    if (messages.length > 0 && joined.length <= MAX_MESSAGE) messages[messages.length - 1] = joined;
    else messages.push(cut);
  }
  return messages;
}

async function signatureOf(secret: string, body: string): Promise<string> {
  const seconds = Math.floor(Date.now() / 1_000);
  const bytes = (text: string) => new TextEncoder().encode(text);
  const hmac = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", bytes(secret), hmac, false, ["sign"]);
  const signature = await crypto.subtle.sign("HMAC", key, bytes(`${seconds}.${body}`));
  const hex = Array.from(new Uint8Array(signature), (byte) => byte.toString(16).padStart(2, "0"));
  return `t=${seconds},v1=${hex.join("")}`;
}

/** Returns a function that POSTs to an address. */
function poster(
  subject: string,
  options: SlackOptions,
): (body: string, headers: Headers) => Promise<void> {
  const { url } = options;
  if (!isAddress(url)) {
    refuseUnseen(subject, "url", "an address with http: or https:, without credentials", url);
  }
  const timeoutMs = check(subject, "timeoutMs", options.timeoutMs, 5_000, 1, MAX_TIMER_MS);
  return async (body, headers) => {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), timeoutMs);
    let response: Response;
    try {
      const { signal } = late;
      response = await fetch(url, { method: "POST", body, headers, signal, redirect: "manual" });
      await response.body?.cancel();
    } catch {
      // The platform's own error may have the address in it.
      const why = late.signal.aborted ? `did not answer within ${timeoutMs} ms` : "was not reached";
      throw new DeliveryError(`the ${subject} ${why}`, true);
    } finally {
      clearTimeout(timer);
    }
    if (response.ok) return;
    const passing = response.status === 429 || response.status >= 500;
    const seconds = Number(response.headers.get("retry-after") ?? 0);
    const retryAfterMs = seconds > 0 && seconds < 1e6 ? seconds * 1_000 : 0;
    throw new DeliveryError(`the ${subject} answered ${response.status}`, passing, retryAfterMs);
  };
}

function isAddress(url: unknown): boolean {
  try {
    if (typeof url !== "string") return false;
    const { protocol, username, password } = new URL(url);
    // Not every fetch() takes them.
    return /^https?:$/.test(protocol) && username + password === "";
  } catch {
    return false;
  }
}

/** @throws {TypeError} If they are no headers. */
function headersOf(headers: unknown): Headers {
  if (typeof headers !== "object" || headers === null) {
    refuse("webhook", "headers", "an object of texts", headers);
  }
  try {
    return new Headers(headers as Record<string, string>);
  } catch {
    // Its message may have a header's value in it.
    throw new TypeError('Cannot create webhook: "headers" must be names and values of headers');
  }
}
