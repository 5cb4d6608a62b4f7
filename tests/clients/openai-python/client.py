"""What an application does with the `openai` package for Python; the same features with the client that blocks and the one that is awaited."""

import asyncio
import json
import os
import sys
import time

import openai
import pydantic
from account import PROVIDER, done, each, equal, expect, run
from session import SAY, Session, opened, text, thoughts

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"type": "string", "enum": ["celsius", "kelvin"]}},
    "required": ["city", "days", "unit"],
    "additionalProperties": False,
}

# One pixel.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def tool(name):
    return {"type": "function", "function": {"name": name, "description": "Tells it.", "strict": True, "parameters": PARAMETERS}}


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
        expect(model.object == "model" and isinstance(model.created, int) and model.owned_by, f"{model!r}")


async def models_retrieve(s):
    model = await done(s.client.models.retrieve("sandbox/chat"))
    equal((model.id, model.object), ("sandbox/chat", "model"), "model")
    try:
        await done(s.client.models.retrieve("sandbox/nothing"))
    except openai.NotFoundError:
        return
    raise AssertionError("a model that is not there was found")


async def chat_whole(s):
    answer = await s.whole(model="sandbox/chat", messages=SAY)
    choice = answer.choices[0]
    expect("sandbox" in choice.message.content and choice.message.role == "assistant", f"{choice!r}")
    equal((choice.finish_reason, answer.object, answer.model), ("stop", "chat.completion", "sandbox/chat"), "answer")
    equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens, "total tokens")
    expect(answer.usage.cost > 0, "no cost in usage")


async def chat_stream(s):
    whole = await s.whole(model="sandbox/chat", messages=SAY)
    chunks = await s.chunks(model="sandbox/chat", messages=SAY)
    # What it cost is not shown to one who did not ask; the same words cost the same.
    s.account.settled(whole.usage, shown=False)
    equal(text(chunks), whole.choices[0].message.content, "text")
    expect(len(chunks) > 5, f"{len(chunks)} chunks")
    equal([choice.finish_reason for chunk in chunks for choice in chunk.choices][-1], "stop", "finish")
    expect(all(chunk.choices for chunk in chunks), "a chunk without choices, though usage was not asked for")
    expect(all(chunk.usage is None for chunk in chunks), "usage, though it was not asked for")


async def chat_stream_with_usage(s):
    whole = await s.whole(model="sandbox/chat", messages=SAY)
    chunks = await s.chunks(model="sandbox/chat", messages=SAY, stream_options={"include_usage": True})
    stated = [chunk for chunk in chunks if chunk.usage is not None]
    equal(len(stated), 1, "chunks with usage")
    s.account.settled(stated[0].usage)
    expect(stated[0] is chunks[-1] and not stated[0].choices, "usage is not in the last chunk")
    equal(stated[0].usage, whole.usage, "usage and cost")
    equal(text(chunks), whole.choices[0].message.content, "text")


async def tool_round_trip(s):
    messages = [{"role": "user", "content": "What will the weather be?"}]
    asked = await s.whole(model="sandbox/tools", messages=messages, tools=[tool("weather"), tool("tides")])
    message = asked.choices[0].message
    equal((asked.choices[0].finish_reason, len(message.tool_calls), message.content), ("tool_calls", 1, None), "answer with a call")
    call = message.tool_calls[0]
    arguments = json.loads(call.function.arguments)
    equal((call.type, call.function.name, sorted(arguments)), ("function", "weather", ["city", "days", "unit"]), "call")
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "rain, 8 °C"}]
    final = await s.whole(model="sandbox/tools", messages=messages, tools=[tool("weather"), tool("tides")])
    expect("rain, 8 °C" in final.choices[0].message.content, f"{final.choices[0].message!r}")
    equal(final.choices[0].finish_reason, "stop", "finish")


async def parallel_tools(s):
    request = {"model": "sandbox/parallel-tools", "messages": SAY, "tools": [tool("weather"), tool("tides")]}
    calls = (await s.whole(**request)).choices[0].message.tool_calls
    equal([call.function.name for call in calls], ["weather", "tides"], "calls")
    expect(calls[0].id != calls[1].id, "both calls have one id")
    one = await s.whole(parallel_tool_calls=False, **request)
    equal(len(one.choices[0].message.tool_calls), 1, "calls when only one is allowed")


