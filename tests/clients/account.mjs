// What a client program for Node tells the suite; the lines are those of account.py.

// As in account.py: what the provider speaks, and the requests that may be billed.
export const PROVIDER = process.env.CLIENT_PROVIDER;
const BILLED = ["/chat/completions", "/v1/messages"];
// A feature that takes longer is stuck: the longest one waits 1 s for the provider and 1 s before a retry.
const LIMIT_MS = 30_000;

export class Missed extends Error {}

export function expect(truth, what) {
  if (!truth) throw new Missed(what);
}

export function equal(seen, expected, what) {
  const [a, b] = [seen, expected].map((value) => JSON.stringify(value));
  expect(a === b, `${what}: ${a}, not ${b}`);
}

function tell(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

/** The requests of one client program. */
export class Account {
  /** The client, by a name that no other client of this provider has. */
  name = process.env.CLIENT_NAME;
  feature = null;
  wire = [];

  /** fetch, noting every request that may be billed: the library's own retries too. */
  fetch = async (input, init) => {
    const response = await fetch(input, init);
    const { method, url } = input instanceof Request ? input : { method: init?.method, url: String(input) };
    const path = new URL(url).pathname;
    if (method?.toUpperCase() === "POST" && BILLED.some((end) => path.endsWith(end))) {
      this.wire.push({ generation: response.headers.get("x-generation-id"), status: response.status });
    }
    return response;
  };

  /** The oldest request nobody has spoken of was answered with this usage. `shown` = its own answer stated the cost. */
  settled(usage, { attempts = ["settled"], shown = true } = {}) {
    this.say({ kinds: attempts, usage, cost: shown ? (usage.cost ?? null) : null, shown });
  }

  /** … failed at the provider, and nothing is owed. */
  failed() {
    this.say({ kinds: ["failed"] });
  }

  /** … was cut after some output: an estimate is owed. */
  partial() {
    this.say({ kinds: ["partial"] });
  }

  /** … was refused before it reached a provider. */
  refused() {
    this.say({ kinds: [] });
  }

  /** … was left by the client; the provider went on to the end, which comes to this usage. */
  hungUp(usage) {
    this.say({ kinds: ["settled"], usage, cost: null, shown: false, outcome: "client_hang_up" });
  }

  say(expected) {
    expect(this.wire.length > 0, "a request that was never answered");
    tell({ request: { feature: this.feature, ...this.wire.shift(), ...expected } });
  }

  close() {
    while (this.wire.length > 0) tell({ request: { feature: this.feature, ...this.wire.shift(), kinds: "unaccounted" } });
  }
}

/** Tries all features, one after the other. */
export async function run(account, features) {
  tell({ plan: Object.keys(features) });
  for (const [name, feature] of Object.entries(features)) {
    account.feature = name;
    let timer;
    const limit = new Promise((_, refuse) => {
      timer = setTimeout(() => refuse(new Missed(`not within ${LIMIT_MS} ms`)), LIMIT_MS);
    });
    try {
      await Promise.race([feature(), limit]);
      expect(account.wire.length === 0, `${account.wire.length} requests more than were meant`);
      tell({ feature: name, ok: true, message: "" });
    } catch (error) {
      // Whatever a library throws is the row's message. A library that checks shapes tells the field only in the cause.
      const cause = error?.cause?.message ? `: ${error.cause.message}` : "";
      tell({ feature: name, ok: false, message: `${error?.constructor?.name}: ${error?.message}${cause}`.replace(/\s+/g, " ") });
    }
    clearTimeout(timer);
    account.close();
  }
  // Connections that are kept alive would hold the process.
  process.exit(0);
}
