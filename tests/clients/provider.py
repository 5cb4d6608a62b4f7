"""The provider behind the gateway, in either dialect, and the documents that tell the gateway of it."""

import json
import subprocess
import time
import urllib.request

DIALECTS = ("openai", "anthropic")
# Models beside those of the sandbox's list: what they are called here, what at the sandbox, and what they take.
MORE_MODELS = (
    ("sandbox/usage-1200-30-200-0", "sandbox/usage-1200-30-200-0", ["text"]),
    ("sandbox/seeing", "sandbox/echo", ["text", "image", "file"]),
    ("sandbox/thoughtful-errand", "sandbox/errand", ["text", "image"]),
    ("sandbox/flaky-1", "sandbox/flaky-1", ["text"]),
)
WINDOW = 131_072
# The variable that holds the secret of the account at a provider that wants one.
SECRET_VARIABLE, SECRET = "CLIENTS_ACCOUNT_SECRET", "secret-of-the-account"
# USD per million tokens; the same that the gateway invents for its own sandbox, and Anthropic's words for what is written to a cache.
RATES = {"input": "0.10", "cache_read": "0.01", "cache_write_5m": "0.125", "cache_write_1h": "0.20", "output": "0.40", "reasoning": "0.40"}
START_LIMIT_S = 30
LOOK_S = 0.01


class Sandbox:
    """A sandbox as a process of its own; leaving the context ends it."""

    def __init__(self, program, folder, environment):
        self.program, self.folder, self.environment = program, folder, environment
        self.process = None

    def __enter__(self):
        ready = self.folder / "sandbox.json"
        with open(self.folder / "sandbox.log", "w") as log:
            self.process = subprocess.Popen(
                # Its bytes come cut anywhere, as those of a real network do.
                [str(self.program), "--ready-file", str(ready), "--token", SECRET, "--seed", "7"],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )
        try:
            end = time.monotonic() + START_LIMIT_S
            # The file appears whole or not at all.
            while not ready.exists():
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"the sandbox is not ready:\n{(self.folder / 'sandbox.log').read_text(errors='replace')}")
                time.sleep(LOOK_S)
            self.base_url = json.loads(ready.read_text())["base_url"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.kill()
            self.process.wait()

    def models(self):
        """What its list says of its models."""
        # Without the proxies of the environment.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(f"{self.base_url}/models", headers={"authorization": f"Bearer {SECRET}"})
        with opener.open(request, timeout=START_LIMIT_S) as answer:
            return {model["id"]: model["context_length"] for model in json.load(answer)["data"]}


def document(kind, name, **spec):
    return {"apiVersion": "waybill/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def offer(model, own_name, takes, window, **endpoint):
    """A model and the one endpoint that has it, at the price of every other."""
    return [
        document("Model", model, displayName=model, contextWindow=window, inputModalities=takes, outputModalities=["text"]),
        at("sandbox", model, own_name, **endpoint),
    ]


def at(provider, model, own_name, **endpoint):
    """A model's endpoint at a provider."""
    own = {"model": model, "provider": provider, "account": provider, "providerModel": own_name, "priceBook": "sandbox"}
    return document("Endpoint", f"{model}@{provider}", **own, **endpoint)


def second_provider(sandbox, clients, endpoint):
    """It speaks OpenAI's dialect, and for each client it has a model that fails at the first one."""
    models = [f"sandbox/failing-over-{client}" for client in clients]
    return [
        document("Provider", "chat", displayName="Chat", dialect="openai", baseUrl=sandbox.base_url, asksUsage="ASKS_USAGE_STREAM_OPTIONS", hangUp="HANG_UP_DRAIN"),
        document("ProviderAccount", "chat", provider="chat", secret={"env": SECRET_VARIABLE}),
        *(made for model in models for made in offer(model, "sandbox/error-503", ["text"], WINDOW, **endpoint)),
        *(at("chat", model, "sandbox/echo", **endpoint) for model in models),
    ]


def more_models(clients):
    """What each client has a failing model of its own for: the gateway avoids an endpoint that failed several times, whoever asked."""
    return [*MORE_MODELS, *((f"sandbox/failing-{client}", "sandbox/error-503", ["text"]) for client in clients)]


def own_sandbox(clients):
    """What is to be known of the gateway's own sandbox beside what it tells itself."""
    models = more_models(clients)
    return [made for model in models for made in offer(*model, WINDOW, priceItem="sandbox/chat", reasoningControls=["effort"])]


def anthropic_sandbox(sandbox, clients):
    """The same models under the same names, by a provider that speaks Anthropic's dialect."""
    rates = [{"meter": meter, "usdPerMillion": price} for meter, price in RATES.items()]
    models = [(model, model, ["text"], window) for model, window in sandbox.models().items()] + [(*model, WINDOW) for model in more_models(clients)]
    endpoint = {"priceItem": "any", "maxOutput": WINDOW, "reasoningControls": ["budget_tokens", "effort", "adaptive"]}
    return [
        document("Provider", "sandbox", displayName="Sandbox", dialect="anthropic", baseUrl=sandbox.base_url, asksUsage="ASKS_USAGE_ALWAYS", hangUp="HANG_UP_DRAIN"),
        document("ProviderAccount", "sandbox", provider="sandbox", secret={"env": SECRET_VARIABLE}, secretHeader="SECRET_HEADER_X_API_KEY"),
        document("PriceBook", "sandbox", currency="USD", source="the tests", asOf="2026-01-01", entries=[{"item": "any", "rates": rates}]),
        *(made for model in models for made in offer(*model, **endpoint)),
        *second_provider(sandbox, clients, endpoint),
    ]


def write(documents, path):
    path.write_text("---\n".join(json.dumps(document) + "\n" for document in documents))
