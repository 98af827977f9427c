// Guarded fetch over real HTTP: outcomes, requests, and the circuit of a URL.
import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { CircuitBreakerOpenError } from "@fuse/edge";
import { hostOf } from "../../src/fetch.ts";
import { onEverySetup } from "../support/setups.ts";
import {
  breakerOf,
  counted,
  echoStatus,
  fuseOf,
  type Handler,
  LIMITS,
  upstream,
} from "../support/upstream.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

for (const status of [500, 502, 503, 599, 429]) {
  Deno.test(`CircuitBreaker.fetch() counts a failure and returns the Response when its status is ${status}`, async () => {
    await upstream(echoStatus, async (url) => {
      const breaker = breakerOf();
      const response = await breaker.fetch(url + status);
      assertEquals([response.status, await response.text()], [status, "text"]);
      assertEquals(await counted(breaker), [0, 1]);
    });
  });
}

for (const status of [200, 204, 304, 400, 401, 404, 408, 410, 428, 430, 499]) {
  Deno.test(`CircuitBreaker.fetch() counts a success when the status is ${status}`, async () => {
    await upstream(echoStatus, async (url) => {
      const breaker = breakerOf();
      const response = await breaker.fetch(url + status);
      await response.text();
      assertEquals(response.status, status);
      assertEquals(await counted(breaker), [1, 0]);
    });
  });
}

Deno.test("CircuitBreaker.fetch() counts a failure when no server listens", async () => {
  let url = "";
  await upstream(echoStatus, (address) => Promise.resolve(void (url = address)));
  const breaker = breakerOf();
  await assertRejects(() => breaker.fetch(url), TypeError);
  assertEquals(await counted(breaker), [0, 1]);
});

Deno.test("CircuitBreaker.fetch() uses isFailure if it is given", async () => {
  await upstream(echoStatus, async (url) => {
    const breaker = breakerOf({
      isFailure: (outcome) => outcome.ok && (outcome.value as Response).status === 404,
    });
    await (await breaker.fetch(url + 404)).text();
    await (await breaker.fetch(url + 500)).text();
    assertEquals(await counted(breaker), [1, 1]);
  });
});

// The clock of these tests stands at Wed, 01 Jan 2025 00:00:00 GMT.
const COOLDOWN_MS = 1_000;
const MAX_COOLDOWN_MS = 600_000;
for (
  const [header, cooldownMs] of [
    ["300", 300_000],
    [" 300 ", 300_000],
    ["Wed, 01 Jan 2025 00:05:00 GMT", 300_000],
    ["Wednesday, 01-Jan-25 00:05:00 GMT", 300_000],
    ["Wed Jan  1 00:05:00 2025", 300_000],
    // No shorter than the circuit's own cooldown.
    ["0", COOLDOWN_MS],
    ["Tue, 31 Dec 2024 23:59:59 GMT", COOLDOWN_MS],
    // No longer than the circuit allows.
    ["601", MAX_COOLDOWN_MS],
    ["9".repeat(400), MAX_COOLDOWN_MS],
    ["Wed, 01 Jan 2098 00:00:00 GMT", MAX_COOLDOWN_MS],
    // Invalid values.
    ...[
      "",
      "soon",
      "-300",
      "+300",
      "300.5",
      "3e2",
      "0x12C",
      "300s",
      "300, 300",
      "2098-01-01T00:00:00Z",
      "01 Jan 2098 00:00:00 GMT",
      "Sunny 2098",
      "Wednesday 2098",
      "Wed, 01 Jan 2098",
      "Wed, 01 Jan 2098 00:00:00 +0000",
      "Wed, 01 Foo 2098 00:00:00 GMT",
      "Wed, 01 Jan 2098 25:00:00 GMT",
    ].map((garbage) => [garbage, COOLDOWN_MS] as const),
  ] as const
) {
  const shown = header.length > 60 ? `${header.slice(0, 9)}…` : header;
  onEverySetup(
    `CircuitBreaker.fetch() cools down for ${cooldownMs} ms when Retry-After is "${shown}"`,
    async (world) => {
      // Rule 6.
      const handler = () => new Response(null, { status: 503, headers: { "retry-after": header } });
      await upstream(handler, async (url) => {
        const breaker = world.breaker({
          failureThreshold: 1,
          cooldownMs: COOLDOWN_MS,
          maxCooldownMs: MAX_COOLDOWN_MS,
        });
        await (await breaker.fetch(url)).text();
        await world.sync();
        const { state, openUntil } = world.stored();
        assertEquals([state, openUntil], ["OPEN", world.clock.now() + cooldownMs]);
      });
    },
  );
}

