"""What an application does with the `anthropic` package for Python; the same features with the client that blocks and the one that is awaited."""

import asyncio
import os
import sys
import time

import anthropic
import pydantic
from account import PROVIDER, done, each, equal, expect, run
from anthropic import beta_async_tool, beta_tool
from session import SAY, Session, calls, pieces, text

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"type": "string", "enum": ["celsius", "kelvin"]}},
    "required": ["city", "days", "unit"],
    "additionalProperties": False,
}
# One pixel.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def tool(name):
    return {"name": name, "description": "Tells it.", "input_schema": PARAMETERS}


TOOLS = [tool("weather"), tool("tides")]


class Place(pydantic.BaseModel):
    name: str
    height: float


class Report(pydantic.BaseModel):
    """What `structured output` asks for."""

    title: str
    days: int
    dry: bool
    places: list[Place]


async def models_list(s):
    models = {model.id: model async for model in each(s.client.models.list())}
    for wanted in ("sandbox/chat", "sandbox/tools", "sandbox/long-context"):
        expect(wanted in models, f"{wanted} is not among {len(models)} models")
    for model in models.values():
        expect(model.type == "model" and model.display_name and model.created_at.year >= 1970, f"{model!r}")
    page = await done(s.client.models.list(limit=3))
    equal((len(page.data), page.has_more, page.last_id), (3, True, page.data[-1].id), "the first page of three")


async def models_retrieve(s):
    model = await done(s.client.models.retrieve("sandbox/chat"))
    equal((model.id, model.type), ("sandbox/chat", "model"), "model")
    try:
        await done(s.client.models.retrieve("sandbox/nothing"))
    except anthropic.NotFoundError as error:
        equal(error.type, "not_found_error", "type")
        return
    raise AssertionError("a model that is not there was found")


async def messages_whole(s):
    answer = await s.whole(system="You are the sandbox.")
    equal((answer.type, answer.role, answer.model, answer.stop_reason), ("message", "assistant", "sandbox/chat", "end_turn"), "answer")
    equal([block.type for block in answer.content], ["text"], "blocks")
    expect("sandbox" in text(answer) and answer.usage.cost > 0, f"{answer!r}")


async def messages_stream(s):
    whole = await s.whole()
    events, message = await s.streamed()
    equal((text(message), message.stop_reason, message.model), (text(whole), "end_turn", "sandbox/chat"), "message")
    expect(pieces(events, "text_delta") > 5, f"{pieces(events, 'text_delta')} pieces")
    counts = [(usage.input_tokens, usage.output_tokens) for usage in (whole.usage, message.usage)]
    equal(counts[1], counts[0], "usage")


async def limits_and_stops(s):
    short = await s.whole(max_tokens=5)
    equal(short.stop_reason, "max_tokens", "stop reason at the limit")
    expect(0 < short.usage.output_tokens <= 5, f"{short.usage!r}")
    stopped = await s.whole(stop_sequences=["sandbox"])
    expect("sandbox" not in text(stopped), f"{stopped!r}")
    # OpenAI's family does not tell which sequence it was, nor that it was one.
    seen = (stopped.stop_reason, stopped.stop_sequence)
    equal(seen, ("stop_sequence", "sandbox") if PROVIDER == "anthropic" else ("end_turn", None), "how it stopped")


async def refusal(s):
    answer = await s.whole(model="sandbox/refusal")
    equal(answer.stop_reason, "refusal", "stop reason")


async def tool_round_trip(s):
    messages = [{"role": "user", "content": "What will the weather be?"}]
    asked = await s.whole(model="sandbox/tools", messages=messages, tools=TOOLS)
    equal((asked.stop_reason, [block.type for block in asked.content]), ("tool_use", ["tool_use"]), "answer with a call")
    [call] = asked.content
    equal((call.name, sorted(call.input)), ("weather", ["city", "days", "unit"]), "call")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "rain, 8 °C"}]}
    messages += [{"role": "assistant", "content": asked.content}, {"role": "user", "content": [result]}]
    final = await s.whole(model="sandbox/tools", messages=messages, tools=TOOLS)
    expect("rain, 8 °C" in text(final) and final.stop_reason == "end_turn", f"{final!r}")
    messages[-1]["content"] = [{**result, "content": "no such city", "is_error": True}]
    expect("no such city" in text(await s.whole(model="sandbox/tools", messages=messages, tools=TOOLS)), "a tool's error is lost")


