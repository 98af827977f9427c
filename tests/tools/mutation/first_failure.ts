/**
 * Loaded before the tests of a mutant: the first counterexample kills it, and none is made smaller. That
 * takes longer than all the rest.
 *
 * @module
 */
import fc from "fast-check";

fc.configureGlobal({ ...fc.readConfigureGlobal(), endOnFailure: true });