async def streamed_tool_arguments(s):
    request = {"model": "sandbox/parallel-tools", "messages": SAY, "tools": [tool("weather"), tool("tides")]}
    whole = await s.whole(**request)
    pieces = 0
    async with opened(s.client.chat.completions.stream(**request)) as stream:
        async for event in each(stream):
            pieces += event.type == "tool_calls.function.arguments.delta"
        final = await done(stream.get_final_completion())
    s.account.settled(whole.usage, shown=False)
    spoken = [(call.function.name, json.loads(call.function.arguments)) for call in final.choices[0].message.tool_calls]
    equal(spoken, [(call.function.name, json.loads(call.function.arguments)) for call in whole.choices[0].message.tool_calls], "calls")
    expect(pieces > 4, f"{pieces} pieces of arguments")


async def structured_output(s):
    answer = await done(s.client.chat.completions.parse(model="sandbox/structured", messages=SAY, response_format=Report))
    s.account.settled(answer.usage)
    expect(isinstance(answer.choices[0].message.parsed, Report), f"{answer.choices[0].message!r}")
    async with opened(s.client.chat.completions.stream(model="sandbox/structured", messages=SAY, response_format=Report)) as stream:
        final = await done(stream.get_final_completion())
    s.account.settled(answer.usage, shown=False)
    equal(final.choices[0].message.parsed, answer.choices[0].message.parsed, "parsed from the stream")


async def forced_tool(s):
    request = {"model": "sandbox/tools", "messages": SAY, "tools": [tool("weather"), tool("tides")]}
    rows = [({"type": "function", "function": {"name": "tides"}}, ["tides"]), ("required", ["weather"]), ("none", [])]
    for choice, expected in rows:
        answer = await s.whole(tool_choice=choice, **request)
        equal([call.function.name for call in answer.choices[0].message.tool_calls or []], expected, f"calls for {choice}")


async def reasoning(s):
    request = {"model": "sandbox/reasoning", "messages": SAY, "reasoning_effort": "low", "max_tokens": 4096}
    whole = await s.whole(**request)
    chunks = await s.chunks(stream_options={"include_usage": True}, **request)
    s.account.settled(chunks[-1].usage)
    deltas = [thoughts(choice.delta) for chunk in chunks for choice in chunk.choices]
    message = whole.choices[0].message
    expect(message.content and thoughts(message), f"{message!r}")
    equal("".join(deltas), thoughts(message), "reasoning")
    expect(sum(1 for delta in deltas if delta) > 3, "the reasoning came in one piece")
    equal(text(chunks), message.content, "text")
    # Anthropic does not tell how many of its output tokens were thoughts.
    told = chunks[-1].usage.completion_tokens_details
    expect(PROVIDER == "anthropic" or told.reasoning_tokens > 0, "no reasoning tokens")
    # The message goes back as it came, with what signs its thoughts.
    details = getattr(message, "reasoning_details", None) or []
    signatures = [detail["signature"] for detail in details if detail.get("signature")]
    equal(len(signatures), int(PROVIDER == "anthropic"), f"signed thoughts: {details}")
    pieces = [getattr(choice.delta, "reasoning_details", None) or [] for chunk in chunks for choice in chunk.choices]
    equal([detail["signature"] for piece in pieces for detail in piece if detail.get("signature")], signatures, "signatures in the stream")
    again = await s.whole(**{**request, "messages": [*SAY, message, {"role": "user", "content": "Go on."}]})
    expect(again.choices[0].message.content, f"{again!r}")


