"""A client of the `anthropic` package, what it has asked, and how a stream must be ordered."""

from contextlib import asynccontextmanager

import anthropic
from account import Account, done, each, equal, expect

SAY = [{"role": "user", "content": "Say something."}]
# What comes over the wire; the library makes further events of these.
WIRE = {"message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop"}
OPENS, CLOSES = ["message_start"], ["message_delta", "message_stop"]


class Session:
    """A client, and what it has asked."""

    def __init__(self, blocks, base, key):
        self.account = Account()
        self.blocks, self.base, self.key = blocks, base, key
        self.client = self.open(api_key=key)

    def open(self, surface="", **credential):
        options = {"base_url": self.base + surface, "max_retries": 0, "timeout": 20, **credential}
        if self.blocks:
            return anthropic.Anthropic(http_client=anthropic.DefaultHttpxClient(event_hooks={"response": [self.account.answered]}), **options)
        return anthropic.AsyncAnthropic(
            http_client=anthropic.DefaultAsyncHttpxClient(event_hooks={"response": [self.account.answered_later]}), **options
        )

    def asked(self, **request):
        return {"model": "sandbox/chat", "max_tokens": 1024, "messages": SAY, **request}

    async def whole(self, client=None, **request):
        """A whole answer, accounted for."""
        answer = await done((client or self.client).messages.create(**self.asked(**request)))
        self.account.settled(answer.usage)
        return answer

    async def streamed(self, client=None, attempts=("settled",), **request):
        """The events and the message that they come to, accounted for. Their order is checked."""
        events = []
        async with opened((client or self.client).messages.stream(**self.asked(**request))) as stream:
            async for event in each(stream):
                events.append(event)
            message = await done(stream.get_final_message())
        wire = [event for event in events if event.type in WIRE]
        in_order(wire)
        # The library folds the counts into the message, the cost stays in the event.
        cost = getattr(wire[-2].usage, "cost", None)
        self.account.settled({**message.usage.model_dump(), "cost": cost}, attempts=attempts)
        return events, message

    async def fails(self, error_class, status, client=None, **request):
        """The error that a request ends with."""
        try:
            await done((client or self.client).messages.create(**self.asked(**request)))
        except anthropic.APIStatusError as error:
            expect(type(error) is error_class, f"{type(error).__name__}, not {error_class.__name__}: {error}")
            equal(error.status_code, status, "status")
            equal((error.body or {}).get("type"), "error", "type of the body")
            return error
        raise AssertionError("no error came")


def in_order(events):
    """A message of blocks one after the other, each opened and closed once."""
    kinds = [event.type for event in events]
    equal((kinds[:1], kinds[-2:]), (OPENS, CLOSES), "first and last events")
    equal([kinds.count(kind) for kind in OPENS + CLOSES], [1, 1, 1], "first and last events, counted")
    open_block, begun = None, 0
    for event in events[1:-2]:
        if event.type == "content_block_start":
            equal((open_block, event.index), (None, begun), "block that begins")
            open_block, begun = event.index, begun + 1
        else:
            equal(event.index, open_block, f"block of {event.type}")
            open_block = None if event.type == "content_block_stop" else open_block
    equal(open_block, None, "block left open")


@asynccontextmanager
async def opened(manager):
    if hasattr(manager, "__aenter__"):
        async with manager as stream:
            yield stream
    else:
        with manager as stream:
            yield stream


def text(message):
    return "".join(block.text for block in message.content if block.type == "text")


def calls(message):
    return [(block.name, block.input) for block in message.content if block.type == "tool_use"]


def pieces(events, kind):
    return sum(1 for event in events if event.type == "content_block_delta" and event.delta.type == kind)
