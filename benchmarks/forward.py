"""Forward passes against `transformers` eager: whole passes, prefill, decode, and beside a busy neighbour."""

import statistics
import subprocess
import sys

import inputs
from machine import Clock, Rounds
from row import Row
from starting import greedy

# Tokens that a decode round makes, and words of its prompt.
DECODED, PROMPT = 32, 32
# Milliseconds that one side of a round should last at least, so that a tick of other load shows.
LEAST_MS = 400

# Part of the clock, name, batch, tokens, target.
ENCODER = [
    ("BERT 1×16", 1, 16, 0.85),
    ("BERT 1×128", 1, 128, 1.05),
    ("BERT 8×128", 8, 128, 1.05),
]
CAUSAL = [("GPT-2", "bench/gpt2"), ("Llama 135M", "bench/smollm2-135m")]


def measure(run, server, reference, clock: Clock) -> list[Row]:
    bandwidth = reference.ask("bandwidth")
    rows = []
    for part, batch, tokens, target in ENCODER:
        rounds = Rounds(run.watch, run.pairs, clock.deadline(part))
        rows.append(pass_row(part, rounds.run(encoder_round(server, reference, batch, tokens)), target))
    rounds = Rounds(run.watch, run.pairs, clock.deadline("ViT"))
    rows.append(pass_row("ViT-base 1 picture", rounds.run(image_round(server, reference)), 1.05))
    for part, model in CAUSAL:
        rounds = Rounds(run.watch, run.pairs, clock.deadline(f"prefill {part}"))
        rounds.run(prefill_round(server, reference, model))
        rows.append(pass_row(f"{part} prefill {PROMPT}", rounds, 1.05))
        rounds = Rounds(run.watch, run.pairs, clock.deadline(f"decode {part}"))
        rounds.run(decode_round(server, reference, model))
        rows.append(decode_row(part, rounds, weight_bytes(run.models / model), bandwidth))
    for part, alone in [
        ("neighbour BERT", encoder_round(server, reference, 1, 128)),
        ("neighbour GPT-2", decode_round(server, reference, "bench/gpt2", once=True)),
    ]:
        rounds = Rounds(run.watch, run.pairs, clock.deadline(part))
        rows.append(neighbour_row(part, rounds.run(lambda: beside_a_neighbour(alone))))
    return rows


def weight_bytes(folder) -> int:
    """What a decode step reads at least: the checkpoint without GPT-2's position table."""
    return (folder / "model.safetensors").stat().st_size - (1024 * 768 * 4 if "gpt2" in folder.name else 0)


def repeat(measure_once) -> float:
    """The median of as many runs as fill the round."""
    spent = [measure_once()]
    while sum(spent) < LEAST_MS:
        spent.append(measure_once())
    return statistics.median(spent)


def encoder_round(server, reference, batch: int, tokens: int):
    numbers = [inputs.words(tokens - 2, seed) for seed in range(batch)]
    asked = {"text": [inputs.text(row) for row in numbers]}
    ids = [inputs.bert_ids(row) for row in numbers]
    options = {"pooling": "mean", "normalize": False}
    answers = []

    def ours() -> float:
        answers.append(server.infer("bench/bert-base", "feature-extraction", asked, options))
        return answers[-1]["metadata"]["runtime_ms_model"]

    def theirs(reps: int) -> dict:
        return reference.ask("encode", model="bench/bert-base", ids=ids, reps=reps)

    ours()
    check = theirs(2)
    found = answers[0]["task_output"]["batch"][0]["embedding"][:8]
    difference = max(abs(a - b) for a, b in zip(found, check["check"]))
    if difference > 1e-3:
        raise ValueError(f"the two sides' embeddings differ by {difference}")
    reps = max(1, round(LEAST_MS / check["ms"][-1]))

    def one_round() -> dict:
        answers.clear()
        model = repeat(ours)
        client = statistics.median(answer["client_s"] * 1e3 for answer in answers)
        return {"ours": model, "client": client, "theirs": statistics.median(theirs(reps)["ms"])}

    return one_round


def image_round(server, reference):
    asked = {"image_base64": inputs.png()}
    answers = []

    def ours() -> float:
        answers.append(server.infer("bench/vit-base", "image-classification", asked))
        return answers[-1]["metadata"]["runtime_ms_model"]

    ours()
    warm = reference.ask("classify", model="bench/vit-base", reps=2)["ms"][-1]
    reps = max(1, round(LEAST_MS / warm))

    def one_round() -> dict:
        answers.clear()
        model = repeat(ours)
        client = statistics.median(answer["client_s"] * 1e3 for answer in answers)
        spent = reference.ask("classify", model="bench/vit-base", reps=reps)["ms"]
        return {"ours": model, "client": client, "theirs": statistics.median(spent)}

    return one_round


