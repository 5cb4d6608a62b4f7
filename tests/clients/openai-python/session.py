"""A client of the `openai` package on either surface, and what it has asked."""

from contextlib import asynccontextmanager

import openai
from account import Account, done, each, equal, expect

SAY = [{"role": "user", "content": "Say something."}]


class Session:
    """A client on either surface, and what both have asked."""

    def __init__(self, blocks, base, key):
        self.account = Account()
        self.blocks, self.base = blocks, base
        self.client = self.open("/v1", key)
        self.openrouter = self.open("/api/v1", key)

    def open(self, surface, key):
        options = {"base_url": self.base + surface, "api_key": key, "max_retries": 0, "timeout": 20}
        if self.blocks:
            return openai.OpenAI(http_client=openai.DefaultHttpx2Client(event_hooks={"response": [self.account.answered]}), **options)
        return openai.AsyncOpenAI(http_client=openai.DefaultAsyncHttpx2Client(event_hooks={"response": [self.account.answered_later]}), **options)

    async def whole(self, client=None, **request):
        """A whole answer, accounted for."""
        answer = await done((client or self.client).chat.completions.create(**request))
        self.account.settled(answer.usage)
        return answer

    async def chunks(self, client=None, **request):
        stream = await done((client or self.client).chat.completions.create(stream=True, **request))
        return [chunk async for chunk in each(stream)]

    async def fails(self, error_class, status, client=None, **request):
        """The error that a request ends with."""
        try:
            await done((client or self.client).chat.completions.create(**request))
        except openai.APIStatusError as error:
            expect(type(error) is error_class, f"{type(error).__name__}, not {error_class.__name__}: {error}")
            equal(error.status_code, status, "status")
            return error
        raise AssertionError("no error came")


@asynccontextmanager
async def opened(manager):
    if hasattr(manager, "__aenter__"):
        async with manager as stream:
            yield stream
    else:
        with manager as stream:
            yield stream


def text(chunks):
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def thoughts(spoken):
    """What a message or a delta thinks: where OpenAI's family puts it, and where OpenRouter does."""
    return getattr(spoken, "reasoning_content", None) or getattr(spoken, "reasoning", None) or ""
