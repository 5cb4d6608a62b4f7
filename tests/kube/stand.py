"""What a cluster of containers stands on: real etcd, Kafka and PostgreSQL, a provider that answers, and an operator with the command line."""

import base64
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import tools

# The servers start in 5 to 15 s, on a busy machine.
READY_S = 120
COMMAND_S = 60
PATIENCE_S = 60

PROVIDER_KEY = "the provider's key of the test"
MODEL = "sandbox/chat"

DOCUMENTS = """
{apiVersion: waybill/v1, kind: Org, metadata: {name: default}, spec: {displayName: Default}}
---
{apiVersion: waybill/v1, kind: Workspace, metadata: {name: default}, spec: {org: default, displayName: Default}}
---
{apiVersion: waybill/v1, kind: Provider, metadata: {name: sandbox}, spec: {displayName: Sandbox, dialect: openai, baseUrl: "BASE"}}
---
{apiVersion: waybill/v1, kind: ProviderAccount, metadata: {name: sandbox}, spec: {provider: sandbox, secret: {env: PROVIDER_KEY}}}
---
apiVersion: waybill/v1
kind: Model
metadata: {name: sandbox/chat}
spec: {displayName: Chat, contextWindow: 131072, maxOutput: 8192, inputModalities: [text], outputModalities: [text]}
---
apiVersion: waybill/v1
kind: PriceBook
metadata: {name: sandbox}
spec:
  currency: USD
  asOf: 2026-08-21
  entries: [{item: chat, rates: [{meter: input, usdPerMillion: "0.50"}, {meter: output, usdPerMillion: "1.50"}]}]
---
apiVersion: waybill/v1
kind: Endpoint
metadata: {name: chat@sandbox}
spec: {model: sandbox/chat, provider: sandbox, account: sandbox, providerModel: sandbox/chat, priceBook: sandbox, priceItem: chat}
---
apiVersion: waybill/v1
kind: Model
metadata: {name: sandbox/slow}
spec: {displayName: Slow, contextWindow: 131072, maxOutput: 8192, inputModalities: [text], outputModalities: [text]}
---
apiVersion: waybill/v1
kind: Endpoint
metadata: {name: slow@sandbox}
spec: {model: sandbox/slow, provider: sandbox, account: sandbox, providerModel: sandbox/stream-200x50ms, priceBook: sandbox, priceItem: chat}
"""