async def cached_tokens(s):
    preface = {"type": "text", "text": f"A long preface, of {s.account.name}. " * 40, "cache_control": {"type": "ephemeral"}}
    counts = []
    for question in ("First?", "Second?"):
        turns = [{"role": "user", "content": [preface]}, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": question}]
        usage = (await s.whole(model="sandbox/cache", messages=turns)).usage
        counts.append((usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens or 0))
    (first, first_cached), (second, second_cached) = counts
    expect(first_cached == 0 < second_cached < second, f"prompt and cached: {counts}")
    expect(abs(second - first) < 5, f"what was cached is not counted in the prompt: {counts}")


async def bad_model(s):
    error = await s.fails(openai.NotFoundError, 404, model="sandbox/chatt", messages=SAY)
    s.account.refused()
    expect("sandbox/chatt" in error.message and "sandbox/chat`" in error.message, f"the message does not help: {error.message}")


async def bad_key(s):
    for key in ("wb_live_000000000000000000000000000_000000", "sk-nothing-of-ours"):
        error = await s.fails(openai.AuthenticationError, 401, client=s.open("/v1", key), model="sandbox/chat", messages=SAY)
        s.account.refused()
        expect("API key" in error.message and key not in error.message, f"{error.message}")


async def bad_request(s):
    error = await s.fails(openai.BadRequestError, 400, model="sandbox/chat", messages=SAY, extra_body={"maxTokens": 5})
    s.account.refused()
    expect("max_tokens" in error.message, f"the message does not name the field: {error.message}")


async def rate_limit(s):
    error = await s.fails(openai.RateLimitError, 429, model="sandbox/error-429", messages=SAY)
    s.account.failed()
    equal(error.response.headers.get("retry-after"), "1", "Retry-After")


async def rate_limit_with_retry(s):
    start = time.monotonic()
    client = s.client.with_options(max_retries=1)
    await s.fails(openai.RateLimitError, 429, client=client, model="sandbox/error-429", messages=SAY)
    took = time.monotonic() - start
    s.account.failed()
    s.account.failed()
    expect(took >= 1, f"tried again after {took:.2f} s, before Retry-After")


async def overloaded(s):
    error = await s.fails(openai.InternalServerError, 503, model="sandbox/error-529", messages=SAY)
    s.account.failed()
    equal(error.body["metadata"]["error_type"], "provider_overloaded", "error type")


async def provider_500(s):
    error = await s.fails(openai.InternalServerError, 502, model="sandbox/error-500", messages=SAY)
    s.account.failed()
    expect("error of its own" in error.message, f"the provider's words are lost: {error.message}")


async def provider_400(s):
    await s.fails(openai.BadRequestError, 400, model="sandbox/error-400", messages=SAY)
    s.account.failed()


async def provider_401(s):
    # The provider does not know our key: that is not the caller's fault.
    await s.fails(openai.InternalServerError, 503, model="sandbox/error-401", messages=SAY)
    s.account.failed()


async def error_in_stream(s):
    seen = []
    try:
        stream = await done(s.client.chat.completions.create(model="sandbox/error-in-200", messages=SAY, stream=True))
        async for chunk in each(stream):
            seen.append(chunk)
    except openai.APIError as error:
        s.account.partial()
        expect(text(seen), "no output before the error")
        expect("failed after it had begun" in error.message, f"{error.message}")
        return
    raise AssertionError("a broken answer was taken for a whole one")


async def cancel(s):
    request = {"model": "sandbox/stream-20x50ms", "messages": SAY}
    whole = await s.whole(**request)
    stream = await done(s.client.chat.completions.create(stream=True, **request))
    begun = asyncio.Event()
    seen = []

    async def read():
        async for chunk in each(stream):
            seen.append(chunk)
            if len(seen) > 2:
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
    expect(0 < len(text(seen)) < len(whole.choices[0].message.content), "the stream was over before it was closed")
    again = await s.whole(model="sandbox/echo", messages=SAY)
    equal(again.choices[0].message.content, "sandbox: Say something.", "the next answer")


async def image_and_file(s):
    content = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        {"type": "file", "file": {"filename": "rivers.txt", "file_data": "data:text/plain;base64,Uml2ZXJzLg=="}},
        {"type": "text", "text": "What is it?"},
    ]
    answer = await s.whole(model="sandbox/seeing", messages=[{"role": "user", "content": content}])
    expect("What is it?" in answer.choices[0].message.content, f"{answer!r}")


async def warnings(s):
    # What a provider of another dialect cannot be told is named in one header.
    raw = await done(s.client.chat.completions.with_raw_response.create(model="sandbox/chat", messages=SAY, seed=7, user="u"))
    s.account.settled((await done(raw.parse())).usage)
    named = raw.headers.get("x-waybill-warning")
    expect(named is None if PROVIDER == "openai" else "seed: " in (named or ""), f"warnings: {named}")


async def failover_to_the_other_dialect(s):
    # Whole and streamed: the first provider fails in its dialect, the second answers in the other.
    request = {"model": f"sandbox/failing-over-{s.account.name}", "messages": SAY, "extra_body": {"provider": {"order": ["sandbox", "chat"]}}}
    answer = await done(s.client.chat.completions.create(**request))
    s.account.settled(answer.usage, attempts=("failed", "settled"))
    equal(answer.choices[0].message.content, "sandbox: Say something.", "answer")
    chunks = await s.chunks(stream_options={"include_usage": True}, **request)
    s.account.settled(chunks[-1].usage, attempts=("failed", "settled"))
    equal(text(chunks), answer.choices[0].message.content, "streamed")


async def large_prompt(s):
    # Characters of two to four bytes, quotes and line ends: what a copy could break. 160 KB in UTF-8.
    prompt = ('Zürich "€" 𝄞\n\\' * 9_000).encode()[:160_000].decode(errors="ignore")
    answer = await s.whole(model="sandbox/echo", messages=[{"role": "user", "content": prompt}])
    expect(answer.choices[0].message.content == "sandbox: " + prompt, "the prompt came back changed")
    expect(answer.usage.prompt_tokens >= 39_990, f"{answer.usage.prompt_tokens} tokens")


