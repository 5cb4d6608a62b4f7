"""Names: providers, authors, slugs, and what is a chat model."""
import re

MODELS_DEV = "models.dev"
GENAI = "genai-prices"
OPENROUTER_LIST = "openrouter-models"
LITELLM = "litellm"

# name here -> (id in models.dev, id in genai-prices, prefix in litellm, author of models without one)
PROVIDERS = {
    "openai": ("openai", "openai", "", "openai"),
    "anthropic": ("anthropic", "anthropic", "", "anthropic"),
    "openrouter": ("openrouter", "openrouter", "openrouter/", None),
    "groq": ("groq", "groq", "groq/", None),
    "mistral": ("mistral", "mistral", "mistral/", "mistralai"),
    "deepseek": ("deepseek", "deepseek", "deepseek/", "deepseek"),
    "xai": ("xai", "x-ai", "xai/", "x-ai"),
    "together": ("togetherai", "together", "together_ai/", None),
    "fireworks": ("fireworks-ai", "fireworks", "fireworks_ai/", None),
    "cerebras": ("cerebras", "cerebras", "cerebras/", None),
    "perplexity": ("perplexity", "perplexity", "perplexity/", "perplexity"),
    "gemini": ("google", "google", "gemini/", "google"),
    "nvidia": ("nvidia", None, "nvidia_nim/", None),
    "huggingface": ("huggingface", None, "huggingface/", None),
    "zai": ("zai", None, "zai/", "z-ai"),
    "moonshot": ("moonshotai", "moonshotai", "moonshot/", "moonshotai"),
    "deepinfra": ("deepinfra", None, "deepinfra/", None),
    "novita": ("novita-ai", "novita", "novita/", None),
}

# Providers that serve their own models, so that a model new at them needs no other name.
AUTHORS_OWN = {"openai", "anthropic", "mistral", "deepseek", "xai", "gemini", "zai", "moonshot"}

# Authors under the names that callers know.
AUTHORS = {
    "alibaba": "qwen",
    "deepseek-ai": "deepseek",
    "liquidai": "liquid",
    "meta": "meta-llama",
    "minimaxai": "minimax",
    "mistral": "mistralai",
    "stepfun-ai": "stepfun",
    "xai": "x-ai",
    "xiaomimimo": "xiaomi",
    "zai-org": "z-ai",
    "zai": "z-ai",
    "zhipuai": "z-ai",
}

# Authors by the beginning of a model's own name, for hosts that leave the author out.
FAMILIES = {
    "deepseek": "deepseek",
    "gemma": "google",
    "glm": "z-ai",
    "gpt-oss": "openai",
    "kimi": "moonshotai",
    "llama": "meta-llama",
    "minimax": "minimax",
    "mistral": "mistralai",
    "mixtral": "mistralai",
    "qwen": "qwen",
}

# (provider, its name of the model) -> slug, where the host's name is its own.
SLUGS = {
    ("groq", "llama-3.1-8b-instant"): "meta-llama/llama-3.1-8b-instruct",
    ("groq", "llama-3.3-70b-versatile"): "meta-llama/llama-3.3-70b-instruct",
    ("cerebras", "zai-glm-4.7"): "z-ai/glm-4.7",
}

# (provider, its name of the model) -> why it is left out.
LEFT_OUT = {
    ("deepseek", "deepseek-chat"): "another name of deepseek-v4-flash; elsewhere the slug means DeepSeek V3",
    ("deepseek", "deepseek-reasoner"): "another name of deepseek-v4-flash; elsewhere the slug means DeepSeek R1",
}

# (provider, its name of the model) -> what a reader should know about its prices.
NOTES = {
    ("anthropic", "claude-sonnet-5"): "genai-prices announced 3 for input and 15 for output from 2026-09-01; litellm, packed later, still has these",
}

# What no chat model has in its name.
NOT_CHAT = re.compile(
    r"embed|rerank|guard|safety|whisper|tts|transcri|moderation|gliner|nemoretriever|esm|paligemma|bevformer|riva|ocr|-image|flux"
)


def slug_of(provider, name, base):
    if (provider, name) in SLUGS:
        return SLUGS[provider, name]
    raw = (base or name).lower()
    if provider == "anthropic":
        # Versions have a dash at the author (claude-sonnet-4-5-20250929, claude-opus-4-0) and a dot in the names that callers know.
        raw = re.sub(r"^(claude-[a-z]+-\d+)-0$", r"\1", raw)
        raw = re.sub(r"^(claude-[a-z]+-\d+)-(\d{1,2})(?=-|$)", r"\1.\2", raw)
    if provider == "fireworks" and not base:
        raw = re.sub(r"(?<=\d)p(?=\d)", ".", raw.rsplit("/", 1)[-1])
    author, _, own = raw.rpartition("/")
    if not author:
        family = [by for beginning, by in FAMILIES.items() if own.startswith(beginning)]
        author = PROVIDERS[provider][3] or (family[0] if family else provider)
    author = AUTHORS.get(author, author)
    slug = f"{author}/{own}"
    if not re.fullmatch(r"[a-z0-9._\-:/@~]{1,100}", slug):
        raise ValueError(f"{provider}: {name}: no slug: {slug}")
    return slug


def is_chat(offer, name):
    modes = offer.get("modalities", {})
    return "text" in modes.get("input", []) and modes.get("output") == ["text"] and not NOT_CHAT.search(name.lower())
