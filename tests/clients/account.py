"""What a client program in Python tells the suite, one JSON object a line on standard output.

    {"plan": [NAME…]}                                  what will be tried, so that nothing can be left out unseen
    {"feature": NAME, "ok": true|false, "message": …}  how it went
    {"request": {…}}                                   a chat completion or a message as the client saw it: generation id, status, what it should have cost

Every request is noted on the wire, below the client library, so the library's own retries are counted too. A feature then says of each, in turn,
what must be in the ledger. One that no feature speaks of is reported as "unaccounted", which is a failure.
"""

import asyncio
import inspect
import json
import os
import traceback

# What the provider behind the gateway speaks: "openai" or "anthropic". Some answers tell less than others.
PROVIDER = os.environ["CLIENT_PROVIDER"]
# Requests that may be billed end so. Counting tokens is free.
BILLED = ("/chat/completions", "/v1/messages")
# A feature that takes longer is stuck: the longest one waits 1 s for the provider and 1 s before a retry.
LIMIT_S = 30


class Missed(Exception):
    """The client got something else than it should have."""


def expect(truth, what):
    if not truth:
        raise Missed(what)


def equal(seen, expected, what):
    expect(seen == expected, f"{what}: {seen!r}, not {expected!r}")


async def done(value):
    """The value, of a client that blocks or of one that is awaited."""
    return await value if inspect.isawaitable(value) else value


async def each(items):
    """The items, of a client that blocks or of one that is awaited."""
    if hasattr(items, "__aiter__"):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def tell(**line):
    print(json.dumps(line), flush=True)


class Account:
    """The requests of one client program."""

    def __init__(self):
        # The client, by a name that no other client of this provider has.
        self.name = os.environ["CLIENT_NAME"]
        self.feature = None
        self.wire = []

    def answered(self, response):
        """To be called with every HTTP response that comes in."""
        request = response.request
        if request.method == "POST" and request.url.path.endswith(BILLED):
            self.wire.append({"generation": response.headers.get("x-generation-id"), "status": response.status_code})

    async def answered_later(self, response):
        self.answered(response)

    def settled(self, usage, attempts=("settled",), shown=True):
        """The oldest request nobody has spoken of was answered with this usage. `shown` = its own answer stated the cost."""
        usage = usage if isinstance(usage, dict) else usage.model_dump()
        self.say(kinds=list(attempts), usage=usage, cost=usage.get("cost") if shown else None, shown=shown)

    def failed(self, attempts=1):
        """… failed at the provider, and nothing is owed."""
        self.say(kinds=["failed"] * attempts)

    def partial(self):
        """… was cut after some output: an estimate is owed."""
        self.say(kinds=["partial"])

    def refused(self):
        """… was refused before it reached a provider."""
        self.say(kinds=[])

    def hung_up(self, usage):
        """… was left by the client; the provider went on to the end, which comes to this usage."""
        usage = usage if isinstance(usage, dict) else usage.model_dump()
        self.say(kinds=["settled"], usage=usage, cost=None, shown=False, outcome="client_hang_up")

    def say(self, **expected):
        expect(self.wire, "a request that was never answered")
        tell(request={"feature": self.feature, **self.wire.pop(0), **expected})

    def close(self):
        while self.wire:
            tell(request={"feature": self.feature, **self.wire.pop(0), "kinds": "unaccounted"})


async def run(account, features, *arguments):
    """Tries all features, one after the other."""
    tell(plan=[name for name, _ in features])
    for name, feature in features:
        account.feature = name
        try:
            await asyncio.wait_for(feature(*arguments), LIMIT_S)
            expect(not account.wire, f"{len(account.wire)} requests more than were meant")
            tell(feature=name, ok=True, message="")
        except Exception as error:  # whatever a library throws is the row's message
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = "" if isinstance(error, Missed) else f" ({where.filename.rsplit('/', 1)[-1]}:{where.lineno})"
            tell(feature=name, ok=False, message=" ".join(f"{type(error).__name__}: {error}{place}".split()))
        account.close()
