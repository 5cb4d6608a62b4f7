// What an application does with the `@anthropic-ai/sdk` package for Node.

import Anthropic from "@anthropic-ai/sdk";
import { betaTool } from "@anthropic-ai/sdk/helpers/beta/json-schema";
import { jsonSchemaOutputFormat } from "@anthropic-ai/sdk/helpers/json-schema";
import { Account, PROVIDER, equal, expect, run } from "./account.mjs";

const account = new Account();
const open = (credential, surface = "") =>
  new Anthropic({ baseURL: process.env.CLIENT_URL + surface, apiKey: null, authToken: null, ...credential, maxRetries: 0, timeout: 20_000, fetch: account.fetch });
const KEY = process.env.CLIENT_KEY;
const client = open({ apiKey: KEY });

const SAY = [{ role: "user", content: "Say something." }];
const schema = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" }, unit: { type: "string", enum: ["celsius", "kelvin"] } },
  required: ["city", "days", "unit"],
  additionalProperties: false,
};
const tool = (name) => ({ name, description: "Tells it.", input_schema: schema });
const TOOLS = [tool("weather"), tool("tides")];
// One pixel.
const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

const asked = (request = {}) => ({ model: "sandbox/chat", max_tokens: 1024, messages: SAY, ...request });

/** A whole answer, accounted for. */
async function whole(request, by = client) {
  const answer = await by.messages.create(asked(request));
  account.settled(answer.usage);
  return answer;
}

/** The events and the message that they come to, accounted for. Their order is checked. */
async function streamed(request, attempts = ["settled"]) {
  const events = [];
  const stream = client.messages.stream(asked(request)).on("streamEvent", (event) => events.push(event));
  const message = await stream.finalMessage();
  inOrder(events);
  // The library folds the counts into the message, the cost stays in the event.
  account.settled({ ...message.usage, cost: events.at(-2).usage.cost }, { attempts });
  return { events, message };
}

/** A message of blocks one after the other, each opened and closed once. */
function inOrder(events) {
  const ends = ["message_start", "message_delta", "message_stop"];
  const kinds = events.map((event) => event.type);
  equal([kinds[0], ...kinds.slice(-2)], ends, "first and last events");
  equal(ends.map((end) => kinds.filter((kind) => kind === end).length), [1, 1, 1], "first and last events, counted");
  let [open, begun] = [null, 0];
  for (const event of events.slice(1, -2)) {
    if (event.type === "content_block_start") {
      equal([open, event.index], [null, begun], "block that begins");
      [open, begun] = [event.index, begun + 1];
    } else {
      equal(event.index, open, `block of ${event.type}`);
      if (event.type === "content_block_stop") open = null;
    }
  }
  equal(open, null, "block left open");
}

/** The error that a request ends with. */
async function fails(kind, status, request, by = client, options = {}) {
  try {
    await by.messages.create(asked(request), options);
  } catch (error) {
    expect(error.constructor === kind, `${error.constructor.name}, not ${kind.name}: ${error.message}`);
    equal([error.status, error.error?.type], [status, "error"], "status and type of the body");
    return error;
  }
  throw new Error("no error came");
}

const text = (message) => message.content.map((block) => (block.type === "text" ? block.text : "")).join("");
const calls = (message) => message.content.filter((block) => block.type === "tool_use").map((block) => [block.name, block.input]);
const pieces = (events, kind) => events.filter((event) => event.type === "content_block_delta" && event.delta.type === kind).length;
const blocks = (message) => message.content.map((block) => block.type);
const answered = (message, content) => [...SAY, { role: "assistant", content: message.content }, { role: "user", content }];

/** Whole and streamed: the first provider fails in its dialect, the second answers in the other. */
async function failover() {
  const request = asked({ model: `sandbox/failing-over-${account.name}`, provider: { order: ["sandbox", "chat"] } });
  const answer = await client.messages.create(request);
  account.settled(answer.usage, { attempts: ["failed", "settled"] });
  equal(text(answer), "sandbox: Say something.", "answer");
  const { message } = await streamed(request, ["failed", "settled"]);
  equal(text(message), text(answer), "streamed");
}

