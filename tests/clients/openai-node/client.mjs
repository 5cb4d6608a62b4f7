// What an application does with the `openai` package for Node.

import OpenAI from "openai";
import { Account, PROVIDER, equal, expect, run } from "./account.mjs";

const account = new Account();
const open = (surface, apiKey = process.env.CLIENT_KEY) =>
  new OpenAI({ baseURL: process.env.CLIENT_URL + surface, apiKey, maxRetries: 0, timeout: 20_000, fetch: account.fetch });
const client = open("/v1");
const openrouter = open("/api/v1");

const SAY = [{ role: "user", content: "Say something." }];
const schema = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" }, unit: { type: "string", enum: ["celsius", "kelvin"] } },
  required: ["city", "days", "unit"],
  additionalProperties: false,
};
const tool = (name) => ({ type: "function", function: { name, description: "Tells it.", strict: true, parameters: schema } });
const TOOLS = [tool("weather"), tool("tides")];
// One pixel.
const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/** A whole answer, accounted for. */
async function whole(request, by = client) {
  const answer = await by.chat.completions.create(request);
  account.settled(answer.usage);
  return answer;
}

async function chunks(request, by = client) {
  const all = [];
  for await (const chunk of await by.chat.completions.create({ stream: true, ...request })) all.push(chunk);
  return all;
}

/** The error that a request ends with. */
async function fails(kind, status, request, by = client, options = {}) {
  try {
    await by.chat.completions.create(request, options);
  } catch (error) {
    expect(error.constructor === kind, `${error.constructor.name}, not ${kind.name}: ${error.message}`);
    equal(error.status, status, "status");
    return error;
  }
  throw new Error("no error came");
}

const text = (all) => all.flatMap((chunk) => chunk.choices.map((choice) => choice.delta.content ?? "")).join("");
const content = (answer) => answer.choices[0].message.content;
const spoken = (answer) => answer.choices[0].message.tool_calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]);

/** What a message or a delta thinks: where OpenAI's family puts it, and where OpenRouter does. */
const thoughts = (spoken) => spoken.reasoning_content || spoken.reasoning || "";

/** Whole and streamed: the first provider fails in its dialect, the second answers in the other. */
async function failover() {
  const request = { model: `sandbox/failing-over-${account.name}`, messages: SAY, provider: { order: ["sandbox", "chat"] } };
  const answer = await client.chat.completions.create(request);
  account.settled(answer.usage, { attempts: ["failed", "settled"] });
  equal(content(answer), "sandbox: Say something.", "answer");
  const all = await chunks({ ...request, stream_options: { include_usage: true } });
  account.settled(all.at(-1).usage, { attempts: ["failed", "settled"] });
  equal(text(all), content(answer), "streamed");
}

