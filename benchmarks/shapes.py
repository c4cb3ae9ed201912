"""Where the linear layers change their way of asking for a product: time per number of rows, both sides.

Not part of the table: `run.py --only shapes` prints it, for whoever sets the thresholds of
`gpu-worker/src/layers/linear.rs`. A step up between two neighbouring numbers of rows (6 and 7, 80 and 81) that the
other side does not have means that the threshold lies wrong.
"""

import inputs
from machine import Clock, Rounds
from row import Row
from starting import greedy

ROWS = {
    "bench/bert-base": [4, 6, 7, 8, 16, 24, 32, 48, 64, 80, 81, 96, 128],
    "bench/gpt2": [1, 2, 4, 6, 7, 8, 16, 32, 64, 80, 81, 128],
    "bench/smollm2-135m": [1, 2, 4, 6, 7, 8, 16, 32, 64, 80, 81, 128],
}


def measure(run, server, reference, clock: Clock) -> list[Row]:
    rows = []
    for model, counts in ROWS.items():
        sides = encoder if "bert" in model else prefill
        calls = {count: sides(server, reference, model, count) for count in counts}
        for ours, theirs in calls.values():
            ours(), theirs()
        # All numbers of rows in turn, so that what changes with time changes all of them.
        deadline = clock.deadline(f"shapes {model}")
        each = {count: Rounds(run.watch, run.pairs, deadline) for count in counts}
        for _ in range(run.pairs):
            for count, (ours, theirs) in calls.items():
                kept = Rounds(run.watch, 1, deadline).run(
                    lambda: {"ours": min(ours() for _ in range(3)), "theirs": min(theirs() for _ in range(3))}
                )
                each[count].kept += kept.kept
                each[count].discarded += kept.discarded
                each[count].loudest += kept.loudest
        rows += [row(model, count, rounds) for count, rounds in each.items()]
    return rows


def encoder(server, reference, model: str, count: int):
    words = inputs.words(count - 2)
    asked, ids = {"text": [inputs.text(words)]}, [inputs.bert_ids(words)]

    def ours() -> float:
        answer = server.infer(model, "feature-extraction", asked, {"pooling": "mean"})
        return answer["metadata"]["runtime_ms_model"]

    return ours, lambda: reference.ask("encode", model=model, ids=ids, reps=1)["ms"][0]


def prefill(server, reference, model: str, count: int):
    words = inputs.words(count)
    asked, ids = {"text": inputs.text(words)}, inputs.ids(words)

    def ours() -> float:
        answer = server.infer(model, "text-generation", asked, greedy(1))
        return answer["metadata"]["runtime_ms_model"]

    def theirs() -> float:
        return reference.ask("generate", model=model, ids=ids, tokens=1, reps=1)["prefill_ms"][0]

    return ours, theirs


def row(model: str, count: int, rounds: Rounds) -> Row:
    ours, theirs, ratio = rounds.median("ours"), rounds.median("theirs"), rounds.ratio("ours", "theirs")
    return Row(
        "shapes",
        f"{model}, {count} rows",
        f"{ours:.1f} ms",
        f"{theirs:.1f} ms",
        f"{ratio:.2f}×",
        pairs=len(rounds.kept),
        discarded=rounds.discarded,
        quiet=rounds.is_quiet,
        values={"ours_ms": ours, "theirs_ms": theirs, "ratio": ratio},
    )
