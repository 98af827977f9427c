/**
 * Patches that take away what rows of the seed promise: `patches/<rows>-<what>.patch`.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { filesBelow, root } from "../support/gate_project.ts";
import { type Group, slugOf } from "./rows.ts";

const FOLDER = "tests/seed/patches";

/** The patches of a group, as paths from the top of the tree. */
export function patchesOf(group: Group): string[] {
  const slug = `${FOLDER}/${slugOf(group)}-`;
  // "S1-" is no beginning of "S1-S2-…": what follows is a word.
  return filesBelow(FOLDER, ".patch").filter((path) =>
    path.startsWith(slug) && /^[a-z]/.test(path.slice(slug.length))
  );
}

/** Why a patch does not apply to the tree; `null` if it does. */
export async function applies(path: string): Promise<string | null> {
  return await git("apply", "--check", path);
}

/** Applies a patch to a copy of the tree. */
export async function apply(path: string, copy: string): Promise<string | null> {
  return await git("-C", copy, "apply", fileURLToPath(new URL(path, root)));
}

/** What went wrong, if anything did. */
async function git(...args: string[]): Promise<string | null> {
  const { success, stderr } = await new Deno.Command("git", {
    args,
    cwd: fileURLToPath(root),
    stdin: "null",
  }).output().catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Error("git is missing: whoever has a checkout needs it to apply patches");
  });
  return success ? null : new TextDecoder().decode(stderr).trim();
}