async def tool_loop(s):
    # The library calls the function and sends its result by itself, on its surface for what is tried out.
    given = []

    def weather(city: str, days: int) -> str:
        """Tells it."""
        given.append((city, days))
        return "snow"

    async def weather_later(city: str, days: int) -> str:
        """Tells it."""
        return weather(city, days)

    function = beta_tool(weather) if s.blocks else beta_async_tool(weather_later, name="weather")
    runner = s.client.beta.messages.tool_runner(**s.asked(model="sandbox/tools", tools=[function]))
    answers = [answer async for answer in each(runner)]
    # It asks first for a conversation that is kept for it, and goes on without one.
    s.account.refused()
    for answer in answers:
        s.account.settled(answer.usage)
    equal((len(answers), len(given)), (2, 1), "answers and calls")
    expect("snow" in text(answers[-1]), f"{answers[-1]!r}")


async def parallel_tools(s):
    request = {"model": "sandbox/parallel-tools", "tools": TOOLS}
    message = await s.whole(**request)
    equal([name for name, _ in calls(message)], ["weather", "tides"], "calls")
    first, second = [block.id for block in message.content if block.type == "tool_use"]
    expect(first != second, "both calls have one id")
    results = [{"type": "tool_result", "tool_use_id": call, "content": word} for call, word in ((first, "rain"), (second, "high water"))]
    turns = [*SAY, {"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    expect("high water" in text(await s.whole(messages=turns, **request)), "the second result is lost")
    one = await s.whole(tool_choice={"type": "auto", "disable_parallel_tool_use": True}, **request)
    equal(len(calls(one)), 1, "calls when only one is allowed")


async def forced_tool(s):
    request = {"model": "sandbox/tools", "tools": TOOLS}
    rows = [({"type": "tool", "name": "tides"}, ["tides"]), ({"type": "any"}, ["weather"]), ({"type": "none"}, [])]
    for choice, expected in rows:
        message = await s.whole(tool_choice=choice, **request)
        equal([name for name, _ in calls(message)], expected, f"calls for {choice}")


async def streamed_tool_arguments(s):
    request = {"model": "sandbox/parallel-tools", "tools": TOOLS}
    whole = await s.whole(**request)
    events, message = await s.streamed(**request)
    equal((calls(message), message.stop_reason), (calls(whole), "tool_use"), "calls")
    expect(pieces(events, "input_json_delta") > 4, f"{pieces(events, 'input_json_delta')} pieces of arguments")


async def structured_output(s):
    request = s.asked(model="sandbox/structured", output_format=Report)
    answer = await done(s.client.messages.parse(**request))
    s.account.settled(answer.usage)
    expect(isinstance(answer.parsed_output, Report), f"{answer!r}")
    _, streamed = await s.streamed(**request)
    equal(streamed.parsed_output, answer.parsed_output, "parsed from the stream")


async def thinking(s):
    request = {"model": "sandbox/reasoning", "max_tokens": 2048, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    whole = await s.whole(**request)
    events, message = await s.streamed(**request)
    expect(pieces(events, "thinking_delta") > 3, "the thoughts came in one piece")
    for answer in (whole, message):
        equal([block.type for block in answer.content], ["thinking", "text"], "blocks")
        # Only Anthropic signs thoughts.
        expect(answer.content[0].thinking and bool(answer.content[0].signature) == (PROVIDER == "anthropic"), f"{answer.content[0]!r}")
    equal((message.content[0].thinking, text(message)), (whole.content[0].thinking, text(whole)), "thoughts and text")
    # What was answered goes back as it came, signature and all.
    turns = [*SAY, {"role": "assistant", "content": message.content}, {"role": "user", "content": "Go on."}]
    again = await s.whole(**{**request, "messages": turns})
    equal([block.type for block in again.content], ["thinking", "text"], "blocks of the next answer")


async def thinking_with_tools(s):
    request = {"max_tokens": 2048, "thinking": {"type": "enabled", "budget_tokens": 1024}, "tools": TOOLS}
    _, message = await s.streamed(**request)
    expect(calls(message), f"{message!r}")
    result = {"type": "tool_result", "tool_use_id": message.content[-1].id, "content": "rain"}
    turns = [*SAY, {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    expect("rain" in text(await s.whole(**{**request, "messages": turns})), "the result is lost")


async def adaptive_thinking(s):
    # As agents ask today; what is not Anthropic's is told by an effort.
    answer = await s.whole(thinking={"type": "adaptive"}, output_config={"effort": "high"})
    expect("sandbox" in text(answer), f"{answer!r}")


async def cached_tokens(s):
    words = {"type": "text", "text": f"A long preface, of {s.account.name}. " * 40, "cache_control": {"type": "ephemeral"}}
    counts = []
    for question in ("First?", "Second?"):
        turns = [{"role": "user", "content": [words]}, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": question}]
        usage = (await s.whole(model="sandbox/cache", messages=turns)).usage
        counts.append((usage.input_tokens, usage.cache_creation_input_tokens or 0, usage.cache_read_input_tokens or 0))
    (first_input, first_written, first_read), (second_input, _, second_read) = counts
    expect(first_read == 0 < second_read, f"input, written, read: {counts}")
    expect(second_input < first_input + first_written, f"what was read is counted twice: {counts}")
    equal(first_written > 0, PROVIDER == "anthropic", f"tokens written at a provider that tells them: {counts}")
    if PROVIDER == "anthropic":
        lasting = {**words, "text": "For long. " + words["text"], "cache_control": {"type": "ephemeral", "ttl": "1h"}}
        written = (await s.whole(model="sandbox/cache", messages=[{"role": "user", "content": [lasting]}])).usage.cache_creation
        expect(written.ephemeral_1h_input_tokens > 0 == written.ephemeral_5m_input_tokens, f"{written!r}")
    exact = (await s.whole(model="sandbox/usage-1200-30-200-0")).usage
    equal((exact.input_tokens, exact.cache_read_input_tokens, exact.output_tokens), (1000, 200, 30), "input, read, output")


async def count_tokens(s):
    counts = []
    for words in ("Say something.", "Say something. " * 100):
        counted = await done(s.client.messages.count_tokens(model="sandbox/chat", messages=[{"role": "user", "content": words}]))
        counts.append(counted.input_tokens)
    expect(0 < counts[0] < counts[1], f"{counts}")


async def image_and_document(s):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Rivers."}, "title": "rivers.txt"}
    content = [image, document, {"type": "text", "text": "What is it?"}]
    answer = await s.whole(model="sandbox/seeing", messages=[{"role": "user", "content": content}])
    expect("What is it?" in text(answer), f"{answer!r}")
    # What this model does not take is told, not left out.
    await s.fails(anthropic.NotFoundError, 404, model="sandbox/echo", messages=[{"role": "user", "content": content}])
    s.account.refused()


async def warnings(s):
    # What a provider of another dialect cannot be told is named in one header.
    raw = await done(s.client.messages.with_raw_response.create(**s.asked(extra_body={"top_k": 5, "metadata": {"user_id": "u"}})))
    s.account.settled((await done(raw.parse())).usage)
    named = raw.headers.get("x-waybill-warning")
    expect(named is None if PROVIDER == "anthropic" else named and named.startswith("top_k: "), f"warnings: {named}")
    equal(raw.headers.get("request-id"), raw.headers["x-generation-id"], "the library's request id")


async def fallback(s):
    models = [f"sandbox/failing-{s.account.name}", "sandbox/echo"]
    answer = await done(s.client.messages.create(**s.asked(model=models[0], extra_body={"models": models})))
    s.account.settled(answer.usage, attempts=("failed", "settled"))
    equal((answer.model, text(answer)), ("sandbox/echo", "sandbox: Say something."), "model and answer")


async def failover_to_the_other_dialect(s):
    # Whole and streamed: the first provider fails in its dialect, the second answers in the other.
    request = s.asked(model=f"sandbox/failing-over-{s.account.name}", extra_body={"provider": {"order": ["sandbox", "chat"]}})
    answer = await done(s.client.messages.create(**request))
    s.account.settled(answer.usage, attempts=("failed", "settled"))
    equal(text(answer), "sandbox: Say something.", "answer")
    _, message = await s.streamed(attempts=("failed", "settled"), **request)
    equal(text(message), text(answer), "streamed")


async def large_prompt(s):
    # Characters of two to four bytes, quotes and line ends: what a copy could break. 160 KB in UTF-8.
    prompt = ('Zürich "€" 𝄞\n\\' * 9_000).encode()[:160_000].decode(errors="ignore")
    answer = await s.whole(model="sandbox/echo", max_tokens=100_000, messages=[{"role": "user", "content": prompt}])
    expect(text(answer) == "sandbox: " + prompt, "the prompt came back changed")
    expect(answer.usage.input_tokens >= 39_990, f"{answer.usage.input_tokens} tokens")


async def bearer_and_other_surface(s):
    # With a base URL that ends in /api, as OpenRouter's users write it, and with the key where other tools put it.
    for client in (s.open(auth_token=s.key), s.open("/api", api_key=s.key)):
        expect("sandbox" in text(await s.whole(client)), "no answer")


async def bad_model(s):
    error = await s.fails(anthropic.NotFoundError, 404, model="sandbox/chatt")
    s.account.refused()
    equal(error.type, "not_found_error", "type")
    expect("sandbox/chatt" in error.message and "sandbox/chat`" in error.message, f"the message does not help: {error.message}")


async def bad_key(s):
    for key in ("wb_live_000000000000000000000000000_000000", "sk-nothing-of-ours"):
        for credential in ("api_key", "auth_token"):
            error = await s.fails(anthropic.AuthenticationError, 401, client=s.open(**{credential: key}))
            s.account.refused()
            equal(error.type, "authentication_error", "type")
            expect("API key" in error.message and key not in error.message, f"{error.message}")


async def bad_request(s):
    orphan = [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_none", "content": "?"}]}]
    for changes, field in (({"messages": []}, "messages"), ({"messages": orphan}, "messages[0]"), ({"extra_body": {"max_tokens": "many"}}, "max_tokens")):
        error = await s.fails(anthropic.BadRequestError, 400, **changes)
        s.account.refused()
        equal(error.type, "invalid_request_error", "type")
        expect(field in error.message, f"the message does not name the field {field}: {error.message}")


async def rate_limit(s):
    error = await s.fails(anthropic.RateLimitError, 429, model="sandbox/error-429")
    s.account.failed()
    equal((error.type, error.response.headers.get("retry-after")), ("rate_limit_error", "1"), "type and Retry-After")


async def rate_limit_with_retry(s):
    start = time.monotonic()
    await s.fails(anthropic.RateLimitError, 429, client=s.client.with_options(max_retries=1), model="sandbox/error-429")
    took = time.monotonic() - start
    s.account.failed()
    s.account.failed()
    expect(took >= 1, f"tried again after {took:.2f} s, before Retry-After")


async def overloaded(s):
    error = await s.fails(anthropic.ServiceUnavailableError, 503, model="sandbox/error-529")
    s.account.failed()
    equal(error.type, "overloaded_error", "type")


async def provider_errors(s):
    rows = [("500", anthropic.InternalServerError, 502), ("400", anthropic.BadRequestError, 400)]
    # The provider does not know our key: that is not the caller's fault.
    rows += [("401", anthropic.ServiceUnavailableError, 503)]
    for code, error_class, status in rows:
        error = await s.fails(error_class, status, model=f"sandbox/error-{code}")
        s.account.failed()
        expect(error.type and error.type != "authentication_error", f"type {error.type} for {code}")


async def error_in_stream(s):
    seen = []
    try:
        stream = await done(s.client.messages.create(stream=True, **s.asked(model="sandbox/error-in-200")))
        async for event in each(stream):
            seen.append(event)
    except anthropic.APIStatusError as error:
        s.account.partial()
        expect(pieces(seen, "text_delta"), "no output before the error")
        expect("failed after it had begun" in error.message and error.type, f"{error.type}: {error.message}")
        return
    raise AssertionError("a broken answer was taken for a whole one")


async def cancel(s):
    request = {"model": "sandbox/stream-20x50ms"}
    whole = await s.whole(**request)
    stream = await done(s.client.messages.create(stream=True, **s.asked(**request)))
    begun = asyncio.Event()
    seen = []

    async def read():
        async for event in each(stream):
            seen.append(event)
            if pieces(seen, "text_delta") > 2:
                begun.set()
                if s.blocks:
                    return

    if s.blocks:
        await read()
    else:
        # As a web server does when its own caller leaves: the task is cancelled in the middle of a read.
        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
        expect(task.cancelled(), "the stream was over before it was cancelled")
    await done(stream.close())
    s.account.hung_up(whole.usage)
    expect(0 < pieces(seen, "text_delta") < 20, "the stream was over before it was closed")
    again = await s.whole(model="sandbox/echo")
    equal(text(again), "sandbox: Say something.", "the next answer")


FEATURES = [
    ("models list", models_list), ("models retrieve", models_retrieve), ("chat whole", messages_whole), ("chat stream", messages_stream),
    ("limits and stops", limits_and_stops), ("refusal", refusal), ("tool round trip", tool_round_trip), ("tool loop", tool_loop),
    ("parallel tools", parallel_tools), ("forced tool", forced_tool), ("streamed tool arguments", streamed_tool_arguments),
    ("structured output", structured_output), ("thinking", thinking), ("thinking with tools", thinking_with_tools), ("adaptive thinking", adaptive_thinking),
    ("cached tokens", cached_tokens), ("count tokens", count_tokens), ("image and document", image_and_document), ("warnings", warnings), ("160 KB prompt", large_prompt),
    ("bearer, and /api", bearer_and_other_surface), ("bad model", bad_model), ("bad key", bad_key), ("bad request", bad_request), ("rate limit", rate_limit),
    ("rate limit with retry", rate_limit_with_retry), ("overloaded", overloaded), ("provider's errors", provider_errors), ("error in a stream", error_in_stream),
    ("cancel", cancel), ("fallback", fallback),
]
# Only where there are two providers.
FEATURES += [("failover", failover_to_the_other_dialect)] if PROVIDER == "anthropic" else []


async def main():
    session = Session(sys.argv[1] == "sync", os.environ["CLIENT_URL"], os.environ["CLIENT_KEY"])
    await run(session.account, FEATURES, session)


asyncio.run(main())
