"""What an application does with the `openrouter` package. It checks the shape of every answer against OpenRouter's own description."""

import asyncio
import json
import os

import httpx
from account import Account, equal, expect, run
from openrouter import OpenRouter, errors

SAY = [{"role": "user", "content": "Say something."}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}


class Session:
    def __init__(self, base, key):
        self.account = Account()
        http = httpx.Client(timeout=20, event_hooks={"response": [self.account.answered]})
        # No retries: those of this library go on for up to an hour.
        self.client = OpenRouter(api_key=key, server_url=base + "/api/v1", client=http, retry_config=None)

    def whole(self, **request):
        answer = self.client.chat.send(**request)
        self.account.settled(answer.usage)
        return answer


async def models_list(s):
    models = {model.id: model for model in s.client.models.list().result.data}
    expect(float(models["sandbox/chat"].pricing.prompt) > 0, f"{models['sandbox/chat']!r}")


async def models_retrieve(s):
    equal(s.client.models.get(author="sandbox", slug="chat").data.id, "sandbox/chat", "model")


async def endpoints(s):
    data = s.client.endpoints.list(author="sandbox", slug="chat").data
    equal((data.id, len(data.endpoints)), ("sandbox/chat", 1), "endpoints")


async def chat_whole(s):
    answer = s.whole(model="sandbox/chat", messages=SAY, provider={"order": ["sandbox"], "allow_fallbacks": False})
    equal((answer.choices[0].finish_reason, answer.model), ("stop", "sandbox/chat"), "answer")
    expect(answer.usage.cost > 0, "no cost in usage")


async def chat_stream(s):
    whole = s.whole(model="sandbox/chat", messages=SAY)
    chunks = []
    try:
        with s.client.chat.send(model="sandbox/chat", messages=SAY, stream=True) as stream:
            chunks.extend(stream)
    finally:
        # What the library refuses to read was billed all the same.
        s.account.settled(whole.usage, shown=False)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    equal(text, whole.choices[0].message.content, "text")
    equal(chunks[-1].usage, whole.usage, "usage and cost")


async def tool_round_trip(s):
    tools = [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}]
    asked = s.whole(model="sandbox/tools", messages=SAY, tools=tools)
    call = asked.choices[0].message.tool_calls[0]
    equal((call.function.name, list(json.loads(call.function.arguments))), ("weather", ["city"]), "call")
    message = {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]}
    final = s.whole(model="sandbox/tools", messages=[*SAY, message, {"role": "tool", "tool_call_id": call.id, "content": "hail"}], tools=tools)
    expect("hail" in final.choices[0].message.content, f"{final.choices[0].message!r}")


async def bad_model(s):
    try:
        s.client.chat.send(model="sandbox/chatt", messages=SAY)
    except errors.NotFoundResponseError as error:
        s.account.refused()
        expect("sandbox/chat`" in str(error), f"the message does not help: {error}")
        return
    raise AssertionError("no error came")


async def provider_500(s):
    try:
        s.client.chat.send(model="sandbox/error-500", messages=SAY)
    except errors.BadGatewayResponseError:
        s.account.failed()
        return
    raise AssertionError("no error came")


async def generation(s):
    answer = s.whole(model="sandbox/chat", messages=SAY)
    equal(s.client.generations.get_generation(id=answer.id).data.total_cost, answer.usage.cost, "cost")


async def key(s):
    data = s.client.api_keys.get_current_key_metadata().data
    expect(data.label and data.limit is None and data.usage >= 0, f"{data!r}")


FEATURES = [
    ("models list", models_list), ("models retrieve", models_retrieve), ("endpoints", endpoints), ("chat whole", chat_whole),
    ("chat stream", chat_stream), ("tool round trip", tool_round_trip), ("bad model", bad_model), ("provider's 500", provider_500),
    ("generation", generation), ("key", key),
]

session = Session(os.environ["CLIENT_URL"], os.environ["CLIENT_KEY"])
asyncio.run(run(session.account, FEATURES, session))