onEverySetup(
  "CircuitBreaker.fetch() follows the Retry-After of a failed trial alone",
  async (world) => {
    // Rule 6: of the Response whose record found the transition due, also of a trial.
    const asked: [status: number, retryAfter: string][] = [[503, "400"], [503, "2"], [503, "300"]];
    const handler = () => {
      const [status, after] = asked.shift()!;
      return new Response(null, { status, headers: { "retry-after": after } });
    };
    await upstream(handler, async (url) => {
      const breaker = world.breaker({ failureThreshold: 2, cooldownMs: COOLDOWN_MS });
      await (await breaker.fetch(url)).text();
      await world.sync();
      await (await breaker.fetch(url)).text();
      await world.sync();
      assertEquals(world.stored().openUntil, world.clock.now() + 2_000);
      world.clock.advance(2_000);
      await (await breaker.fetch(url)).text();
      await world.sync();
      const { state, reopenCount, openUntil } = world.stored();
      assertEquals([state, reopenCount, openUntil], ["OPEN", 1, world.clock.now() + 300_000]);
    });
  },
);

onEverySetup(
  "CircuitBreaker.fetch() ignores Retry-After when the Response is no failure",
  async (world) => {
    // The failure that opens it asks for no delay; the success before it did.
    const answers = [
      new Response(null, { status: 200, headers: { "retry-after": "300" } }),
      new Response(null, { status: 500 }),
    ];
    await upstream(() => answers.shift()!, async (url) => {
      const breaker = world.breaker({ failureThreshold: 1, cooldownMs: COOLDOWN_MS });
      await (await breaker.fetch(url)).text();
      await (await breaker.fetch(url)).text();
      await world.sync();
      assertEquals(world.stored().openUntil, world.clock.now() + COOLDOWN_MS);
    });
  },
);

Deno.test("CircuitBreaker.fetch() throws CircuitBreakerOpenError and sends nothing when the circuit is open", async () => {
  let asked = 0;
  const handler = () => {
    asked++;
    return new Response(null, { status: 500 });
  };
  await upstream(handler, async (url) => {
    const breaker = breakerOf({ failureThreshold: 2 });
    for (let i = 0; i < 2; i++) await (await breaker.fetch(url)).text();
    const error = await assertRejects(() => breaker.fetch(url));
    assertInstanceOf(error, CircuitBreakerOpenError);
    assertEquals([error.state, error.circuit.name, asked], ["OPEN", "upstream", 2]);
  });
});

Deno.test("CircuitBreaker.fetch() returns the fallback's Response when the circuit is open", async () => {
  let asked = 0;
  const handler = () => {
    asked++;
    return new Response(null, { status: 500 });
  };
  await upstream(handler, async (url) => {
    const breaker = breakerOf({
      failureThreshold: 1,
      cooldownMs: 30_000,
      fallback: ({ error }) => (error as CircuitBreakerOpenError).getResponse(),
    });
    const failed = await breaker.fetch(url);
    await failed.text();
    assertEquals(failed.status, 500);
    const response = await breaker.fetch(url);
    assertEquals([response.status, response.headers.get("retry-after")], [503, "30"]);
    assertEquals([(await response.json()).status, asked], [503, 1]);
  });
});

/**
 * The arguments of fetch, and the request that the upstream then receives: method, path, header,
 * body.
 */
