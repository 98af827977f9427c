/** For `deno task db:generate`, `db:migrate` and `db:studio`. The library itself never reads it. */
import { defineConfig } from "drizzle-kit";

const authToken = Deno.env.get("TURSO_AUTH_TOKEN") ?? Deno.env.get("CB_DB_AUTH_TOKEN");

export default defineConfig({
  dialect: "turso",
  schema: "./drivers/libsql/schema.ts",
  out: "./migrations",
  dbCredentials: {
    url: Deno.env.get("CB_DB_URL") ?? Deno.env.get("TURSO_DATABASE_URL") ?? "file:fuse.db",
    ...(authToken === undefined ? {} : { authToken }),
  },
});
