/**
 * Loaded before the tests of a mutant: the first counterexample kills it, and is not shrunk, which
 * would take longer than the rest.
 *
 * @module
 */
import fc from "fast-check";

fc.configureGlobal({ ...fc.readConfigureGlobal(), endOnFailure: true });