async def openrouter_provider(s):
    provider = {"order": ["sandbox"], "allow_fallbacks": False}
    whole = await s.whole(s.openrouter, model="sandbox/chat", messages=SAY, extra_body={"provider": provider})
    chunks = await s.chunks(s.openrouter, model="sandbox/chat", messages=SAY, extra_body={"provider": provider})
    expect(chunks[-1].usage is not None, "this surface states usage always")
    s.account.settled(chunks[-1].usage)
    equal(chunks[-1].usage, whole.usage, "usage and cost")
    error = await s.fails(openai.NotFoundError, 404, s.openrouter, model="sandbox/chat", messages=SAY, extra_body={"provider": {"only": ["nobody"]}})
    s.account.refused()
    expect("nobody" in error.message or "only" in error.message, f"the message does not help: {error.message}")


async def openrouter_fallback(s):
    models = [f"sandbox/failing-{s.account.name}", "sandbox/echo"]
    answer = await done(s.openrouter.chat.completions.create(model=models[0], messages=SAY, extra_body={"models": models}))
    s.account.settled(answer.usage, attempts=("failed", "settled"))
    equal(answer.model, "sandbox/echo", "model")


async def openrouter_models(s):
    models = [model async for model in each(s.openrouter.models.list())]
    chat = next(model for model in models if model.id == "sandbox/chat")
    expect(float(chat.pricing["prompt"]) > 0 and chat.context_length > 0, f"{chat!r}")


async def openrouter_generation(s):
    raw = await done(s.client.chat.completions.with_raw_response.create(model="sandbox/chat", messages=SAY))
    answer = raw.parse()
    s.account.settled(answer.usage)
    for name in (raw.headers["x-generation-id"], answer.id):
        data = (await done(s.openrouter.get("/generation", cast_to=object, options={"params": {"id": name}})))["data"]
        equal(data["total_cost"], answer.usage.cost, f"cost of {name}")
        equal((data["tokens_prompt"], data["tokens_completion"]), (answer.usage.prompt_tokens, answer.usage.completion_tokens), "tokens")
        equal((data["id"], data["model"], data["streamed"]), (raw.headers["x-generation-id"], "sandbox/chat", False), "generation")


async def openrouter_key(s):
    before = (await done(s.openrouter.get("/key", cast_to=object)))["data"]
    raw = await done(s.client.chat.completions.with_raw_response.create(model="sandbox/chat", messages=SAY))
    usage = raw.parse().usage
    s.account.settled(usage)
    # The answer of this one waits until the ledger has the generation.
    await done(s.openrouter.get("/generation", cast_to=object, options={"params": {"id": raw.headers["x-generation-id"]}}))
    after = (await done(s.openrouter.get("/key", cast_to=object)))["data"]
    expect(after["label"] and after["limit"] is None, f"{after!r}")
    expect(after["usage"] - before["usage"] >= usage.cost * 0.999_999, f"usage went from {before['usage']} to {after['usage']} by {usage.cost}")


FEATURES = [
    ("models list", models_list), ("models retrieve", models_retrieve), ("chat whole", chat_whole), ("chat stream", chat_stream),
    ("chat stream with usage", chat_stream_with_usage), ("tool round trip", tool_round_trip), ("parallel tools", parallel_tools),
    ("forced tool", forced_tool), ("streamed tool arguments", streamed_tool_arguments), ("structured output", structured_output), ("reasoning", reasoning),
    ("cached tokens", cached_tokens), ("bad model", bad_model),
    ("bad key", bad_key), ("bad request", bad_request), ("rate limit", rate_limit), ("rate limit with retry", rate_limit_with_retry), ("overloaded", overloaded),
    ("provider's 500", provider_500), ("provider's 400", provider_400), ("provider's 401", provider_401), ("error in a stream", error_in_stream),
    ("cancel", cancel), ("image and file", image_and_file), ("warnings", warnings), ("160 KB prompt", large_prompt), ("openrouter: provider", openrouter_provider), ("openrouter: fallback", openrouter_fallback),
    ("openrouter: models", openrouter_models), ("openrouter: generation", openrouter_generation), ("openrouter: key", openrouter_key),
]
# Only where there are two providers.
FEATURES += [("failover", failover_to_the_other_dialect)] if PROVIDER == "anthropic" else []


async def main():
    session = Session(sys.argv[1] == "sync", os.environ["CLIENT_URL"], os.environ["CLIENT_KEY"])
    await run(session.account, FEATURES, session)


asyncio.run(main())
