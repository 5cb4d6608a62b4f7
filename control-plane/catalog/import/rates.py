"""Rates: what each collection says of a price, and which of them is taken.

Rates are {(meter, tier, band): USD per million units}, in decimals.
"""
import re
from decimal import ROUND_HALF_EVEN, Decimal

from names import AUTHORS_OWN, GENAI, LITELLM, MODELS_DEV, PROVIDERS

METERS = {
    "input": "input",
    "output": "output",
    "cache_read": "cache_read",
    "cache_write": "cache_write_5m",
    "reasoning": "reasoning",
    "input_audio": "audio_input",
    "output_audio": "audio_output",
    # Spellings that the collection itself calls typing errors.
    "cache_input": "cache_read",
    "cached_input": "cache_read",
    "cached_write": "cache_write_5m",
}
GENAI_METERS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write_5m",
    "input_audio_mtok": "audio_input",
    "output_audio_mtok": "audio_output",
}
OPENROUTER_METERS = {
    "prompt": "input",
    "completion": "output",
    "input_cache_read": "cache_read",
    "input_cache_write": "cache_write_5m",
    "internal_reasoning": "reasoning",
    "audio": "audio_input",
    "image": "image_input",
}
ORDER = ["input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning", "audio_input", "audio_output", "image_input", "request", "search"]
MILLION = Decimal(1_000_000)
FINEST = Decimal(1).scaleb(-12)
ROUNDING = Decimal("0.005")
INPUT, OUTPUT = ("input", "", 0), ("output", "", 0)

said = []


def say(provider, item, text):
    said.append(f"{provider}: {item}: {text}")


class Unpriceable(Exception):
    """The offer has a price that no meter can hold."""


def price(value):
    """USD per million as a decimal of at most 12 places."""
    return Decimal(str(value)).quantize(FINEST, rounding=ROUND_HALF_EVEN)


def text_of(value):
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def rates_of_models_dev(cost):
    rates = {}
    for key, value in cost.items():
        if key == "tiers":
            for tier in value:
                band = tier["tier"]
                if band.get("type", "context") != "context":
                    raise Unpriceable(f"a tier by {band['type']}")
                for meter, amount in tier.items():
                    if meter != "tier":
                        rates[METERS[meter], "", int(band["size"])] = price(amount)
        elif key == "context_over_200k":
            for meter, amount in value.items():
                rates[METERS[meter], "", 200_000] = price(amount)
        elif key in METERS:
            rates[METERS[key], "", 0] = price(value)
        else:
            raise Unpriceable(f"a price for `{key}`")
    return rates


def rates_of_genai(prices):
    if isinstance(prices, list):
        plain = [row["prices"] for row in prices if set(row.get("constraint", {})) <= {"start_date"}]
        prices = plain[-1] if plain else {}
    rates = {}
    for key, value in prices.items():
        meter = GENAI_METERS.get(key)
        if key == "requests_kcount":
            rates["request", "", 0] = price(Decimal(str(value)) * 1000)
        elif meter is None:
            continue
        elif isinstance(value, dict):
            rates[meter, "", 0] = price(value["base"])
            for tier in value["tiers"]:
                rates[meter, "", int(tier["start"])] = price(tier["price"])
        else:
            rates[meter, "", 0] = price(value)
    return rates


def rates_of_openrouter(pricing):
    rates = {}
    for key, value in pricing.items():
        amount = price(Decimal(value) * MILLION)
        if key in OPENROUTER_METERS:
            rates[OPENROUTER_METERS[key], "", 0] = amount
        elif key == "web_search":
            rates["search", "", 0] = amount
        elif key == "request":
            rates["request", "", 0] = amount
        elif amount != 0:
            raise Unpriceable(f"a price for `{key}`")
    return rates


