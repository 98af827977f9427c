/**
 * The promised surface, as types: a use compiles, or the promise is broken. Types may gain members;
 * none disappears, and no option accepts less.
 *
 * @module
 */
import { assertEquals } from "@std/assert";

/** Asserts that a returned type has all promised members. */
export function gives<Promised, _Ours extends Promised>(): void {}

/** Asserts that a promised argument is accepted. */
export function takes<Ours, _Promised extends Ours>(): void {}

/** Asserts that two types are equal. */
export function same<A extends B, B extends C, C = A>(): void {}

/** Asserts a function or class of the promised type. */
export function is<Promised>(value: Promised): void {
  assertEquals(typeof value, "function");
}

/** Options that may be omitted or `undefined`. */
export type Maybe<T> = { [K in keyof T]?: T[K] | undefined };

/** One or a list. */
export type Many<T> = T | readonly T[];

/** Members of type string. */
export type Texts<K extends string> = { readonly [_ in K]: string };

/** Members of type number. */
export type Numbers<K extends string> = { readonly [_ in K]: number };