await run(account, {
  "models list": async () => {
    const models = new Map();
    for await (const model of client.models.list()) models.set(model.id, model);
    for (const wanted of ["sandbox/chat", "sandbox/tools", "sandbox/long-context"]) {
      expect(models.has(wanted), `${wanted} is not among ${models.size} models`);
    }
    for (const model of models.values()) {
      expect(model.type === "model" && model.display_name && !Number.isNaN(Date.parse(model.created_at)), JSON.stringify(model));
    }
    const page = await client.models.list({ limit: 3 });
    equal([page.data.length, page.has_more, page.last_id], [3, true, page.data.at(-1).id], "the first page of three");
  },

  "models retrieve": async () => {
    const model = await client.models.retrieve("sandbox/chat");
    equal([model.id, model.type], ["sandbox/chat", "model"], "model");
    const missing = await client.models.retrieve("sandbox/nothing").catch((error) => error);
    expect(missing instanceof Anthropic.NotFoundError && missing.type === "not_found_error", `a model that is not there: ${missing}`);
  },

  "chat whole": async () => {
    const answer = await whole({ system: "You are the sandbox." });
    equal([answer.type, answer.role, answer.model, answer.stop_reason], ["message", "assistant", "sandbox/chat", "end_turn"], "answer");
    equal(blocks(answer), ["text"], "blocks");
    expect(text(answer).includes("sandbox") && answer.usage.cost > 0, JSON.stringify(answer));
  },

  "chat stream": async () => {
    const answer = await whole();
    const { events, message } = await streamed();
    equal([text(message), message.stop_reason, message.model], [text(answer), "end_turn", "sandbox/chat"], "message");
    expect(pieces(events, "text_delta") > 5, `${pieces(events, "text_delta")} pieces`);
    const [first, second] = [answer, message].map(({ usage }) => [usage.input_tokens, usage.output_tokens]);
    equal(second, first, "usage");
  },

  "limits and stops": async () => {
    const short = await whole({ max_tokens: 5 });
    equal(short.stop_reason, "max_tokens", "stop reason at the limit");
    expect(short.usage.output_tokens > 0 && short.usage.output_tokens <= 5, JSON.stringify(short.usage));
    const stopped = await whole({ stop_sequences: ["sandbox"] });
    expect(!text(stopped).includes("sandbox"), JSON.stringify(stopped));
    // OpenAI's family does not tell which sequence it was, nor that it was one.
    const expected = PROVIDER === "anthropic" ? ["stop_sequence", "sandbox"] : ["end_turn", null];
    equal([stopped.stop_reason, stopped.stop_sequence], expected, "how it stopped");
  },

  refusal: async () => {
    equal((await whole({ model: "sandbox/refusal" })).stop_reason, "refusal", "stop reason");
  },

  "tool round trip": async () => {
    const request = { model: "sandbox/tools", tools: TOOLS };
    const first = await whole(request);
    equal([first.stop_reason, blocks(first)], ["tool_use", ["tool_use"]], "answer with a call");
    const [call] = first.content;
    equal([call.name, Object.keys(call.input).sort()], ["weather", ["city", "days", "unit"]], "call");
    const result = { type: "tool_result", tool_use_id: call.id, content: [{ type: "text", text: "rain, 8 °C" }] };
    const final = await whole({ ...request, messages: answered(first, [result]) });
    expect(text(final).includes("rain, 8 °C") && final.stop_reason === "end_turn", JSON.stringify(final));
    const broken = await whole({ ...request, messages: answered(first, [{ ...result, content: "no such city", is_error: true }]) });
    expect(text(broken).includes("no such city"), "a tool's error is lost");
  },

  "tool loop": async () => {
    // The library calls the function and sends its result by itself, on its surface for what is tried out.
    const given = [];
    const weather = betaTool({ name: "weather", description: "Tells it.", inputSchema: schema, run: (input) => (given.push(input), "snow") });
    const answers = [];
    for await (const answer of client.beta.messages.toolRunner(asked({ model: "sandbox/tools", tools: [weather] }))) answers.push(answer);
    // It asks first for a conversation that is kept for it, and goes on without one.
    account.refused();
    answers.forEach((answer) => account.settled(answer.usage));
    equal([answers.length, given.length, Object.keys(given[0]).sort()], [2, 1, ["city", "days", "unit"]], "answers, calls, arguments");
    expect(text(answers.at(-1)).includes("snow"), JSON.stringify(answers.at(-1)));
  },

  "parallel tools": async () => {
    const request = { model: "sandbox/parallel-tools", tools: TOOLS };
    const message = await whole(request);
    equal(calls(message).map(([name]) => name), ["weather", "tides"], "calls");
    const [first, second] = message.content.filter((block) => block.type === "tool_use").map((block) => block.id);
    expect(first !== second, "both calls have one id");
    const result = (tool_use_id, content) => ({ type: "tool_result", tool_use_id, content });
    const final = await whole({ ...request, messages: answered(message, [result(first, "rain"), result(second, "high water")]) });
    expect(text(final).includes("high water"), "the second result is lost");
    const one = await whole({ ...request, tool_choice: { type: "auto", disable_parallel_tool_use: true } });
    equal(calls(one).length, 1, "calls when only one is allowed");
  },

  "forced tool": async () => {
    for (const [tool_choice, expected] of [[{ type: "tool", name: "tides" }, ["tides"]], [{ type: "any" }, ["weather"]], [{ type: "none" }, []]]) {
      const message = await whole({ model: "sandbox/tools", tools: TOOLS, tool_choice });
      equal(calls(message).map(([name]) => name), expected, `calls for ${tool_choice.type}`);
    }
  },

  "streamed tool arguments": async () => {
    const request = { model: "sandbox/parallel-tools", tools: TOOLS };
    const answer = await whole(request);
    const { events, message } = await streamed(request);
    equal([calls(message), message.stop_reason], [calls(answer), "tool_use"], "calls");
    expect(pieces(events, "input_json_delta") > 4, `${pieces(events, "input_json_delta")} pieces of arguments`);
  },

  "structured output": async () => {
    const place = { type: "object", properties: { name: { type: "string" }, height: { type: "number" } }, required: ["name", "height"], additionalProperties: false };
    const report = {
      type: "object",
      properties: { title: { type: "string" }, days: { type: "integer" }, dry: { type: "boolean" }, places: { type: "array", items: place } },
      required: ["title", "days", "dry", "places"],
      additionalProperties: false,
    };
    const request = asked({ model: "sandbox/structured", output_config: { format: jsonSchemaOutputFormat(report) } });
    const answer = await client.messages.parse(request);
    account.settled(answer.usage);
    const { parsed_output: parsed } = answer;
    equal([typeof parsed?.title, Number.isInteger(parsed?.days), typeof parsed?.dry, Array.isArray(parsed?.places)], ["string", true, "boolean", true], "types");
    const { message } = await streamed(request);
    equal(message.parsed_output, parsed, "the same, streamed");
  },

  thinking: async () => {
    const request = { model: "sandbox/reasoning", max_tokens: 2048, thinking: { type: "enabled", budget_tokens: 1024 } };
    const answer = await whole(request);
    const { events, message } = await streamed(request);
    expect(pieces(events, "thinking_delta") > 3, "the thoughts came in one piece");
    for (const { content } of [answer, message]) {
      equal(content.map((block) => block.type), ["thinking", "text"], "blocks");
      // Only Anthropic signs thoughts.
      expect(content[0].thinking && Boolean(content[0].signature) === (PROVIDER === "anthropic"), JSON.stringify(content[0]));
    }
    equal([message.content[0].thinking, text(message)], [answer.content[0].thinking, text(answer)], "thoughts and text");
    // What was answered goes back as it came, signature and all.
    const again = await whole({ ...request, messages: answered(message, "Go on.") });
    equal(blocks(again), ["thinking", "text"], "blocks of the next answer");
  },

  "thinking with tools": async () => {
    const request = { max_tokens: 2048, thinking: { type: "enabled", budget_tokens: 1024 }, tools: TOOLS };
    const { message } = await streamed(request);
    expect(calls(message).length > 0, JSON.stringify(message));
    const result = { type: "tool_result", tool_use_id: message.content.at(-1).id, content: "rain" };
    expect(text(await whole({ ...request, messages: answered(message, [result]) })).includes("rain"), "the result is lost");
  },

  "adaptive thinking": async () => {
    // As agents ask today; what is not Anthropic's is told by an effort.
    const answer = await whole({ thinking: { type: "adaptive" }, output_config: { effort: "high" } });
    expect(text(answer).includes("sandbox"), JSON.stringify(answer));
  },

  "cached tokens": async () => {
    const words = { type: "text", text: `A long preface, of ${account.name}. `.repeat(40), cache_control: { type: "ephemeral" } };
    const counts = [];
    for (const content of ["First?", "Second?"]) {
      const messages = [{ role: "user", content: [words] }, { role: "assistant", content: "Yes." }, { role: "user", content }];
      const { usage } = await whole({ model: "sandbox/cache", messages });
      counts.push([usage.input_tokens, usage.cache_creation_input_tokens ?? 0, usage.cache_read_input_tokens ?? 0]);
    }
    const [[firstInput, firstWritten, firstRead], [secondInput, , secondRead]] = counts;
    const shown = `input, written, read: ${JSON.stringify(counts)}`;
    expect(firstRead === 0 && secondRead > 0, shown);
    expect(secondInput < firstInput + firstWritten, `what was read is counted twice: ${shown}`);
    equal(firstWritten > 0, PROVIDER === "anthropic", `tokens written at a provider that tells them: ${shown}`);
    if (PROVIDER === "anthropic") {
      const lasting = { ...words, text: "For long. " + words.text, cache_control: { type: "ephemeral", ttl: "1h" } };
      const { cache_creation: written } = (await whole({ model: "sandbox/cache", messages: [{ role: "user", content: [lasting] }] })).usage;
      expect(written.ephemeral_1h_input_tokens > 0 && written.ephemeral_5m_input_tokens === 0, JSON.stringify(written));
    }
    const { usage } = await whole({ model: "sandbox/usage-1200-30-200-0" });
    equal([usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens], [1000, 200, 30], "input, read, output");
  },

  "count tokens": async () => {
    const counts = [];
    for (const content of ["Say something.", "Say something. ".repeat(100)]) {
      counts.push((await client.messages.countTokens({ model: "sandbox/chat", messages: [{ role: "user", content }] })).input_tokens);
    }
    expect(counts[0] > 0 && counts[0] < counts[1], `${counts}`);
  },

  "image and document": async () => {
    const image = { type: "image", source: { type: "base64", media_type: "image/png", data: PNG } };
    const document = { type: "document", source: { type: "text", media_type: "text/plain", data: "Rivers." }, title: "rivers.txt" };
    const messages = [{ role: "user", content: [image, document, { type: "text", text: "What is it?" }] }];
    const answer = await whole({ model: "sandbox/seeing", messages });
    expect(text(answer).includes("What is it?"), JSON.stringify(answer));
    // What this model does not take is told, not left out.
    await fails(Anthropic.NotFoundError, 404, { model: "sandbox/echo", messages });
    account.refused();
  },

  warnings: async () => {
    // What a provider of another dialect cannot be told is named in one header.
    const { data, response } = await client.messages.create(asked({ top_k: 5, metadata: { user_id: "u" } })).withResponse();
    account.settled(data.usage);
    const named = response.headers.get("x-waybill-warning");
    expect(PROVIDER === "anthropic" ? named === null : named?.startsWith("top_k: "), `warnings: ${named}`);
    equal(response.headers.get("request-id"), response.headers.get("x-generation-id"), "the library's request id");
  },

  fallback: async () => {
    const models = [`sandbox/failing-${account.name}`, "sandbox/echo"];
    const answer = await client.messages.create(asked({ model: models[0], models }));
    account.settled(answer.usage, { attempts: ["failed", "settled"] });
    equal([answer.model, text(answer)], ["sandbox/echo", "sandbox: Say something."], "model and answer");
  },

  // Only where there are two providers.
  ...(PROVIDER === "anthropic" && { failover }),

  "160 KB prompt": async () => {
    // Characters of two to four bytes, quotes and line ends: what a copy could break. 160 KB in UTF-8.
    const prompt = 'Zürich "€" 𝄞\n\\'.repeat(7_272);
    const answer = await whole({ model: "sandbox/echo", max_tokens: 100_000, messages: [{ role: "user", content: prompt }] });
    expect(text(answer) === "sandbox: " + prompt, "the prompt came back changed");
    equal(answer.usage.input_tokens, Math.ceil(Buffer.byteLength(prompt) / 4), "tokens");
  },

  "bearer, and /api": async () => {
    // With a base URL that ends in /api, as OpenRouter's users write it, and with the key where other tools put it.
    for (const other of [open({ authToken: KEY }), open({ apiKey: KEY }, "/api")]) {
      expect(text(await whole({}, other)).includes("sandbox"), "no answer");
    }
  },

  "bad model": async () => {
    const error = await fails(Anthropic.NotFoundError, 404, { model: "sandbox/chatt" });
    account.refused();
    equal(error.type, "not_found_error", "type");
    expect(error.message.includes("sandbox/chatt") && error.message.includes("sandbox/chat`"), `the message does not help: ${error.message}`);
  },

  "bad key": async () => {
    for (const key of ["wb_live_000000000000000000000000000_000000", "sk-nothing-of-ours"]) {
      for (const credential of [{ apiKey: key }, { authToken: key }]) {
        const error = await fails(Anthropic.AuthenticationError, 401, {}, open(credential));
        account.refused();
        equal(error.type, "authentication_error", "type");
        expect(error.message.includes("API key") && !error.message.includes(key), error.message);
      }
    }
  },

  "bad request": async () => {
    const orphan = [{ role: "user", content: [{ type: "tool_result", tool_use_id: "toolu_none", content: "?" }] }];
    for (const [changes, field] of [[{ messages: [] }, "messages"], [{ messages: orphan }, "messages[0]"], [{ max_tokens: "many" }, "max_tokens"]]) {
      const error = await fails(Anthropic.BadRequestError, 400, changes);
      account.refused();
      equal(error.type, "invalid_request_error", "type");
      expect(error.message.includes(field), `the message does not name the field ${field}: ${error.message}`);
    }
  },

  "rate limit": async () => {
    const error = await fails(Anthropic.RateLimitError, 429, { model: "sandbox/error-429" });
    account.failed();
    equal([error.type, error.headers.get("retry-after")], ["rate_limit_error", "1"], "type and Retry-After");
  },

  "rate limit with retry": async () => {
    const start = performance.now();
    await fails(Anthropic.RateLimitError, 429, { model: "sandbox/error-429" }, client, { maxRetries: 1 });
    const took = performance.now() - start;
    account.failed();
    account.failed();
    // A timer of Node may fire a millisecond early.
    expect(took >= 998, `tried again after ${took} ms, before Retry-After`);
  },

  overloaded: async () => {
    const error = await fails(Anthropic.ServiceUnavailableError, 503, { model: "sandbox/error-529" });
    account.failed();
    equal(error.type, "overloaded_error", "type");
  },

  "provider's errors": async () => {
    // The provider does not know our key: that is not the caller's fault.
    for (const [code, kind, status] of [[500, Anthropic.InternalServerError, 502], [400, Anthropic.BadRequestError, 400], [401, Anthropic.ServiceUnavailableError, 503]]) {
      const error = await fails(kind, status, { model: `sandbox/error-${code}` });
      account.failed();
      expect(error.type && error.type !== "authentication_error", `type ${error.type} for ${code}`);
    }
  },

  "error in a stream": async () => {
    const seen = [];
    try {
      for await (const event of await client.messages.create({ stream: true, ...asked({ model: "sandbox/error-in-200" }) })) seen.push(event);
    } catch (error) {
      expect(error instanceof Anthropic.APIError, `${error}`);
      account.partial();
      expect(pieces(seen, "text_delta") > 0, "no output before the error");
      expect(error.message.includes("failed after it had begun") && error.type, `${error.type}: ${error.message}`);
      return;
    }
    throw new Error("a broken answer was taken for a whole one");
  },

  cancel: async () => {
    const request = { model: "sandbox/stream-20x50ms" };
    const answer = await whole(request);
    const stream = await client.messages.create({ stream: true, ...asked(request) });
    const seen = [];
    for await (const event of stream) {
      seen.push(event);
      if (pieces(seen, "text_delta") === 3) stream.controller.abort();
    }
    account.hungUp(answer.usage);
    expect(pieces(seen, "text_delta") > 0 && pieces(seen, "text_delta") < 20, "the stream was over before it was cancelled");
    equal(text(await whole({ model: "sandbox/echo" })), "sandbox: Say something.", "the next answer");
  },
});
