"""The other side: `transformers` eager. Runs in the reference environment, never in serving.

`reference.py first CHECKPOINT DTYPE` imports, loads, answers once, prints its times and memory, and exits.
`reference.py serve HUB` answers one JSON command per line of stdin with one JSON line.
"""

import json
import sys
import time

STARTED = time.perf_counter()

import torch  # noqa: E402
from transformers import (  # noqa: E402
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoTokenizer,
)
from transformers.utils import logging  # noqa: E402

logging.set_verbosity_error()
logging.disable_progress_bar()

AUTO = {"encoder": AutoModel, "causal": AutoModelForCausalLM, "image": AutoModelForImageClassification}


def load(folder: str, kind: str, dtype: torch.dtype = torch.float32):
    model = AUTO[kind].from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    return model.eval()


def memory() -> int:
    """Bytes of anonymous memory and of mapped checkpoints."""
    total, is_weights = 0, False
    with open("/proc/self/smaps") as lines:
        for line in lines:
            first = line.split(maxsplit=1)[0]
            if not first.endswith(":"):
                is_weights = line.rstrip().endswith(".safetensors")
            elif first == ("Rss:" if is_weights else "Anonymous:"):
                total += int(line.split()[1]) * 1024
    return total


def first_answer(folder: str, dtype: str) -> dict:
    """Times in seconds: imports, then load and first answer; memory after it in bytes."""
    imported = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = load(folder, "causal", getattr(torch, dtype))
    inputs = tokenizer("w1 w2 w3 w4 w5 w6 w7 w8", return_tensors="pt")
    with torch.inference_mode():
        token = model(inputs["input_ids"], logits_to_keep=1).logits[0, -1].argmax().item()
    answered = time.perf_counter()
    return {
        "import_s": imported - STARTED,
        "load_and_answer_s": answered - imported,
        "memory": memory(),
        "token": token,
    }


class Server:
    """Keeps models loaded between commands."""

    def __init__(self, hub: str):
        self.hub = hub
        self.models = {}

    def model(self, name: str, kind: str):
        if name not in self.models:
            self.models[name] = load(f"{self.hub}/{name}", kind)
        return self.models[name]

    def threads(self) -> dict:
        return {"threads": torch.get_num_threads(), "torch": torch.__version__}

    def forget(self) -> dict:
        self.models.clear()
        return {}

    def bandwidth(self) -> dict:
        """Bytes per second of reading 1 GB (a sum), and of a copy of it (read and written), the best of 5."""
        values = torch.ones(250_000_000)
        target = torch.empty_like(values)
        best = {"read": 0.0, "copy": 0.0}
        for _ in range(5):
            started = time.perf_counter()
            values.sum()
            summed = time.perf_counter()
            target.copy_(values)
            copied = time.perf_counter()
            best["read"] = max(best["read"], 1e9 / (summed - started))
            best["copy"] = max(best["copy"], 2e9 / (copied - summed))
        return best

    def encode(self, model: str, ids: list, reps: int) -> dict:
        """Milliseconds of each forward of `ids`, `[batch, seq]`; the mean-pooled first row's beginning."""
        encoder = self.model(model, "encoder")
        batch = torch.tensor(ids)
        mask = torch.ones_like(batch)
        spent = []
        for _ in range(reps):
            started = time.perf_counter()
            hidden = encoder(input_ids=batch, attention_mask=mask).last_hidden_state
            spent.append((time.perf_counter() - started) * 1e3)
        return {"ms": spent, "check": hidden[0].mean(0)[:8].tolist()}

    def classify(self, model: str, reps: int) -> dict:
        """Milliseconds of each forward of one picture of 224 × 224."""
        classifier = self.model(model, "image")
        pixels = torch.rand(1, 3, 224, 224) * 2 - 1
        spent = []
        for _ in range(reps):
            started = time.perf_counter()
            classifier(pixel_values=pixels)
            spent.append((time.perf_counter() - started) * 1e3)
        return {"ms": spent}

    def generate(self, model: str, ids: list, tokens: int, reps: int) -> dict:
        """Milliseconds of the prefill and of all later steps, greedy with a cache; the ids of the last run."""
        causal = self.model(model, "causal")
        prefill, decode = [], []
        for _ in range(reps):
            fed, cache, made = torch.tensor([ids]), None, []
            spent = 0.0
            for n in range(tokens):
                started = time.perf_counter()
                out = causal(fed, past_key_values=cache, use_cache=True, logits_to_keep=1)
                took = (time.perf_counter() - started) * 1e3
                if n == 0:
                    prefill.append(took)
                else:
                    spent += took
                cache = out.past_key_values
                fed = out.logits[:, -1].argmax(-1, keepdim=True)
                made.append(fed.item())
            decode.append(spent)
        return {"prefill_ms": prefill, "decode_ms": decode, "ids": made}


def main() -> None:
    mode = sys.argv[1]
    if mode == "first":
        print(json.dumps(first_answer(sys.argv[2], sys.argv[3])))
        return
    serve(Server(sys.argv[2]))


def serve(server) -> None:
    """Answers commands with the methods of `server` until stdin ends."""
    with torch.inference_mode():
        for line in sys.stdin:
            command = json.loads(line)
            answer = getattr(server, command.pop("do"))(**command)
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