const INPUTS: [
  what: string,
  argumentsOf: (url: string) => Parameters<typeof fetch>,
  heard: string[],
][] = [
  ["text", (url) => [`${url}a?b=c`], ["GET", "/a?b=c", "", ""]],
  ["a URL", (url) => [new URL("a", url)], ["GET", "/a", "", ""]],
  [
    "a URL with a body",
    (url) => [new URL(url), { method: "POST", body: "told", headers: { "x-mark": "1" } }],
    ["POST", "/", "1", "told"],
  ],
  ["a Request", (url) => [new Request(url, { headers: { "x-mark": "1" } })], ["GET", "/", "1", ""]],
  [
    "a Request with a body",
    (url) => [new Request(url, { method: "PUT", body: "told" })],
    ["PUT", "/", "", "told"],
  ],
  [
    "a Request and an init that wins over it",
    (url) => [
      new Request(url, { method: "PUT", body: "before", headers: { "x-mark": "1" } }),
      { method: "PATCH", body: "after" },
    ],
    ["PATCH", "/", "1", "after"],
  ],
  [
    "a Request in place of init",
    (url) => [
      `${url}a`,
      new Request(url, { method: "POST", body: "told", headers: { "x-mark": "1" } }),
    ],
    ["POST", "/a", "1", "told"],
  ],
  [
    "a stream",
    (url) => [url, {
      method: "POST",
      body: ReadableStream.from(["to", "ld"]).pipeThrough(new TextEncoderStream()),
      duplex: "half",
    } as RequestInit],
    ["POST", "/", "", "told"],
  ],
  [
    "a Request with a stream",
    (url) => [
      new Request(url, {
        method: "POST",
        body: ReadableStream.from(["to", "ld"]).pipeThrough(new TextEncoderStream()),
        duplex: "half",
      } as RequestInit),
    ],
    ["POST", "/", "", "told"],
  ],
  [
    "a form",
    (url) => [url, { method: "POST", body: new URLSearchParams({ a: "b c" }) }],
    ["POST", "/", "", "a=b+c"],
  ],
];

/** Answers with the request that it received. */
const echo: Handler = async (request) => {
  const { pathname, search } = new URL(request.url);
  const mark = request.headers.get("x-mark") ?? "";
  return Response.json([request.method, pathname + search, mark, await request.text()]);
};

for (const [what, argumentsOf, heard] of INPUTS) {
  for (const [limited, options] of LIMITS) {
    Deno.test(`CircuitBreaker.fetch() sends the same as fetch does for ${what}, ${limited}`, async () => {
      await upstream(echo, async (url) => {
        assertEquals(await (await fetch(...argumentsOf(url))).json(), heard);
        const breaker = breakerOf(options);
        assertEquals(await (await breaker.fetch(...argumentsOf(url))).json(), heard);
        assertEquals(await counted(breaker), [1, 0]);
      });
    });
  }

  Deno.test(`Fuse.fetch() sends the same as fetch does for ${what}`, async () => {
    await upstream(echo, async (url) => {
      const fuse = fuseOf();
      assertEquals(await (await fuse.fetch(...argumentsOf(url))).json(), heard);
      assertEquals(await counted(fuse.make(new URL(url).host)), [1, 0]);
    });
  });
}

Deno.test("CircuitBreaker.fetch() works as a bare function", async () => {
  await upstream(echoStatus, async (url) => {
    const breaker = breakerOf();
    const { fetch: bare } = breaker;
    const responses = await Promise.all([url + 200, url + 404].map((one) => bare(one)));
    for (const response of responses) await response.text();
    assertEquals(await counted(breaker), [2, 0]);
  });
});

Deno.test("Fuse.fetch() works as a bare function", async () => {
  await upstream(echoStatus, async (url) => {
    const fuse = fuseOf();
    const { fetch: bare } = fuse.for({ type: "tenant", id: 7 });
    await (await bare(url + 200)).text();
    const circuits = await Array.fromAsync(fuse.list());
    assertEquals(
      circuits.map(({ name, context }) => [name, context]),
      [[new URL(url).host, "tenant:7"]],
    );
  });
});

