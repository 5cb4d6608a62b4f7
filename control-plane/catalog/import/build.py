#!/usr/bin/env python3
"""Write the built-in catalogue (../data/<provider>.json) from published price collections.

usage: build.py SOURCES

SOURCES is a folder with
  models-dev.json                  anomalyco/models.dev as one JSON file (MIT): the base of every provider but two
  genai-prices.json                pydantic/genai-prices prices/data.json (MIT): cross-check; the base of huggingface
  litellm-prices.json              BerriAI/litellm model_prices_and_context_window.json (MIT outside enterprise/): cross-check, kind of endpoint
  openrouter-models-2026-05.json   models.json of anomalyco/models.dev (MIT repository): the base of openrouter

Rules
- Chat models with a price in tokens only. Deprecated and expiring ones, and moving aliases whose price is not confirmed, are left out.
- Numbers are read as decimals and written as text: no binary fraction touches a price. What is finer than 10^-12 USD per million tokens (an
  artefact of binary fractions at a source) is rounded half to even.
- Where two dated sources disagree on a price by more than half a percent, the newer one is taken: the base of most providers is of 2026-07-02,
  litellm 1.106.2 was packed on 2026-10-21, and its entries that name the provider's own page as their `source` are taken as of that day. The
  item names it and the script says so. genai-prices dates neither its entries nor drops old ones, so it only confirms or is reported.
- litellm adds what the base does not have: prices of service tiers, and chat models published after the base was read.
- A price for cached input above the one for input is a mistake at the source; it is left out, and input's price holds.
- A price for writing a cache below the one for input is the storage alone (Gemini through OpenRouter: "input plus storage"), so input is added.
- OpenRouter's own list is of May 2026; what models.dev says of it on 2026-07-02 is newer, adds models, and is taken where it differs. Neither
  lists the prices of long contexts well: a band is taken if two collections have it, or if the author's own endpoint has it and its other
  prices are the same (OpenRouter hands on the provider's price).
- A price that changes with the hour (DeepSeek) is taken at its dearest, and the item says so in its note.
- An offer with a price that no meter can hold is left out: its bill could not be right.
- A price of 0 for cached input beside a price for input means "not listed" at the sources, so it is left out and input's price holds.
- Anthropic: a model that litellm, packed later than the base, does not have any more is left out. Its limits and capabilities are litellm's where
  that has a source. Writing a cache that lives an hour costs what litellm says, else twice input (the author's published rule). Searches are priced
  each, at the author's published 10 USD per thousand where no entry says otherwise. Fast mode is the tier `fast`. Prices of long contexts are
  those in force at litellm: at present only claude-haiku-5-5 has any.
- Reasoning controls are models.dev's reasoning_options. For Anthropic litellm adds `adaptive` (adaptive thinking), `effort` (an output_config),
  `budget_tokens` (legacy thinking, and reasoning models without the adaptive one) and `toggle` (reasoning that is not always on).
- One canonical slug never stands for two models; offers that would share one within a provider are told apart or refused.
"""

import json
import os
import re
import sys
from collections import Counter
from datetime import datetime, timezone
from decimal import Decimal

sys.dont_write_bytecode = True

from names import AUTHORS_OWN, FAMILIES, GENAI, LEFT_OUT, LITELLM, MODELS_DEV, NOT_CHAT, NOTES, OPENROUTER_LIST, PROVIDERS, is_chat, slug_of
from rates import (
    INPUT,
    ORDER,
    OUTPUT,
    Unpriceable,
    cleaned,
    newer,
    rates_of_genai,
    rates_of_litellm,
    rates_of_models_dev,
    rates_of_openrouter,
    request_fee,
    said,
    say,
    search_fee,
    settle,
    text_of,
    whole,
    with_bands,
    with_fast,
    with_hour,
    with_input,
)

