"""`run.py --only language`: encoders that batch, beside onnxruntime; with streams.py and beams.py for what writes."""

import json
import statistics
import time
from contextlib import ExitStack, closing

import beams
import inputs
import streams
from forward import repeat
from http_client import Burst, request_bytes
from machine import Clock, Rounds
from ours import Server
from row import Row
from theirs import Reference

# The random models that are asked.
MODELS = ["minilm", "bert-base", "gpt2", "t5-small"]
# Requests at the same moment.
CLIENTS = 32
# Part of the clock, model, shortest and longest text in tokens, least ratio.
ENCODERS = [
    ("MiniLM ≤ 16 tokens", "bench/minilm", 6, 16, 3.0),
    ("MiniLM 128 tokens", "bench/minilm", 128, 128, 1.0),
    ("BERT-base ≤ 16 tokens", "bench/bert-base", 6, 16, 2.0),
    ("BERT-base 128 tokens", "bench/bert-base", 128, 128, 1.0),
]
# Seconds of the clock, about as long as 15 quiet pairs of each take.
PARTS = {
    "MiniLM ≤ 16 tokens": 35,
    "MiniLM 128 tokens": 90,
    "BERT-base ≤ 16 tokens": 60,
    "BERT-base 128 tokens": 260,
    **streams.PARTS,
    **beams.PARTS,
}
# Threads of the side that was asked last may still spin; they sleep after this many seconds.
REST = 0.05


def measure(run, clock: Clock, keep) -> dict:
    """Hands rows to `keep` as they are measured; versions and threads of the other side."""
    with ExitStack() as stack:
        server = Server(run.bin_dir, run.hubs)
        stack.callback(server.stop)
        reference = Reference(run.python, run.models, run.log, "reference_language.py")
        stack.callback(reference.stop)
        facts = reference.ask("versions") | reference.ask("threads")
        for part, model, shortest, longest, least in ENCODERS:
            with closing(Encoder(server, reference, model, shortest, longest)) as encoder:
                rounds = Rounds(run.watch, run.pairs, clock.deadline(part))
                keep(encoder_rows(part, rounds.run(encoder.one_round), least))
        streams.measure(run, server, clock, keep)
        beams.measure(run, server, reference, clock, keep)
    return facts


class Encoder:
    """The same texts one by one and all at once, on both sides."""

    def __init__(self, server, reference, model: str, shortest: int, longest: int):
        self.server, self.reference, self.model = server, reference, model
        lengths = [shortest + index % (longest - shortest + 1) for index in range(CLIENTS)]
        texts = [inputs.words(tokens - 2, seed) for seed, tokens in enumerate(lengths)]
        self.ids = [inputs.bert_ids(text) for text in texts]
        self.requests = [self.request(inputs.text(text)) for text in texts]
        self.burst = Burst(server.port, CLIENTS)
        self.agree()

    def request(self, text: str) -> bytes:
        options = {"pooling": "mean", "normalize": False}
        body = {"model_id": self.model, "task": "feature-extraction", "inputs": {"text": [text]}, "options": options}
        return request_bytes("/api/inference", body)

    def agree(self) -> None:
        """Both sides answer the same, alone and in a batch, or the run stops; this also warms them."""
        expected = self.theirs(together=True)["check"], self.theirs(together=False)["check"]
        alone, _ = self.server.connection.send(self.requests[0])
        together, _ = self.burst.send(self.requests)
        for body in (alone, together[0]):
            found = json.loads(body)["result"]["task_output"]["batch"][0]["embedding"][:8]
            difference = max(abs(a - b) for check in expected for a, b in zip(found, check, strict=True))
            if difference > 1e-3:
                raise ValueError(f"the two sides' embeddings differ by {difference}")

    def theirs(self, together: bool) -> dict:
        return self.reference.ask("onnx", model=self.model, ids=self.ids, together=together)

    def alone_ms(self) -> tuple[float, float]:
        """Milliseconds of all texts one by one, at the client and in the model's steps."""
        model = 0.0
        started = time.perf_counter()
        for request in self.requests:
            body, _ = self.server.connection.send(request)
            model += json.loads(body)["result"]["metadata"]["runtime_ms_model"]
        return (time.perf_counter() - started) * 1e3, model

    def one_round(self) -> dict:
        """Milliseconds of all texts."""
        alone = []

        def once() -> float:
            alone.append(self.alone_ms())
            return alone[-1][0]

        spent = {"alone": repeat(once)}
        spent["alone_model"] = statistics.median(model for _, model in alone)
        spent["together"] = repeat(lambda: self.burst.send(self.requests)[1] * 1e3)
        time.sleep(REST)
        for name, together in [("onnx_alone", False), ("onnx_together", True)]:
            spent[name] = repeat(lambda: self.theirs(together)["ms"])
        time.sleep(REST)
        return spent

    def close(self) -> None:
        self.burst.close()


def encoder_rows(part: str, rounds: Rounds, least: float) -> list[Row]:
    each = {name: rounds.median(name) / CLIENTS for name in rounds.figures()[0]}
    rates = {name: 1e3 / milliseconds for name, milliseconds in each.items()}
    gain = rounds.ratio("alone", "together")
    alone = rounds.ratio("alone_model", "onnx_alone")
    together = rounds.ratio("together", "onnx_together")
    quality = (len(rounds.kept), rounds.discarded, rounds.is_quiet)
    return [
        Row(
            "encoders",
            f"{part}: {CLIENTS} requests at once, of one by one",
            f"{rates['together']:.0f} texts/s",
            f"{rates['alone']:.0f} texts/s one by one",
            f"{gain:.2f}×",
            f"≥ {least:.0f}×",
            gain >= least,
            *quality,
            each | {"ratio": gain},
        ),
        Row(
            "encoders",
            f"{part}: one by one, beside onnxruntime",
            f"{each['alone_model']:.2f} ms a text ({each['alone']:.2f} ms at the client)",
            f"{each['onnx_alone']:.2f} ms (`run` alone)",
            f"{alone:.2f}× the time",
            "–",
            None,
            *quality,
            {"ratio": alone},
        ),
        Row(
            "encoders",
            f"{part}: {CLIENTS} at once, beside one batch of {CLIENTS} in onnxruntime",
            f"{each['together']:.2f} ms a text at the client",
            f"{each['onnx_together']:.2f} ms (`run` alone)",
            f"{together:.2f}× the time",
            "–",
            None,
            *quality,
            {"ratio": together},
        ),
    ]