Deno.test("Fuse.fetch() keeps one circuit for each host, port included", async () => {
  await upstream(echoStatus, (ill) =>
    upstream(echoStatus, async (well) => {
      const fuse = fuseOf({ defaults: { failureThreshold: 2 } });
      await (await fuse.fetch(`${ill}500`)).text();
      await (await fuse.fetch(new Request(`${ill}503?other=path`))).text();
      await assertRejects(() => fuse.fetch(new URL("200", ill)), CircuitBreakerOpenError);
      await (await fuse.fetch(`${well}200`)).text();
      assertEquals(await fuse.make(new URL(ill).host).getState(), "OPEN");
      assertEquals(await fuse.make(new URL(well).host).getState(), "CLOSED");
      assertEquals((await Array.fromAsync(fuse.list())).length, 2);
    }));
});

for (
  const [url, host] of [
    ["https://api.example/path?query#hash", "api.example"],
    ["https://api.example:443/", "api.example"],
    ["http://api.example:443/", "api.example:443"],
    ["http://api.example:80/", "api.example"],
    ["HTTPS://API.Example/", "api.example"],
    ["https://user:password@api.example/", "api.example"],
    ["http://[::1]:8080/", "[::1]:8080"],
  ] as const
) {
  Deno.test(`hostOf() returns ${host} for ${url}`, () => {
    assertEquals([url, new URL(url), new Request(url)].map(hostOf), [host, host, host]);
  });
}

Deno.test("Fuse.fetch() uses `circuits` when one has the host's name", async () => {
  await upstream(echoStatus, (first) =>
    upstream(echoStatus, async (second) => {
      const fuse = fuseOf({
        circuits: {
          [new URL(first).host]: { failureThreshold: 1 },
          "127.0.0.1:*": { failureThreshold: 2 },
        },
      });
      const states = async () =>
        await Promise.all([first, second].map((url) => fuse.make(new URL(url).host).getState()));
      for (const url of [first, second]) await (await fuse.fetch(`${url}500`)).text();
      assertEquals(await states(), ["OPEN", "CLOSED"]);
      await (await fuse.fetch(`${second}500`)).text();
      assertEquals(await states(), ["OPEN", "OPEN"]);
    }));
});

for (const invalid of ["", "no url", "http://", "/relative", "http://a b/"]) {
  Deno.test(`Fuse.fetch() rejects and makes no circuit for ${JSON.stringify(invalid)}`, async () => {
    const fuse = fuseOf();
    // A promise in every case: `assertRejects` distinguishes a throw from a rejection.
    await assertRejects(() => fuse.fetch(invalid), TypeError);
    assertEquals(await Array.fromAsync(fuse.list()), []);
  });

  Deno.test(`CircuitBreaker.fetch() rejects for ${JSON.stringify(invalid)}`, async () => {
    await assertRejects(() => breakerOf().fetch(invalid), TypeError);
  });
}

const HOSTS = [
  "http://h",
  "https://h",
  "HTTP://h",
  "http://h:80",
  "http://a@h",
  "http:///h",
  " http://h",
];
const ENDS = [
  ...[
    "",
    "/",
    "/x",
    "?q",
    "#f",
    ":99999/",
    ":80:80/",
    "%/",
    " /",
    "^/",
    "\\@a b/",
    "/\ud800 ^|\t%",
    "//a b",
  ],
  ...["/http://a b/", ".x/", "@a b/", "\t/x"],
];

Deno.test("CircuitBreaker.fetch() refuses the same URLs as fetch does, whichever it sent before", async () => {
  const { fetch } = globalThis;
  globalThis.fetch = () => Promise.resolve(new Response());
  try {
    const breaker = breakerOf();
    const urls = HOSTS.flatMap((host) => ENDS.map((end) => host + end));
    for (const before of urls.filter((url) => URL.canParse(url))) {
      for (const url of urls) {
        await breaker.fetch(before);
        const sent = await breaker.fetch(url).then(() => true, () => false);
        assertEquals(sent, URL.canParse(url), `${JSON.stringify(url)} after ${before}`);
      }
    }
  } finally {
    globalThis.fetch = fetch;
  }
});