def environment(**more):
    """Nothing of the caller's that could reach a provider or change what the product does."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "WAYBILL_TESTS_CACHE", "XDG_CACHE_HOME") if name in os.environ}
    return kept | more


class Servers:
    """The real servers, as children; they end with it."""

    def __init__(self, programs, folder, *options):
        log = (Path(folder) / "servers.log").open("wb")
        command = [programs / "waybill-servers", Path(folder) / "servers", *options]
        self.process = subprocess.Popen(command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        line = self.process.stdout.readline()
        if not line:
            code, said = self.process.wait(), (Path(folder) / "servers.log").read_text()
            if "cannot be had" in said:
                raise tools.Missing(said.strip().splitlines()[0].removeprefix("Error: "))
            raise AssertionError(f"the servers ended with {code}: {said[-800:]}")
        self.told = json.loads(line)

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Provider:
    """A provider over real HTTP."""

    def __init__(self, programs, folder):
        ready = Path(folder) / "provider.json"
        command = [programs / "waybill-sandbox", "--ready-file", ready, "--token", PROVIDER_KEY, "--records", Path(folder) / "provider.jsonl"]
        self.process = subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        eventually("the provider", lambda: ready.exists(), READY_S)
        self.base_url = json.loads(ready.read_text())["base_url"]
        self.records = Path(folder) / "provider.jsonl"

    def was_asked(self, model):
        """Whether a request for this model of its own has come to it."""
        return self.records.exists() and model in self.records.read_text()

    def end(self):
        self.process.terminate()
        self.process.wait()


class Operator:
    """The command line, as an operator has it: an address and the file of a token."""

    def __init__(self, programs, folder, admin, token_file):
        self.program, self.folder, self.admin, self.token_file = programs / "waybill", Path(folder), admin, Path(token_file)

    def run(self, *words, check=True, more=None):
        words = [str(word) for word in words]
        told = environment(WAYBILL_ADMIN=self.admin, WAYBILL_TOKEN_FILE=str(self.token_file), **(more or {}))
        ended = subprocess.run([self.program, *words], cwd=self.folder, env=told, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=COMMAND_S)
        if check:
            assert ended.returncode == 0, f"`waybill {' '.join(words)}` ended with {ended.returncode}: {ended.stdout[-400:]}{ended.stderr[-600:]}"
        return ended

    def secret(self, kind, name):
        """Makes a secret; its text."""
        self.run("secrets", "new", kind, name)
        return (self.folder / name).read_text()

    def configure(self, base_url):
        """Applies a provider, a model and its price, and makes a key. Gives the key."""
        (self.folder / "documents.yaml").write_text(DOCUMENTS.replace("BASE", base_url))
        self.run("apply", "-f", "documents.yaml", "--wait")
        shown = self.run("keys", "create", "--name", "app", "--workspace", "default", "-o", "json").stdout
        return next(word for word in shown.replace('"', " ").split() if word.startswith("wb_"))

    def booked(self, generation):
        """The events of a request that are in the ledger."""
        events = [row["event"] for row in json.loads(self.run("ledger", "show", "-o", "json").stdout)]
        return [event for event in events if event.get("attempt", {}).get("generationId") == coded(generation)]


class Traffic:
    """A key, the requests that were made with it, and what must be booked of them."""

    def __init__(self, operator, provider):
        self.operator, self.provider = operator, provider
        self.key, self.answered = None, []

    def begin(self):
        self.key = self.operator.configure(self.provider.base_url)

    def ask(self, address):
        """The status of one request."""
        status, generation, answer = chat(address, self.key)
        if status == 200:
            self.answered.append((generation, answer["usage"]["cost"]))
        return status

    def served(self, address, name):
        """Asks until it is answered: a key that was just made takes a moment to arrive."""
        eventually(f"an answer of {name}", lambda: self.ask(address) == 200)

    def billed(self):
        """Each answer is in the ledger once, at the price that the caller was told."""
        for generation, cost in self.answered:
            (booked,) = eventually(f"the bill of {generation}", lambda: self.operator.booked(generation))
            assert booked["kind"] == "KIND_SETTLED", f"{generation} was booked as {booked['kind']}"
            assert int(booked["amountPicousd"]) == round(cost * 1e12), f"{generation} cost {cost} USD and was booked with {booked['amountPicousd']} pUSD"
        self.operator.run("ledger", "verify")


LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"


def coded(generation):
    """The id of a request as JSON of protobuf shows its bytes."""
    number = 0
    for letter in generation.removeprefix("gen-"):
        number = number * 32 + LETTERS.index(letter)
    return base64.b64encode(number.to_bytes(16, "big")).decode()


def attempt_id(text):
    """The other way, of an attempt."""
    number = int.from_bytes(base64.b64decode(text), "big")
    return "att-" + "".join(LETTERS[number >> shift & 31] for shift in range(125, -1, -5))


def eventually(what, look, limit_s=PATIENCE_S):
    """Waits for something; gives it."""
    end = time.monotonic() + limit_s
    while True:
        if found := look():
            return found
        assert time.monotonic() < end, f"{what}: not within {limit_s} s"
        time.sleep(0.05)


def chat(address, key, model=MODEL, limit_s=30, **more):
    """(status, generation, answer) of one request."""
    body = json.dumps({"model": model, **more, "messages": [{"role": "user", "content": "Hello!"}]}).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://{address}/v1/chat/completions", body, headers), timeout=limit_s) as answer:
            return answer.status, answer.headers["x-generation-id"], json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.headers.get("x-generation-id"), refusal.read().decode()
