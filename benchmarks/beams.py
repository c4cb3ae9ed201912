"""Beam search beside `generate` of the reference: GPT-2 and T5-small, four beams."""

import inputs
from forward import repeat
from machine import Clock, Rounds
from row import Row
from starting import greedy

NUM_BEAMS, TOKENS = 4, 32
# Part of the clock, model, kind, task, words of the prompt or the source.
WRITERS = [
    ("beams GPT-2", "bench/gpt2", "causal", "text-generation", 32),
    ("beams T5-small", "bench/t5-small", "seq2seq", "text2text-generation", 64),
]
PARTS = {"beams GPT-2": 70, "beams T5-small": 40}
TARGET = 1.2


def measure(run, server, reference, clock: Clock, keep) -> None:
    for part, model, kind, task, words in WRITERS:
        rounds = Rounds(run.watch, run.pairs, clock.deadline(part))
        rounds.run(beam_round(server, reference, model, kind, task, words))
        keep([row(part, words, rounds)])


def beam_round(server, reference, model: str, kind: str, task: str, words: int):
    """Both sides are asked once and must write the same first."""
    numbers = inputs.words(words)
    ids = inputs.ids(numbers) + ([inputs.SEP] if kind == "seq2seq" else [])
    options = greedy(TOKENS) | {"num_beams": NUM_BEAMS}
    if kind == "causal":
        # The reference keeps nothing from one call to the next.
        options |= {"cache": False}
    answers = []

    def ours() -> float:
        answers.append(server.infer(model, task, {"text": inputs.text(numbers)}, options))
        return answers[-1]["client_s"] * 1e3

    def theirs() -> dict:
        return reference.ask("beams", model=model, kind=kind, ids=ids, tokens=TOKENS, num_beams=NUM_BEAMS)

    ours()
    written, expected = answers[0]["task_output"]["text"].split(), inputs.spelled(theirs()["ids"])
    if written != expected:
        raise ValueError(f"the two sides' beams differ: {written} and {expected}")

    def one_round() -> dict:
        answers.clear()
        client = repeat(ours)
        model_ms = sum(answer["metadata"]["runtime_ms_model"] for answer in answers) / len(answers)
        return {"ours": client, "model": model_ms, "theirs": repeat(lambda: theirs()["ms"])}

    return one_round


def row(part: str, words: int, rounds: Rounds) -> Row:
    ours, theirs, ratio = rounds.median("ours"), rounds.median("theirs"), rounds.ratio("ours", "theirs")
    name = part.removeprefix("beams ")
    return Row(
        "beams",
        f"{name}: {NUM_BEAMS} beams, {TOKENS} tokens after {words}",
        f"{ours:.0f} ms at the client ({rounds.median('model'):.0f} ms of steps)",
        f"{theirs:.0f} ms (`generate` alone)",
        f"{ratio:.2f}× the time",
        f"≤ {TARGET}×",
        ratio <= TARGET,
        len(rounds.kept),
        rounds.discarded,
        rounds.is_quiet,
        {"ours_ms": ours, "theirs_ms": theirs, "ratio": ratio},
    )
