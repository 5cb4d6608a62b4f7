"""Compares the ledger with what the clients saw. Nothing here comes from the product but the ledger's own words."""

import base64
from collections import Counter, defaultdict
from decimal import Decimal

# pico-USD per token of every model of the sandbox, by hand. What is written to a cache has a price only where the provider tells it.
INPUT, CACHED, WRITTEN, WRITTEN_1H, OUTPUT = 100_000, 10_000, 125_000, 200_000, 400_000
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def picousd(cost):
    """A cost in USD, as the answer spells it."""
    return int((Decimal(str(cost)) * 10**12).to_integral_exact())


def owed(usage):
    """What this usage comes to, in either dialect's words."""
    if "input_tokens" in usage:
        read, written = usage.get("cache_read_input_tokens") or 0, usage.get("cache_creation_input_tokens") or 0
        hour = (usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0
        plain, output = usage["input_tokens"], usage["output_tokens"]
    else:
        details = usage.get("prompt_tokens_details") or {}
        # This dialect has no word for how long it is kept.
        read, written, hour = details.get("cached_tokens") or 0, details.get("cache_write_tokens") or 0, 0
        plain, output = usage["prompt_tokens"] - read - written, usage["completion_tokens"]
    return plain * INPUT + read * CACHED + (written - hour) * WRITTEN + hour * WRITTEN_1H + output * OUTPUT


def generation_name(text):
    """The sixteen bytes behind `gen-…`, as the ledger writes them."""
    number = 0
    for letter in text.removeprefix("gen-"):
        number = number * 32 + ALPHABET.index(letter)
    return base64.b64encode(number.to_bytes(16, "big")).decode()


def kind(event):
    return event["kind"].removeprefix("KIND_").lower()


def amount(event):
    return int(event.get("amountPicousd", 0))


def compare(rows, requests):
    """Every check as (name, faults): what is wrong, in words; nothing when all is well."""
    events = [row["event"] for row in rows if "attempt" in row.get("event", {})]
    by_generation = defaultdict(list)
    for event in sorted(events, key=lambda event: event["attempt"].get("number", 0)):
        by_generation[event["attempt"]["generationId"]].append(event)
    kinds, amounts, costs, ends = [], [], [], []
    due = 0
    for request in requests:
        name = f"{request['client']}: {request['feature']}: {request['generation']}"
        own = by_generation.pop(generation_name(request["generation"]), []) if request["generation"] else []
        if request["kinds"] == "unaccounted":
            kinds.append(f"{name}: status {request['status']}, and no feature says what it comes to; the ledger has {[kind(e) for e in own]}")
            continue
        if [kind(event) for event in own] != request["kinds"]:
            kinds.append(f"{name}: {[kind(event) for event in own]}, not {request['kinds']}")
            continue
        for event in own:
            if kind(event) == "failed" and amount(event) != 0:
                amounts.append(f"{name}: a failed attempt costs {amount(event)}")
            if kind(event) == "partial" and not 0 < amount(event) <= int(event["attempt"]["reservationPicousd"]):
                amounts.append(f"{name}: an estimate of {amount(event)}")
        if usage := request.get("usage"):
            due += owed(usage)
            if amount(own[-1]) != owed(usage):
                amounts.append(f"{name}: {amount(own[-1])} pico-USD, not {owed(usage)}")
            if request["shown"] and (request["cost"] is None or picousd(request["cost"]) != owed(usage)):
                costs.append(f"{name}: the client was told {request['cost']}, not {Decimal(owed(usage)) / 10**12}")
        if own and own[-1].get("outcome") != request.get("outcome", own[-1].get("outcome")):
            ends.append(f"{name}: it ended with {own[-1].get('outcome')}, not {request['outcome']}")
    left = [f"{kind(event)} of {event['attempt']['model']} that no client knows of" for group in by_generation.values() for event in group]
    repeated = [f"{name} has {count} events" for name, count in Counter(event["attempt"]["attemptId"] for event in events).items() if count > 1]
    expected = sum(len(request["kinds"]) for request in requests if request["kinds"] != "unaccounted")
    counted = [f"{len(events)} events, not {expected}"] if len(events) != expected else []
    booked = sum(amount(event) for event in events if kind(event) == "settled")
    total = [f"{booked} pico-USD are settled, not {due}"] if booked != due else []
    return [
        ("one event for each attempt", counted + repeated + left),
        ("kinds", kinds),
        ("amounts", amounts),
        ("costs the clients were told", costs),
        ("cancelled requests are drained", ends),
        ("sum", total),
    ]
