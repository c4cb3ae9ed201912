"""From process start to ready, to the first answer of a large checkpoint, and the memory that holds."""

from machine import Clock, Rounds
from ours import Server, worker_ready_s
from row import Row
from theirs import first_answer

PROMPT = {"text": "w1 w2 w3 w4 w5 w6 w7 w8"}

# Part of the clock, model, dtype on disk, limit of load and first answer in seconds.
CHECKPOINTS = [
    ("load float32", "bench/gpt2", "float32", 1.5),
    ("load bfloat16", "bench/gpt2-500mb-bf16", "bfloat16", 2.5),
    ("load bfloat16 copy", "bench/gpt2-bf16", "bfloat16", None),
]


def measure(run, clock: Clock) -> list[Row]:
    rows, ready, imports = [], [], []
    for part, model, dtype, limit in CHECKPOINTS:
        if part not in clock.weights:
            continue
        rounds = Rounds(run.watch, run.pairs, clock.deadline(part))
        rounds.run(lambda: one_round(run, model))
        ready.append(rounds)
        rows += rows_of(rounds, f"500 MB {dtype}" if limit else f"250 MB {dtype}", limit)
    worker = Rounds(run.watch, run.pairs, clock.deadline("start"))
    worker.run(lambda: {"ours": worker_ready_s(run.bin_dir)})
    return [*ready_rows(worker, ready[0]), *rows]


def one_round(run, model: str) -> dict:
    """Both sides once, each from a cold process; the page cache is warm. Times in seconds, memory in bytes."""
    server = Server(run.bin_dir, run.hubs)
    try:
        ours = server.infer(model, "text-generation", PROMPT, greedy(1))
        memory = server.memory()
    finally:
        server.stop()
    theirs = first_answer(run.python, run.models / model, "float32", run.log)
    return {
        "ready": server.ready_s,
        "first": ours["client_s"],
        "load": ours["metadata"]["load_ms"] / 1e3,
        "process": server.ready_s + ours["client_s"],
        "memory": memory,
        "theirs_import": theirs["import_s"],
        "theirs_first": theirs["load_and_answer_s"],
        "theirs_process": theirs["process_s"],
        "theirs_memory": theirs["memory"],
    }


def greedy(tokens: int) -> dict:
    return {"do_sample": False, "max_new_tokens": tokens, "min_new_tokens": tokens}


def ready_rows(worker: Rounds, server: Rounds) -> list[Row]:
    started, ready = worker.median("ours"), server.median("ready")
    imports = server.median("theirs_import")
    return [
        Row(
            "start",
            name,
            f"{seconds:.2f} s",
            f"{imports:.2f} s (imports only)",
            f"{imports / seconds:.1f}× faster",
            "≤ 1.5 s",
            seconds <= 1.5,
            len(rounds.kept),
            rounds.discarded,
            rounds.is_quiet,
            {"ours_s": seconds, "theirs_import_s": imports},
        )
        for name, seconds, rounds in [
            ("worker: process start → listening", started, worker),
            ("control plane and worker: process start → `/readyz`", ready, server),
        ]
    ]


def rows_of(rounds: Rounds, what: str, limit: float | None) -> list[Row]:
    first, process = rounds.median("first"), rounds.median("theirs_process")
    faster = rounds.ratio("theirs_process", "first")
    share = rounds.ratio("memory", "theirs_memory")
    quality = (len(rounds.kept), rounds.discarded, rounds.is_quiet)
    values = {name: rounds.median(name) for name in rounds.figures()[0]}
    like_for_like = rounds.ratio("theirs_process", "process")
    return [
        Row(
            "load",
            f"load + first answer, {what}",
            f"{first:.2f} s",
            f"{process:.2f} s (import, load, answer)",
            f"{faster:.1f}× faster",
            f"≤ {limit} s and ≥ 6×" if limit else "–",
            first <= limit and faster >= 6 if limit else None,
            *quality,
            values | {"ratio": faster},
        ),
        Row(
            "load",
            f"the same from process start, {what}",
            f"{rounds.median('process'):.2f} s",
            f"{process:.2f} s",
            f"{like_for_like:.1f}× faster",
            "–",
            None,
            *quality,
            {"ratio": like_for_like},
        ),
        Row(
            "load",
            f"memory with it loaded, {what}",
            f"{rounds.median('memory') / 2**20:.0f} MiB",
            f"{rounds.median('theirs_memory') / 2**20:.0f} MiB",
            f"{share:.2f}",
            "≤ 0.6" if limit else "–",
            share <= 0.6 if limit else None,
            *quality,
            {"ratio": share},
        ),
    ]
