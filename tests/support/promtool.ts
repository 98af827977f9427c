/**
 * `promtool`, which checks and tests rules of Prometheus: where it is, and how to run it.
 *
 * @module
 */
import { search } from "./debian.ts";
import { SCALE } from "./scale.ts";

/** Appended to the name of a test that is ignored because there is no `promtool`. */
export const PROMTOOL_MISSING =
  ' (NOT CHECKED: no "promtool" here, install the package "prometheus" of Debian or Ubuntu)';

const FOLDER = `${Deno.env.get("TMPDIR") ?? "/tmp"}/fuse-edge-promtool`;

/**
 * Finds `promtool` on the path. A full run takes it from Debian's package, which is unpacked rather
 * than installed: installed, it would start an unwanted Prometheus. Returns `undefined` if it is
 * not available.
 */
export async function findPromtool(): Promise<string | undefined> {
  const path = Deno.env.get("PATH") ?? "";
  const found = await search(`${path}:${FOLDER}/usr/bin`, "promtool");
  if (found !== undefined || SCALE !== "full") return found;
  for (const program of ["apt-get", "dpkg-deb"]) {
    if (await search(path, program) === undefined) return undefined;
  }
  return await unpack() ? `${FOLDER}/usr/bin/promtool` : undefined;
}

/** Runs `promtool`, and returns both of its output streams as one text. */
export async function promtool(
  path: string,
  args: readonly string[],
  input = "",
): Promise<{ ok: boolean; said: string }> {
  await using process = new Deno.Command(path, {
    args: [...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const fed = new Blob([input]).stream().pipeTo(process.stdin).catch(() => {}); // some do not read
  const [stdout, stderr, { success }] = await Promise.all([
    new Response(process.stdout).text(),
    new Response(process.stderr).text(),
    process.status,
    fed,
  ]);
  return { ok: success, said: stdout + stderr };
}

async function unpack(): Promise<boolean> {
  const folder = await Deno.makeTempDir({ prefix: "fuse-edge-promtool-" });
  try {
    const download = () => run(folder, "apt-get", "-qq", "download", "prometheus");
    // A new machine has no list of packages, and only root may fetch it.
    if (!await download() && !(await run(folder, "apt-get", "-qq", "update") && await download())) {
      return false;
    }
    const [file] = [...Deno.readDirSync(folder)];
    if (file === undefined || !await run(folder, "dpkg-deb", "-x", file.name, "unpacked")) {
      return false;
    }
    // Another run may have written it in the meantime.
    await Deno.rename(`${folder}/unpacked`, FOLDER).catch(() => {});
    return true;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function run(folder: string, program: string, ...args: string[]): Promise<boolean> {
  const { success } = await new Deno.Command(program, {
    args,
    cwd: folder,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).output();
  return success;
}