LITELLM_KEY = re.compile(
    r"(?P<meter>input_cost_per_token|output_cost_per_token|cache_read_input_token_cost|cache_creation_input_token_cost|input_cost_per_audio_token"
    r"|output_cost_per_audio_token|output_cost_per_reasoning_token)(?P<hour>_above_1hr)?(_above_(?P<band>\d+)k_tokens)?(_(?P<tier>flex|priority))?"
)
LITELLM_METERS = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write_5m",
    "input_cost_per_audio_token": "audio_input",
    "output_cost_per_audio_token": "audio_output",
    "output_cost_per_reasoning_token": "reasoning",
}


def rates_of_litellm(entry):
    rates = {}
    for name, value in entry.items():
        found = LITELLM_KEY.fullmatch(name)
        if found and value is not None:
            meter = LITELLM_METERS[found["meter"]]
            meter = "cache_write_1h" if found["hour"] and meter == "cache_write_5m" else meter
            key = meter, found["tier"] or "", int(found["band"] or 0) * 1000
            rates[key] = price(Decimal(str(value)) * MILLION)
    return rates


# The meter whose price holds where one has none, as the product has it.
FALLBACKS = {
    "cache_read": "input",
    "cache_write_5m": "input",
    "cache_write_1h": "cache_write_5m",
    "audio_input": "input",
    "image_input": "input",
    "reasoning": "output",
    "audio_output": "output",
}


def cleaned(provider, item, rates):
    """Leaves out what says nothing: cached input for 0, and what equals the meter it falls back to."""
    found = dict(rates)
    for (meter, tier, band), amount in rates.items():
        fallback = rates.get((FALLBACKS.get(meter), tier, band))
        alone = not any(other == meter and (by, at) != (tier, band) for other, by, at in rates)
        if meter.startswith("cache_") and amount == 0 and fallback:
            say(provider, item, f"{meter} of 0 taken as not listed")
            del found[meter, tier, band]
        elif meter == "cache_read" and fallback is not None and amount > fallback:
            say(provider, item, f"cache_read of {text_of(amount)} above input of {text_of(fallback)} left out")
            del found[meter, tier, band]
        elif (fallback is not None and amount == fallback and alone) or (meter in ("request", "search") and amount == 0):
            del found[meter, tier, band]
    return found


def differs(one, other):
    return abs(one - other) > ROUNDING * max(abs(one), abs(other))


def settle(provider, item, rates, second, third):
    """The rates after a look at the newer collection, whether prices of it were taken, and whether another one agrees with the base."""
    confirmed, taken = False, False
    if second is not None:
        other = rates_of_genai(second["prices"])
        confirmed = agreement(rates, other)
        for key in sorted(key for key in rates if key in other and differs(rates[key], other[key])):
            say(provider, item, f"{where(key)}: {text_of(rates[key])} stands, {GENAI} (entries undated) has {text_of(other[key])}")
    if third is not None:
        other = cleaned(provider, item, rates_of_litellm(third))
        confirmed = confirmed or agreement(rates, other) or "source" in third
        for key in sorted(other):
            if key in rates and not differs(rates[key], other[key]):
                continue
            if key[1] and (key[0], "", key[2]) not in rates and (key[0], "", key[2]) not in other:
                continue
            if "source" not in third:
                say(provider, item, f"{where(key)}: {LITELLM} (without a source) has {text_of(other[key])}, not taken")
                continue
            if key in rates:
                say(provider, item, f"{where(key)}: {text_of(rates[key])} -> {text_of(other[key])} ({LITELLM} is newer)")
            rates[key] = other[key]
            taken = True
        bands = {key[2] for key in rates if key[1] == ""}
        for tier in {key[1] for key in rates} - {""}:
            if not whole(rates, tier, bands):
                say(provider, item, f"tier {tier} left out: it is cheaper, and its bands are not the standard ones")
                rates = {key: amount for key, amount in rates.items() if key[1] != tier}
    return rates, taken, confirmed


def whole(rates, tier, bands):
    """A tier that lacks a band is kept only if it is dearer than the standard: then what it lacks is not billed too low."""
    own = {key[2] for key in rates if key[1] == tier}
    return own == bands or (("input", tier, 0) in rates and rates["input", tier, 0] > rates[INPUT])


