import { cloudflareForFile, testContract } from "../../support/cloudflare/databases.ts";

const cloudflare = await cloudflareForFile();

testContract(cloudflare, "durable-object");
testContract(cloudflare, "three durable objects");
