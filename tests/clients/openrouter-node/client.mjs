// What an application does with `@openrouter/sdk`. It checks the shape of every answer against OpenRouter's own description.

import { HTTPClient, OpenRouter } from "@openrouter/sdk";
import * as errors from "@openrouter/sdk/models/errors";
import { Account, equal, expect, run } from "./account.mjs";

const account = new Account();
const client = new OpenRouter({
  apiKey: process.env.CLIENT_KEY,
  serverURL: process.env.CLIENT_URL + "/api/v1",
  httpClient: new HTTPClient({ fetcher: account.fetch }),
  retryConfig: { strategy: "none" },
  timeoutMs: 20_000,
});

const SAY = [{ role: "user", content: "Say something." }];
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
const send = (chatRequest) => client.chat.send({ chatRequest });
/** The library's names for usage, given back the names of the protocol. */
const billed = (usage) => ({
  prompt_tokens: usage.promptTokens,
  completion_tokens: usage.completionTokens,
  prompt_tokens_details: { cached_tokens: usage.promptTokensDetails?.cachedTokens ?? 0 },
  cost: usage.cost,
});

async function whole(request) {
  const answer = await send(request);
  account.settled(billed(answer.usage));
  return answer;
}

/** A stream, together with the whole answer to the same request. */
async function both(request) {
  const answer = await whole(request);
  const all = [];
  // What the library refuses to read was billed all the same.
  try {
    for await (const chunk of await send({ ...request, stream: true })) all.push(chunk);
  } finally {
    account.settled(billed(answer.usage), { shown: false });
  }
  equal(all.at(-1)?.usage, answer.usage, "usage and cost");
  equal(all.flatMap((chunk) => chunk.choices.map((choice) => choice.delta.content ?? "")).join(""), answer.choices[0].message.content, "text");
  return all;
}

await run(account, {
  "models list": async () => {
    const models = [];
    for await (const page of await client.models.list()) models.push(...page.result.data);
    const chat = models.find((model) => model.id === "sandbox/chat");
    expect(Number(chat?.pricing.prompt) > 0 && chat.contextLength > 0, JSON.stringify(chat));
  },

  "models retrieve": async () => {
    equal((await client.models.get({ author: "sandbox", slug: "chat" })).data.id, "sandbox/chat", "model");
  },

  endpoints: async () => {
    const { data } = await client.endpoints.list({ author: "sandbox", slug: "chat" });
    equal([data.id, data.endpoints.length], ["sandbox/chat", 1], "endpoints");
  },

  "chat whole": async () => {
    const answer = await whole({ model: "sandbox/chat", messages: SAY, provider: { order: ["sandbox"], allowFallbacks: false } });
    equal([answer.choices[0].finishReason, answer.model], ["stop", "sandbox/chat"], "answer");
    expect(answer.usage.cost > 0, "no cost in usage");
  },

  "chat stream": async () => {
    expect((await both({ model: "sandbox/chat", messages: SAY })).length > 5, "the answer came in few pieces");
  },

  "tool round trip": async () => {
    const tools = [{ type: "function", function: { name: "weather", parameters } }];
    const asked = await whole({ model: "sandbox/tools", messages: SAY, tools });
    const [call] = asked.choices[0].message.toolCalls;
    equal([call.function.name, Object.keys(JSON.parse(call.function.arguments))], ["weather", ["city"]], "call");
    const messages = [...SAY, asked.choices[0].message, { role: "tool", toolCallId: call.id, content: "hail" }];
    const final = await whole({ model: "sandbox/tools", messages, tools });
    expect(final.choices[0].message.content.includes("hail"), JSON.stringify(final));
  },

  "bad model": async () => {
    const error = await send({ model: "sandbox/chatt", messages: SAY }).catch((error) => error);
    account.refused();
    expect(error instanceof errors.NotFoundResponseError, `${error}`);
  },

  "provider's 500": async () => {
    const error = await send({ model: "sandbox/error-500", messages: SAY }).catch((error) => error);
    account.failed();
    expect(error instanceof errors.BadGatewayResponseError, `${error}`);
  },

  generation: async () => {
    const answer = await whole({ model: "sandbox/chat", messages: SAY });
    const { data } = await client.generations.getGeneration({ id: answer.id });
    equal(data.totalCost, answer.usage.cost, "cost");
  },

  key: async () => {
    const { data } = await client.apiKeys.getCurrentKeyMetadata();
    expect(data.label && data.limit === null && data.usage >= 0, JSON.stringify(data));
  },
});