def generator(server, reference, model: str):
    """The two sides' calls, after both were asked once and made the same beginning."""
    numbers = inputs.words(PROMPT)
    asked, ids = {"text": inputs.text(numbers)}, inputs.ids(numbers)

    def ours(tokens: int) -> dict:
        return server.infer(model, "text-generation", asked, greedy(tokens))

    def theirs(tokens: int, reps: int = 1) -> dict:
        return reference.ask("generate", model=model, ids=ids, tokens=tokens, reps=reps)

    words = ours(4)["task_output"]["text"].split()
    expected = inputs.text([made - inputs.FIRST_WORD for made in theirs(4)["ids"]]).split()
    if words != expected:
        raise ValueError(f"the two sides continue differently: {words} and {expected}")
    return ours, theirs


def prefill_round(server, reference, model: str):
    ours, theirs = generator(server, reference, model)
    reps = max(1, round(LEAST_MS / theirs(1)["prefill_ms"][-1]))

    def one_round() -> dict:
        client = []

        def once() -> float:
            answer = ours(1)
            client.append(answer["client_s"] * 1e3)
            return answer["metadata"]["runtime_ms_model"]

        spent = repeat(once)
        theirs_ms = statistics.median(theirs(1, reps)["prefill_ms"])
        return {"ours": spent, "client": statistics.median(client), "theirs": theirs_ms}

    return one_round


def decode_round(server, reference, model: str, once: bool = False):
    """Milliseconds per token after the first: a long answer less one of a single token."""
    ours, theirs = generator(server, reference, model)
    tokens = DECODED // 4 if once else DECODED

    def one_round() -> dict:
        short, long = ours(1), ours(tokens)
        steps = long["metadata"]["runtime_ms_model"] - short["metadata"]["runtime_ms_model"]
        client = (long["client_s"] - short["client_s"]) * 1e3
        spent = theirs(tokens)["decode_ms"][0]
        each = tokens - 1
        return {"ours": steps / each, "client": client / each, "theirs": spent / each}

    return one_round


def beside_a_neighbour(alone) -> dict:
    """A quiet round, then the same beside a process that keeps one core busy, once that has been there for a round."""
    quiet = alone()
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        alone()
        busy = alone()
    finally:
        neighbour.kill()
        neighbour.wait()
    return {
        "ours": quiet["ours"] / busy["ours"],
        "theirs": quiet["theirs"] / busy["theirs"],
        "ours_ms": busy["ours"],
        "theirs_ms": busy["theirs"],
    }


def pass_row(name: str, rounds: Rounds, target: float) -> Row:
    ours, theirs = rounds.median("ours"), rounds.median("theirs")
    ratio, client = rounds.ratio("ours", "theirs"), rounds.median("client")
    return Row(
        "forward",
        name,
        f"{ours:.1f} ms ({client:.1f} ms at the client)",
        f"{theirs:.1f} ms",
        f"{ratio:.2f}×",
        f"≤ {target:.2f}×",
        ratio <= target,
        len(rounds.kept),
        rounds.discarded,
        rounds.is_quiet,
        {"ours_ms": ours, "client_ms": client, "theirs_ms": theirs, "ratio": ratio},
    )


def decode_row(name: str, rounds: Rounds, weights: int, bandwidth: dict) -> Row:
    ours, theirs, client = (1e3 / rounds.median(name) for name in ("ours", "theirs", "client"))
    ratio = rounds.ratio("theirs", "ours")
    read = max(bandwidth.values())
    share = ours * weights / read
    return Row(
        "forward",
        f"{name} decode",
        f"{ours:.1f} tokens/s ({client:.1f} at the client), {share:.0%} of {read / 1e9:.1f} GB/s",
        f"{theirs:.1f} tokens/s, {theirs * weights / read:.0%}",
        f"{ratio:.2f}× the rate",
        "≥ 1.00×",
        ratio >= 1.0,
        len(rounds.kept),
        rounds.discarded,
        rounds.is_quiet,
        {"ours_per_s": ours, "client_per_s": client, "theirs_per_s": theirs, "ratio": ratio}
        | {"weight_bytes": weights, "bandwidth": bandwidth, "share": share},
    )


def neighbour_row(part: str, rounds: Rounds) -> Row:
    ours, theirs = rounds.median("ours"), rounds.median("theirs")
    name = {"neighbour BERT": "BERT 1×128", "neighbour GPT-2": "GPT-2 decode"}[part]
    return Row(
        "neighbour",
        f"{name} beside one busy process",
        f"{ours:.2f} of the quiet rate",
        f"{theirs:.2f} of its quiet rate",
        f"{rounds.ratio('theirs_ms', 'ours_ms'):.1f}× faster beside it",
        "≥ 0.40",
        ours >= 0.4,
        len(rounds.kept),
        rounds.discarded,
        rounds.is_quiet,
        {"ours": ours, "theirs": theirs},
    )