def with_input(rates):
    """Prices of cache writes that are given as storage alone, with the input that is charged besides."""
    found = dict(rates)
    for (meter, tier, band), amount in rates.items():
        base = rates.get(("input", tier, band), rates.get(INPUT))
        if meter == "cache_write_5m" and base is not None and 0 < amount < base:
            found[meter, tier, band] = amount + base
    return found


def where(key):
    return f"{key[0]}{' ' + key[1] if key[1] else ''}{f' above {key[2]}' if key[2] else ''}"


def agreement(rates, other):
    shared = [key for key in rates if key in other]
    return INPUT in shared and OUTPUT in shared and not any(differs(rates[key], other[key]) for key in shared)


def with_hour(rates):
    """Anthropic's published rule, where no entry says otherwise: a cache that lives an hour is written at twice the price of input."""
    found = dict(rates)
    for (meter, tier, band), amount in rates.items():
        if meter == "input":
            found.setdefault(("cache_write_1h", tier, band), 2 * amount)
    return found


def with_fast(rates, third):
    """The tier of Anthropic's fast mode: every token at a multiple of its standard price."""
    factor = ((third or {}).get("provider_specific_entry") or {}).get("fast")
    if not factor:
        return rates
    return rates | {(meter, "fast", band): amount * factor for (meter, tier, band), amount in rates.items() if not tier and meter != "search"}


def search_fee(third):
    """The price of one search that Anthropic makes: the same for every size of context, and its published one where there is no entry."""
    fees = set(((third or {}).get("search_context_cost_per_query") or {}).values()) or {Decimal("0.01")}
    if len(fees) > 1:
        raise Unpriceable(f"searches at {sorted(fees)}")
    return {("search", "", 0): price(fee * MILLION) for fee in fees}


def request_fee(provider, third):
    """Perplexity takes a fee per request by the size of the search context; `low` is what a request that says nothing gets."""
    fees = (third or {}).get("search_context_cost_per_query", {})
    if provider != "perplexity" or "search_context_size_low" not in fees:
        return {}
    return {("request", "", 0): price(fees["search_context_size_low"] * MILLION)}


def newer(provider, name, rates, offer):
    """The rates of the list with the later ones of models.dev in the place of those that differ."""
    taken = False
    for key, amount in sorted(with_input(rates_of_models_dev((offer or {}).get("cost") or {})).items()):
        if not key[2] and key in rates and differs(rates[key], amount):
            say(provider, name, f"{where(key)}: {text_of(rates[key])} -> {text_of(amount)} ({MODELS_DEV} is newer)")
            rates[key], taken = amount, True
    return rates, taken


def with_bands(provider, name, rates, offer, second, sources):
    author = name.split("/")[0]
    host = next((PROVIDERS[own] for own in AUTHORS_OWN if PROVIDERS[own][3] == author), None)
    own = sources[MODELS_DEV]["providers"][host[0]]["models"].get(name.split("/", 1)[1], {}) if host else {}
    own_rates = with_input(rates_of_models_dev(own.get("cost") or {}))
    here = with_input(rates_of_models_dev((offer or {}).get("cost") or {}))
    there = rates_of_genai(second["prices"]) if second else {}
    same = all(key in own_rates and not differs(own_rates[key], rates[key]) for key in (INPUT, OUTPUT))
    found = dict(rates)
    for key in sorted(set(here) | set(own_rates)):
        if not key[2] or (key[0], "", 0) not in rates:
            continue
        if key in here and key in there and not differs(here[key], there[key]):
            found[key] = here[key]
        elif same and key in own_rates:
            found[key] = own_rates[key]
        else:
            say(provider, name, f"{where(key)} not taken: no second collection has it")
    # Storage does not grow with the context, input does.
    for meter, tier, band in list(found):
        write = found.get(("cache_write_5m", "", 0))
        if meter == "input" and band and write is not None and ("cache_write_5m", tier, band) not in found:
            found["cache_write_5m", tier, band] = write + found["input", tier, band] - found[INPUT]
    return found