await run(account, {
  "models list": async () => {
    const models = new Map();
    for await (const model of client.models.list()) models.set(model.id, model);
    for (const wanted of ["sandbox/chat", "sandbox/tools", "sandbox/long-context"]) {
      expect(models.has(wanted), `${wanted} is not among ${models.size} models`);
    }
    for (const model of models.values()) {
      expect(model.object === "model" && Number.isInteger(model.created) && model.owned_by, JSON.stringify(model));
    }
  },

  "models retrieve": async () => {
    const model = await client.models.retrieve("sandbox/chat");
    equal([model.id, model.object], ["sandbox/chat", "model"], "model");
    const missing = await client.models.retrieve("sandbox/nothing").catch((error) => error);
    expect(missing instanceof OpenAI.NotFoundError, `a model that is not there: ${missing}`);
  },

  "chat whole": async () => {
    const answer = await whole({ model: "sandbox/chat", messages: SAY });
    expect(content(answer).includes("sandbox") && answer.choices[0].message.role === "assistant", JSON.stringify(answer));
    equal([answer.choices[0].finish_reason, answer.object, answer.model], ["stop", "chat.completion", "sandbox/chat"], "answer");
    equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens, "total tokens");
    expect(answer.usage.cost > 0, "no cost in usage");
  },

  "chat stream": async () => {
    const answer = await whole({ model: "sandbox/chat", messages: SAY });
    const all = await chunks({ model: "sandbox/chat", messages: SAY });
    // What it cost is not shown to one who did not ask; the same words cost the same.
    account.settled(answer.usage, { shown: false });
    equal(text(all), content(answer), "text");
    expect(all.length > 5, `${all.length} chunks`);
    equal(all.at(-1).choices[0]?.finish_reason, "stop", "finish");
    expect(all.every((chunk) => chunk.choices.length > 0), "a chunk without choices, though usage was not asked for");
    expect(all.every((chunk) => chunk.usage == null), "usage, though it was not asked for");
  },

  "chat stream with usage": async () => {
    const answer = await whole({ model: "sandbox/chat", messages: SAY });
    const all = await chunks({ model: "sandbox/chat", messages: SAY, stream_options: { include_usage: true } });
    const stated = all.filter((chunk) => chunk.usage != null);
    equal(stated.length, 1, "chunks with usage");
    account.settled(stated[0].usage);
    expect(stated[0] === all.at(-1) && stated[0].choices.length === 0, "usage is not in the last chunk");
    equal(stated[0].usage, answer.usage, "usage and cost");
    equal(text(all), content(answer), "text");
  },

  "tool round trip": async () => {
    const messages = [{ role: "user", content: "What will the weather be?" }];
    const asked = await whole({ model: "sandbox/tools", messages, tools: TOOLS });
    const message = asked.choices[0].message;
    equal([asked.choices[0].finish_reason, message.tool_calls.length, message.content], ["tool_calls", 1, null], "answer with a call");
    const [call] = message.tool_calls;
    const names = Object.keys(JSON.parse(call.function.arguments)).sort();
    equal([call.type, call.function.name, names], ["function", "weather", ["city", "days", "unit"]], "call");
    messages.push(message, { role: "tool", tool_call_id: call.id, content: "rain, 8 °C" });
    const final = await whole({ model: "sandbox/tools", messages, tools: TOOLS });
    expect(content(final).includes("rain, 8 °C"), JSON.stringify(final));
    equal(final.choices[0].finish_reason, "stop", "finish");
  },

  "tool loop": async () => {
    // The library calls the function and sends its result by itself.
    const calls = [];
    const weather = { type: "function", function: { ...tool("weather").function, parse: JSON.parse, function: (given) => (calls.push(given), "snow") } };
    const usages = [];
    const runner = client.chat.completions.runTools({ model: "sandbox/tools", messages: SAY, tools: [weather] });
    runner.on("chatCompletion", (answer) => usages.push(answer.usage));
    const final = await runner.finalContent();
    usages.forEach((usage) => account.settled(usage));
    equal([usages.length, calls.length, Object.keys(calls[0]).sort()], [2, 1, ["city", "days", "unit"]], "answers, calls, arguments");
    expect(final.includes("snow"), final);
  },

  "parallel tools": async () => {
    const request = { model: "sandbox/parallel-tools", messages: SAY, tools: TOOLS };
    const calls = (await whole(request)).choices[0].message.tool_calls;
    equal(calls.map((call) => call.function.name), ["weather", "tides"], "calls");
    expect(calls[0].id !== calls[1].id, "both calls have one id");
    const one = await whole({ ...request, parallel_tool_calls: false });
    equal(one.choices[0].message.tool_calls.length, 1, "calls when only one is allowed");
  },

  "streamed tool arguments": async () => {
    const request = { model: "sandbox/parallel-tools", messages: SAY, tools: TOOLS };
    const answer = await whole(request);
    let pieces = 0;
    const stream = client.chat.completions.stream(request).on("tool_calls.function.arguments.delta", () => (pieces += 1));
    const final = await stream.finalChatCompletion();
    account.settled(answer.usage, { shown: false });
    equal(spoken(final), spoken(answer), "calls");
    expect(pieces > 4, `${pieces} pieces of arguments`);
  },

  "structured output": async () => {
    const place = { type: "object", properties: { name: { type: "string" }, height: { type: "number" } }, required: ["name", "height"], additionalProperties: false };
    const report = {
      type: "object",
      properties: { title: { type: "string" }, days: { type: "integer" }, dry: { type: "boolean" }, places: { type: "array", items: place } },
      required: ["title", "days", "dry", "places"],
      additionalProperties: false,
    };
    const request = { model: "sandbox/structured", messages: SAY, response_format: { type: "json_schema", json_schema: { name: "report", strict: true, schema: report } } };
    const answer = await client.chat.completions.parse(request);
    account.settled(answer.usage);
    const { parsed } = answer.choices[0].message;
    equal([typeof parsed?.title, Number.isInteger(parsed?.days), typeof parsed?.dry, Array.isArray(parsed?.places)], ["string", true, "boolean", true], "types");
    const streamed = await client.chat.completions.stream(request).finalChatCompletion();
    account.settled(answer.usage, { shown: false });
    // The library's stream parses by itself only what its own schema helpers made.
    equal(JSON.parse(content(streamed)), parsed, "the same, streamed");
  },

  "forced tool": async () => {
    for (const [tool_choice, expected] of [[{ type: "function", function: { name: "tides" } }, ["tides"]], ["required", ["weather"]], ["none", []]]) {
      const { message } = (await whole({ model: "sandbox/tools", messages: SAY, tools: TOOLS, tool_choice })).choices[0];
      equal((message.tool_calls ?? []).map((call) => call.function.name), expected, `calls for ${JSON.stringify(tool_choice)}`);
    }
  },

  reasoning: async () => {
    const request = { model: "sandbox/reasoning", messages: SAY, reasoning_effort: "low", max_tokens: 4096 };
    const { message } = (await whole(request)).choices[0];
    const all = await chunks({ ...request, stream_options: { include_usage: true } });
    account.settled(all.at(-1).usage);
    const deltas = all.flatMap((chunk) => chunk.choices.map((choice) => thoughts(choice.delta)));
    expect(message.content && thoughts(message), JSON.stringify(message));
    equal(deltas.join(""), thoughts(message), "reasoning");
    expect(deltas.filter(Boolean).length > 3, "the reasoning came in one piece");
    equal(text(all), message.content, "text");
    // Anthropic does not tell how many of its output tokens were thoughts.
    expect(PROVIDER === "anthropic" || all.at(-1).usage.completion_tokens_details.reasoning_tokens > 0, "no reasoning tokens");
    // The message goes back as it came, with what signs its thoughts.
    const details = message.reasoning_details ?? [];
    const signatures = details.map((detail) => detail.signature).filter(Boolean);
    equal(signatures.length, PROVIDER === "anthropic" ? 1 : 0, `signed thoughts: ${JSON.stringify(details)}`);
    const pieces = all.flatMap((chunk) => chunk.choices.flatMap((choice) => choice.delta.reasoning_details ?? []));
    equal(pieces.map((piece) => piece.signature).filter(Boolean), signatures, "signatures in the stream");
    const again = await whole({ ...request, messages: [...SAY, message, { role: "user", content: "Go on." }] });
    expect(content(again), JSON.stringify(again));
  },

  "cached tokens": async () => {
    const preface = { type: "text", text: `A long preface, of ${account.name}. `.repeat(40), cache_control: { type: "ephemeral" } };
    const counts = [];
    for (const question of ["First?", "Second?"]) {
      const messages = [{ role: "user", content: [preface] }, { role: "assistant", content: "Yes." }, { role: "user", content: question }];
      const { usage } = await whole({ model: "sandbox/cache", messages });
      counts.push([usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens ?? 0]);
    }
    const [[first, firstCached], [second, secondCached]] = counts;
    expect(firstCached === 0 && secondCached > 0 && secondCached < second, `prompt and cached: ${JSON.stringify(counts)}`);
    expect(Math.abs(second - first) < 5, `what was cached is not counted in the prompt: ${JSON.stringify(counts)}`);
  },

  "bad model": async () => {
    const error = await fails(OpenAI.NotFoundError, 404, { model: "sandbox/chatt", messages: SAY });
    account.refused();
    expect(error.message.includes("sandbox/chatt") && error.message.includes("sandbox/chat`"), `the message does not help: ${error.message}`);
  },

  "bad key": async () => {
    for (const key of ["wb_live_000000000000000000000000000_000000", "sk-nothing-of-ours"]) {
      const error = await fails(OpenAI.AuthenticationError, 401, { model: "sandbox/chat", messages: SAY }, open("/v1", key));
      account.refused();
      expect(error.message.includes("API key") && !error.message.includes(key), error.message);
    }
  },

  "bad request": async () => {
    const error = await fails(OpenAI.BadRequestError, 400, { model: "sandbox/chat", messages: SAY, maxTokens: 5 });
    account.refused();
    expect(error.message.includes("max_tokens"), `the message does not name the field: ${error.message}`);
  },

  "rate limit": async () => {
    const error = await fails(OpenAI.RateLimitError, 429, { model: "sandbox/error-429", messages: SAY });
    account.failed();
    equal(error.headers.get("retry-after"), "1", "Retry-After");
  },

  "rate limit with retry": async () => {
    const start = performance.now();
    await fails(OpenAI.RateLimitError, 429, { model: "sandbox/error-429", messages: SAY }, client, { maxRetries: 1 });
    const took = performance.now() - start;
    account.failed();
    account.failed();
    // A timer of Node may fire a millisecond early.
    expect(took >= 998, `tried again after ${took} ms, before Retry-After`);
  },

  overloaded: async () => {
    const error = await fails(OpenAI.InternalServerError, 503, { model: "sandbox/error-529", messages: SAY });
    account.failed();
    equal(error.error.metadata.error_type, "provider_overloaded", "error type");
  },

  "provider's 500": async () => {
    const error = await fails(OpenAI.InternalServerError, 502, { model: "sandbox/error-500", messages: SAY });
    account.failed();
    expect(error.message.includes("error of its own"), `the provider's words are lost: ${error.message}`);
  },

  "provider's 400": async () => {
    await fails(OpenAI.BadRequestError, 400, { model: "sandbox/error-400", messages: SAY });
    account.failed();
  },

  "provider's 401": async () => {
    // The provider does not know our key: that is not the caller's fault.
    await fails(OpenAI.InternalServerError, 503, { model: "sandbox/error-401", messages: SAY });
    account.failed();
  },

  "error in a stream": async () => {
    const seen = [];
    try {
      for await (const chunk of await client.chat.completions.create({ model: "sandbox/error-in-200", messages: SAY, stream: true })) seen.push(chunk);
    } catch (error) {
      expect(error instanceof OpenAI.APIError, `${error}`);
      account.partial();
      expect(text(seen), "no output before the error");
      expect(error.message.includes("failed after it had begun"), error.message);
      return;
    }
    throw new Error("a broken answer was taken for a whole one");
  },

  cancel: async () => {
    const request = { model: "sandbox/stream-20x50ms", messages: SAY };
    const answer = await whole(request);
    const stream = await client.chat.completions.create({ stream: true, ...request });
    const seen = [];
    for await (const chunk of stream) {
      seen.push(chunk);
      if (seen.length === 3) stream.controller.abort();
    }
    account.hungUp(answer.usage);
    expect(text(seen).length > 0 && text(seen).length < content(answer).length, "the stream was over before it was cancelled");
    const again = await whole({ model: "sandbox/echo", messages: SAY });
    equal(content(again), "sandbox: Say something.", "the next answer");
  },

  "image and file": async () => {
    const parts = [
      { type: "image_url", image_url: { url: `data:image/png;base64,${PNG}` } },
      { type: "file", file: { filename: "rivers.txt", file_data: "data:text/plain;base64,Uml2ZXJzLg==" } },
      { type: "text", text: "What is it?" },
    ];
    const answer = await whole({ model: "sandbox/seeing", messages: [{ role: "user", content: parts }] });
    expect(content(answer).includes("What is it?"), JSON.stringify(answer));
  },

  warnings: async () => {
    // What a provider of another dialect cannot be told is named in one header.
    const { data, response } = await client.chat.completions.create({ model: "sandbox/chat", messages: SAY, seed: 7, user: "u" }).withResponse();
    account.settled(data.usage);
    const named = response.headers.get("x-waybill-warning");
    expect(PROVIDER === "openai" ? named === null : named?.includes("seed: "), `warnings: ${named}`);
  },

  // Only where there are two providers.
  ...(PROVIDER === "anthropic" && { failover }),

  "160 KB prompt": async () => {
    // Characters of two to four bytes, quotes and line ends: what a copy could break. 160 KB in UTF-8.
    const prompt = 'Zürich "€" 𝄞\n\\'.repeat(7_272);
    const answer = await whole({ model: "sandbox/echo", messages: [{ role: "user", content: prompt }] });
    expect(content(answer) === "sandbox: " + prompt, "the prompt came back changed");
    equal(answer.usage.prompt_tokens, Math.ceil(Buffer.byteLength(prompt) / 4), "tokens");
  },

  "openrouter: provider": async () => {
    const request = { model: "sandbox/chat", messages: SAY, provider: { order: ["sandbox"], allow_fallbacks: false } };
    const answer = await whole(request, openrouter);
    const all = await chunks(request, openrouter);
    expect(all.at(-1).usage != null, "this surface states usage always");
    account.settled(all.at(-1).usage);
    equal(all.at(-1).usage, answer.usage, "usage and cost");
    const error = await fails(OpenAI.NotFoundError, 404, { ...request, provider: { only: ["nobody"] } }, openrouter);
    account.refused();
    expect(error.message.includes("nobody") || error.message.includes("only"), `the message does not help: ${error.message}`);
  },

  "openrouter: fallback": async () => {
    const models = [`sandbox/failing-${account.name}`, "sandbox/echo"];
    const answer = await openrouter.chat.completions.create({ model: models[0], models, messages: SAY });
    account.settled(answer.usage, { attempts: ["failed", "settled"] });
    equal(answer.model, "sandbox/echo", "model");
  },

  "openrouter: models": async () => {
    const models = [];
    for await (const model of openrouter.models.list()) models.push(model);
    const chat = models.find((model) => model.id === "sandbox/chat");
    expect(Number(chat?.pricing.prompt) > 0 && chat.context_length > 0, JSON.stringify(chat));
  },

  "openrouter: generation": async () => {
    const { data: answer, response } = await client.chat.completions.create({ model: "sandbox/chat", messages: SAY }).withResponse();
    account.settled(answer.usage);
    const own = response.headers.get("x-generation-id");
    for (const id of [own, answer.id]) {
      const { data } = await openrouter.get("/generation", { query: { id } });
      equal(data.total_cost, answer.usage.cost, `cost of ${id}`);
      equal([data.tokens_prompt, data.tokens_completion], [answer.usage.prompt_tokens, answer.usage.completion_tokens], "tokens");
      equal([data.id, data.model, data.streamed], [own, "sandbox/chat", false], "generation");
    }
  },

  "openrouter: key": async () => {
    const { data: before } = await openrouter.get("/key");
    const { data: answer, response } = await client.chat.completions.create({ model: "sandbox/chat", messages: SAY }).withResponse();
    account.settled(answer.usage);
    // The answer of this one waits until the ledger has the generation.
    await openrouter.get("/generation", { query: { id: response.headers.get("x-generation-id") } });
    const { data: after } = await openrouter.get("/key");
    expect(after.label && after.limit === null, JSON.stringify(after));
    expect(after.usage - before.usage >= answer.usage.cost * 0.999_999, `usage went from ${before.usage} to ${after.usage} by ${answer.usage.cost}`);
  },
});
