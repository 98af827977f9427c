import { cloudflareForFile, testContract } from "../../support/cloudflare/databases.ts";

const cloudflare = await cloudflareForFile();
await cloudflare.ask("/migrate");

testContract(cloudflare, "d1");
