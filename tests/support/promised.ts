/**
 * What users were promised, as types: a call compiles, or the promise is broken. Types may gain
 * members; none goes, and no option takes less.
 *
 * @module
 */
import { assertEquals } from "@std/assert";

/** What we hand out has all that was promised. */
export function gives<Promised, _Ours extends Promised>(): void {}

/** What was promised to be taken, is. */
export function takes<Ours, _Promised extends Ours>(): void {}

/** Neither more nor less. */
export function same<A extends B, B extends C, C = A>(): void {}

/** A function or class, and of the type that was promised. */
export function is<Promised>(value: Promised): void {
  assertEquals(typeof value, "function");
}

/** Options that may be left out or `undefined`. */
export type Maybe<T> = { [K in keyof T]?: T[K] | undefined };

/** One or a list. */
export type Many<T> = T | readonly T[];

/** Members that are texts. */
export type Texts<K extends string> = { readonly [_ in K]: string };

/** Members that are numbers. */
export type Numbers<K extends string> = { readonly [_ in K]: number };
