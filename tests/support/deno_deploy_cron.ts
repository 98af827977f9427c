/**
 * Imports `examples/deno-deploy.ts`, and prints as JSON whether its cron job is registered and how
 * many rows `prune()` deletes. Run by `tests/system/deno_deploy_test.ts`.
 */
import app, { prune } from "../../examples/deno-deploy.ts";

const deleted = await prune();
console.log(JSON.stringify({
  serves: typeof app.fetch,
  cron: typeof Deno.cron,
  registered: isTaken("prune the trail"),
  deleted,
}));
Deno.exit(0); // a cron job would keep it alive

/** Deno has one cron job for each name, and refuses a second. */
function isTaken(name: string): boolean {
  try {
    Deno.cron?.(name, "0 4 * * *", () => {});
    return false;
  } catch (error) {
    if (error instanceof TypeError && /already exists/.test(error.message)) return true;
    throw error;
  }
}