PARAMETERS = {
    "temperature", "top_p", "top_k", "min_p", "top_a", "frequency_penalty", "presence_penalty", "repetition_penalty", "max_tokens",
    "max_completion_tokens", "logit_bias", "logprobs", "top_logprobs", "prediction", "seed", "response_format", "structured_outputs", "stop",
    "tools", "tool_choice", "parallel_tool_calls", "include_reasoning", "reasoning", "reasoning_effort", "web_search_options", "verbosity",
}
INPUTS = {"text": "text", "image": "image", "pdf": "file", "file": "file", "audio": "audio", "video": "video"}
INPUT_ORDER = ["text", "image", "file", "audio", "video"]
CONTROLS = ["effort", "budget_tokens", "toggle", "adaptive"]

# Of what the base does not have: other kinds of endpoints, moving aliases, experiments, and names with a price of their own making.
NOT_ADDED = re.compile(r"audio|realtime|search|latest|exp|auto|vibe-cli|\bpreview-\d\d-\d\d")

# The day on which this was last run: what ends before it is left out.
BUILT = "2026-11-24"


def load(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as handle:
        return json.load(handle, parse_float=Decimal, parse_int=Decimal)


def names_of(match):
    """Names that a rule of genai-prices matches exactly; patterns are not followed, because they reach other models too."""
    if "equals" in match:
        return [match["equals"]]
    return [name for part in match.get("or", []) for name in names_of(part)]


def genai_index(sources, provider):
    index = {}
    for entry in sources[GENAI].get(PROVIDERS[provider][1], []):
        for name in [entry["id"], *names_of(entry["match"])]:
            index.setdefault(name.lower(), entry)
    return index


def seconds(date):
    parts = [int(part) for part in str(date).split("-")] + [1, 1]
    return int(datetime(parts[0], parts[1], parts[2], tzinfo=timezone.utc).timestamp())


def modalities(words, known):
    found = {known[word] for word in words if word in known}
    return [word for word in INPUT_ORDER if word in found]


def parameters_of(provider, offer, slug, listed):
    own = set()
    if offer.get("tool_call"):
        own |= {"tools", "tool_choice"}
    if offer.get("structured_output"):
        own |= {"structured_outputs", "response_format"}
    if offer.get("temperature"):
        own |= {"temperature", "top_p"}
    if offer.get("reasoning"):
        own |= {"reasoning", "include_reasoning"}
        if any(option.get("type") == "effort" for option in offer.get("reasoning_options", [])):
            own |= {"reasoning_effort"}
    own |= {"max_tokens"} if provider != "openai" else {"max_tokens", "max_completion_tokens"}
    if provider != "openai" or not offer.get("reasoning"):
        own |= {"stop"}
    if provider == "anthropic":
        own |= {"max_completion_tokens"}
        own |= {"parallel_tool_calls"} if offer.get("tool_call") else set()
        own |= {"top_k"} if offer.get("temperature") else set()
        own |= {"verbosity"} if "effort" in controls(offer) else set()
    # The author's own endpoint takes what the list of OpenRouter says of the model, unless the offer says no.
    if PROVIDERS[provider][3] == slug.split("/")[0]:
        refused = set()
        refused |= set() if offer.get("tool_call", True) else {"tools", "tool_choice", "parallel_tool_calls"}
        refused |= set() if offer.get("temperature", True) else {"temperature", "top_p"}
        refused |= {"top_k"} if provider == "anthropic" and not offer.get("temperature") else set()
        refused |= {"max_completion_tokens"} if provider == "mistral" else set()
        own |= set(listed.get(slug, ())) & PARAMETERS - refused
    return sorted(own)


def anthropic(offer, entry):
    """The offer with the limits and capabilities of the newer collection."""
    sourced = "source" in entry
    limit = {"context": entry["max_input_tokens"], "output": entry["max_output_tokens"]} if sourced else offer["limit"]
    own = {option["type"] for option in offer.get("reasoning_options", [])}
    own |= {"adaptive"} if entry.get("supports_adaptive_thinking") else set()
    own |= {"effort"} if entry.get("supports_output_config") else set()
    legacy = entry.get("supports_legacy_thinking") or not entry.get("supports_adaptive_thinking")
    own |= {"budget_tokens"} if entry.get("supports_reasoning") and legacy else set()
    own |= {"toggle"} if entry.get("supports_reasoning") and not entry.get("thinking_always_on") else set()
    return {
        **offer,
        "limit": limit,
        "tool_call": entry.get("supports_function_calling", False),
        "structured_output": entry.get("supports_native_structured_output", False),
        "reasoning": entry.get("supports_reasoning", False),
        "reasoning_options": [{"type": control} for control in CONTROLS if control in own],
        "temperature": entry.get("supports_sampling_params", True),
    }


def controls(offer):
    """How reasoning is steered, in the words that an Endpoint has for it."""
    found = {option.get("type") for option in offer.get("reasoning_options", [])}
    return [control for control in CONTROLS if control in found]


def item_of(slug, name, offer, rates, taken, parameters, note=None):
    limit = offer["limit"]
    item = {
        "model": slug,
        "name": offer["name"],
        "item": name,
        "context": int(limit.get("context") or 0),
        "output": min(int(limit.get("output") or 0), int(limit.get("context") or limit.get("output") or 0)),
        "created": seconds(offer["release_date"]) if offer.get("release_date") else 0,
        "in": modalities(offer["modalities"]["input"], INPUTS),
        "out": [word for word in ("text", "image", "audio") if word in offer["modalities"]["output"]],
        "parameters": parameters,
        "rates": written(rates),
    }
    if steered := controls(offer):
        item["reasoning"] = steered
    if taken:
        item["from"] = LITELLM
    if note:
        item["note"] = note
    return item


def written(rates):
    """[[meter, tier, band, USD per million as text], …] in the order of the meters."""
    order = sorted(rates.items(), key=lambda pair: (ORDER.index(pair[0][0]), *pair[0][1:]))
    return [[meter, tier, band, text_of(amount)] for (meter, tier, band), amount in order]


def ends(entry):
    return entry is not None and str(entry.get("deprecation_date") or "9") <= BUILT


def note_of(provider, name, entry):
    if (provider, name) in NOTES:
        return NOTES[provider, name]
    return "off-peak hours are cheaper at the provider; this is the price of the others" if entry and "off_peak_pricing" in entry else None


def from_models_dev(provider, sources):
    key = PROVIDERS[provider][0]
    offers = sources[MODELS_DEV]["providers"][key]["models"]
    genai = genai_index(sources, provider)
    listed = {model["id"]: model["supported_parameters"] for model in sources[OPENROUTER_LIST]["data"]}
    bases = Counter(offer.get("base_model") for offer in offers.values())
    for name, offer in sorted(offers.items()):
        third = sources[LITELLM].get(PROVIDERS[provider][2] + name)
        if not is_chat(offer, name):
            continue
        if (provider, name) in LEFT_OUT:
            say(provider, name, f"left out: {LEFT_OUT[provider, name]}")
            continue
        if ends(third):
            say(provider, name, f"left out: ends on {third['deprecation_date']}")
            continue
        if offer.get("status") == "deprecated" or genai.get(name.lower(), {}).get("deprecated"):
            continue
        if provider == "nvidia" and not offer.get("tool_call"):
            # The collection lists every kind of model of this host; those that call tools are chat models.
            continue
        if provider == "anthropic":
            if third is None:
                say(provider, name, f"left out: {LITELLM}, packed later, does not have it any more")
                continue
            offer = anthropic(offer, third)
        if provider == "openai":
            endpoints = (third or {}).get("supported_endpoints", ["/v1/chat/completions"])
            if third is None or third.get("mode") != "chat" or "/v1/chat/completions" not in endpoints:
                say(provider, name, "left out: no chat completions endpoint")
                continue
        try:
            rates = rates_of_models_dev(offer.get("cost") or {})
        except Unpriceable as cause:
            say(provider, name, f"left out: {cause}")
            continue
        if INPUT not in rates or OUTPUT not in rates:
            say(provider, name, "left out: no price")
            continue
        rates, taken, confirmed = settle(provider, name, cleaned(provider, name, rates), genai.get(name.lower()), third)
        rates.update(request_fee(provider, third))
        if provider == "anthropic":
            rates = with_fast(with_hour(rates), third) | search_fee(third)
        if provider == "perplexity" and ("request", "", 0) not in rates:
            say(provider, name, "left out: its fee per request is not known")
            continue
        if name.endswith("-latest") and not confirmed:
            say(provider, name, "left out: a moving alias whose price no second collection confirms")
            continue
        base = offer.get("base_model")
        slug = slug_of(provider, name, base if bases[base] == 1 else None)
        yield item_of(slug, name, offer, cleaned(provider, name, rates), taken, parameters_of(provider, offer, slug, listed), note_of(provider, name, third))
    yield from from_litellm(provider, sources, offers, listed)


def from_litellm(provider, sources, offers, listed):
    """Chat models that were published after the base was read. Only entries that name the provider's own page."""
    if provider not in AUTHORS_OWN:
        return
    prefix, known = PROVIDERS[provider][2], {name.lower() for name in offers}
    for key, entry in sorted(sources[LITELLM].items()):
        name = key.removeprefix(prefix)
        chat = entry.get("mode") == "chat" and "/v1/chat/completions" in entry.get("supported_endpoints", ["/v1/chat/completions"])
        own = entry.get("litellm_provider") == prefix.rstrip("/") if prefix else entry.get("litellm_provider") == provider
        if not key.startswith(prefix) or not own or not chat or "source" not in entry or name.lower() in known or ends(entry):
            continue
        if any(by != PROVIDERS[provider][3] and name.removeprefix("zai-").startswith(family) for family, by in FAMILIES.items()):
            # The host serves a model of another author under a name of its own; which one it is cannot be told from the name alone.
            continue
        if "/" in name or ":" in name or NOT_CHAT.search(name) or NOT_ADDED.search(name):
            continue
        if not (entry.get("supports_function_calling") and entry.get("max_input_tokens")):
            continue
        rates = cleaned(provider, name, rates_of_litellm(entry))
        if INPUT not in rates or OUTPUT not in rates:
            continue
        bands = {key[2] for key in rates if key[1] == ""}
        tiers = {key[1] for key in rates if key[1]}
        kept = {tier for tier in tiers if whole(rates, tier, bands)} | {""}
        rates = {key: amount for key, amount in rates.items() if key[1] in kept}
        pinned = offers.get(re.sub(r"-\d{4}-\d{2}-\d{2}$", "", name))
        # This collection gives the most input; where the window holds the output besides, it is the sum.
        window = int(entry["max_input_tokens"]) + (int(entry.get("max_output_tokens") or 0) if provider == "openai" else 0)
        offer = pinned or {
            "limit": {"context": window, "output": entry.get("max_output_tokens")},
            "modalities": {
                "input": ["text"]
                + ["image"] * bool(entry.get("supports_vision"))
                + ["pdf"] * bool(entry.get("supports_pdf_input"))
                + ["audio"] * bool(entry.get("supports_audio_input")),
                "output": ["text"],
            },
            "tool_call": True,
            "structured_output": entry.get("supports_response_schema", False),
            "reasoning": entry.get("supports_reasoning", False),
            "temperature": not entry.get("supports_reasoning", False),
        }
        offer = {**offer, "name": name}
        if provider == "anthropic":
            offer = anthropic(offer, entry)
            rates = with_fast(with_hour(rates), entry) | search_fee(entry)
        slug = slug_of(provider, name, None)
        say(provider, name, f"added from {LITELLM}")
        yield item_of(slug, name, offer, cleaned(provider, name, rates), True, parameters_of(provider, offer, slug, listed), note_of(provider, name, entry))


def from_openrouter(provider, sources):
    genai = genai_index(sources, provider)
    offers = sources[MODELS_DEV]["providers"]["openrouter"]["models"]
    listed = {model["id"]: model["supported_parameters"] for model in sources[OPENROUTER_LIST]["data"]}
    for model in sorted(sources[OPENROUTER_LIST]["data"], key=lambda model: model["id"]):
        name, shape = model["id"], model["architecture"]
        if name.startswith("~") or model.get("expiration_date") or "text" not in shape["output_modalities"] or NOT_CHAT.search(name):
            continue
        if "image" in shape["output_modalities"] or "audio" in shape["output_modalities"]:
            say(provider, name, "left out: the list has no price for its image or audio output")
            continue
        if Decimal(model["pricing"]["prompt"]) < 0:
            continue
        try:
            rates = with_input(rates_of_openrouter(model["pricing"]))
        except Unpriceable as cause:
            say(provider, name, f"left out: {cause}")
            continue
        rates, taken = newer(provider, name, cleaned(provider, name, rates), offers.get(name))
        rates = with_bands(provider, name, rates, offers.get(name), genai.get(name.lower()), sources)
        top = model["top_provider"]
        offer = {
            "name": model["name"],
            "limit": {"context": top.get("context_length") or model["context_length"], "output": top.get("max_completion_tokens")},
            "modalities": {"input": shape["input_modalities"], "output": shape["output_modalities"]},
            "reasoning_options": offers.get(name, {}).get("reasoning_options", []),
        }
        item = item_of(name, name, offer, cleaned(provider, name, rates), None, sorted(set(model["supported_parameters"]) & PARAMETERS))
        item["created"] = int(model["created"])
        if taken:
            item["from"] = MODELS_DEV
        yield item
    for name, offer in sorted(offers.items()):
        if name in listed or name.startswith(("~", "openrouter/")) or not is_chat(offer, name) or offer.get("status") == "deprecated":
            continue
        try:
            rates = with_input(rates_of_models_dev(offer.get("cost") or {}))
        except Unpriceable as cause:
            say(provider, name, f"left out: {cause}")
            continue
        if INPUT not in rates or OUTPUT not in rates:
            say(provider, name, "left out: no price")
            continue
        rates = {key: amount for key, amount in rates.items() if not key[2]}
        rates = with_bands(provider, name, cleaned(provider, name, rates), offer, genai.get(name.lower()), sources)
        say(provider, name, f"added from {MODELS_DEV}")
        item = item_of(name, name, offer, rates, None, parameters_of(provider, offer, name, listed))
        item["from"] = MODELS_DEV
        yield item


def from_genai_routers(provider, sources):
    """Hugging Face's router asks one of many hosts; only a name with the host behind a colon has one price."""
    known = {name.lower(): offer for name, offer in sources[MODELS_DEV]["providers"]["huggingface"]["models"].items()}
    for key, entries in sorted(sources[GENAI].items()):
        if not key.startswith("huggingface_"):
            continue
        host = key.removeprefix("huggingface_")
        for entry in sorted(entries, key=lambda entry: entry["id"]):
            rates = rates_of_genai(entry["prices"])
            name = f"{entry['id']}:{host}"
            if INPUT not in rates or OUTPUT not in rates or NOT_CHAT.search(name.lower()):
                say(provider, name, "left out: no price, or no chat model")
                continue
            offer = known.get(entry["id"].lower(), {})
            shape = {
                "name": f"{entry.get('name') or entry['id'].split('/')[-1]}",
                "limit": {"context": entry.get("context_window") or 0},
                "release_date": offer.get("release_date"),
                "modalities": offer.get("modalities", {"input": ["text"], "output": ["text"]}),
                "reasoning_options": offer.get("reasoning_options", []),
            }
            slug = slug_of(provider, entry["id"], offer.get("base_model"))
            yield item_of(slug, name, shape, cleaned(provider, name, rates), False, [])


def check_unique(provider, items):
    names = Counter(item["item"] for item in items)
    slugs = Counter(item["model"] for item in items if provider != "huggingface")
    twice = [name for name, count in (names + slugs).items() if names[name] > 1 or slugs[name] > 1]
    if twice:
        raise ValueError(f"{provider}: twice: {twice}")


def source_of(provider, sources):
    own = sources[MODELS_DEV]["source"]
    first = {
        "openrouter": f"OpenRouter's list of models in {own['repo']} {own['commit'][:12]} (MIT), whose newest entry is of 2026-05-12",
        "huggingface": "pydantic/genai-prices 47df840a5ab1 (MIT), 2026-08-21",
    }.get(provider, f"{own['repo']} {own['commit'][:12]} (MIT), {own['date']}")
    day = {"openrouter": "2026-05-12", "huggingface": "2026-08-21"}.get(provider, own["date"])
    return first, day


def write(folder, provider, items, sources):
    items = sorted(items, key=lambda item: item["item"])
    check_unique(provider, items)
    source, day = source_of(provider, sources)
    taken = sum(1 for item in items if item.get("from") == LITELLM)
    newer_prices = sum(1 for item in items if item.get("from") == MODELS_DEV)
    if newer_prices:
        own = sources[MODELS_DEV]["source"]
        source += f"; prices of {newer_prices} items from {own['repo']} {own['commit'][:12]} (MIT), {own['date']}, where it is newer"
    if taken:
        source += f"; prices of {taken} items from BerriAI/litellm 1.106.2 (MIT), 2026-10-21, where it is newer"
    if provider == "anthropic":
        source += "; limits, searches and reasoning controls of BerriAI/litellm 1.106.2 (MIT), 2026-10-21"
    if provider == "perplexity":
        source += "; fees per request of BerriAI/litellm 1.106.2 (MIT)"
    path = os.path.join(folder, f"{provider}.json")
    with open(path, "w", encoding="utf-8") as handle:
        head = {"provider": provider, "source": source, "as_of": day}
        handle.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "items": [\n')
        handle.write(",\n".join(json.dumps(item, ensure_ascii=False, separators=(",", ":")) for item in items))
        handle.write("\n]}\n")
    print(f"{provider}: {len(items)} items, {os.path.getsize(path)} bytes, {taken + newer_prices} with newer prices")


def report_shared(all_items):
    """Slugs that several providers serve with context windows that no one model has."""
    by_slug = {}
    for provider, items in all_items.items():
        for item in items:
            by_slug.setdefault(item["model"], []).append((provider, item))
    for slug, offers in sorted(by_slug.items()):
        windows = [item["context"] for _, item in offers if item["context"]]
        if windows and max(windows) > 4 * min(windows):
            print("look:", slug, [(provider, item["name"], item["context"]) for provider, item in offers])


def main():
    folder = sys.argv[1]
    sources = {
        MODELS_DEV: load(folder, "models-dev.json"),
        GENAI: {entry["id"]: entry["models"] for entry in load(folder, "genai-prices.json")},
        OPENROUTER_LIST: load(folder, "openrouter-models-2026-05.json"),
        LITELLM: load(folder, "litellm-prices.json"),
    }
    out = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data")
    readers = {"openrouter": from_openrouter, "huggingface": from_genai_routers}
    all_items = {provider: list(readers.get(provider, from_models_dev)(provider, sources)) for provider in PROVIDERS}
    for provider, items in all_items.items():
        write(out, provider, items, sources)
    print("\n".join(said))
    report_shared(all_items)


if __name__ == "__main__":
    main()
