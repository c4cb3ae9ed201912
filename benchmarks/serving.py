"""What HTTP and gRPC add, 16 clients against FastAPI, and 200 cycles of load, infer, unload."""

import json
import statistics

import inputs
from http_client import request_bytes, throughput
from machine import Clock, Rounds
from ours import anonymous_of
from row import Row
from starting import greedy
from theirs import FastApi

SMALLEST = "zoo/sentences"
TEXT = "a small red circle"
REQUESTS, WINDOWS = 300, 5
CLIENTS, SECONDS = 16, 1.5
CYCLES, EARLY = 200, 20
# Every so many cycles a large model that is converted while it is loaded takes the place of the small ones.
LARGE_EVERY, LARGE = 10, "bench/gpt2-bf16"


def request() -> bytes:
    body = {"model_id": SMALLEST, "task": "feature-extraction", "inputs": {"text": [TEXT]}}
    return request_bytes("/api/inference", body)


def overhead(run, server, clock: Clock) -> list[Row]:
    """Milliseconds that are the client's but not the worker's, in the best of five windows."""
    asked = request()
    for _ in range(100):
        server.connection.send(asked)

    def window() -> dict:
        added, client = [], []
        for _ in range(REQUESTS):
            body, took = server.connection.send(asked)
            client.append(took * 1e3)
            added.append(took * 1e3 - json.loads(body)["result"]["metadata"]["runtime_ms_worker"])
        added.sort()
        return {
            "p50": statistics.median(added),
            "p99": added[int(0.99 * len(added))],
            "client": statistics.median(client),
        }

    rounds = Rounds(run.watch, WINDOWS, clock.deadline("overhead")).run(window)
    rows = []
    for name, limit in [("p50", 1.0), ("p99", 5.0)]:
        best = min(figures[name] for figures in rounds.figures())
        rows.append(
            Row(
                "serving",
                f"HTTP + gRPC add, {name}, best of {WINDOWS} windows",
                f"{best:.2f} ms (client p50 {rounds.median('client'):.2f} ms)",
                target=f"≤ {limit:.0f} ms",
                met=best <= limit,
                pairs=len(rounds.kept),
                discarded=rounds.discarded,
                quiet=rounds.is_quiet,
                values={"ms": best, "windows": [figures[name] for figures in rounds.figures()]},
            )
        )
    return rows


def sixteen_clients(run, server, clock: Clock) -> list[Row]:
    """Answers per second on the smallest model; FastAPI's better endpoint counts."""
    fastapi = FastApi(run.python, run.zoo / SMALLEST, run.log)
    asked = request()
    try:
        bodies = {path: request_bytes(path, {"text": [TEXT]}) for path in ("/threads", "/loop")}
        for port, body in [(server.port, asked), *((fastapi.port, body) for body in bodies.values())]:
            throughput(port, body, CLIENTS, 0.5)

        def one_round() -> dict:
            rate, errors = throughput(server.port, asked, CLIENTS, SECONDS)
            figures = {"ours": rate, "errors": errors}
            for path, body in bodies.items():
                figures[path], failed = throughput(fastapi.port, body, CLIENTS, SECONDS)
                figures["their_errors"] = figures.get("their_errors", 0) + failed
            figures["theirs"] = max(figures["/threads"], figures["/loop"])
            return figures

        rounds = Rounds(run.watch, run.pairs, clock.deadline("clients")).run(one_round)
    finally:
        fastapi.stop()
    ours, theirs, ratio = rounds.median("ours"), rounds.median("theirs"), rounds.ratio("ours", "theirs")
    errors = sum(figures["errors"] for figures in rounds.figures())
    threads, loop = rounds.median("/threads"), rounds.median("/loop")
    return [
        Row(
            "serving",
            f"{CLIENTS} clients on the smallest model",
            f"{ours:.0f} answers/s, {errors} errors",
            f"{theirs:.0f} answers/s (threads {threads:.0f}, event loop {loop:.0f})",
            f"{ratio:.1f}×",
            "≥ 3× and no error",
            ratio >= 3 and errors == 0,
            len(rounds.kept),
            rounds.discarded,
            rounds.is_quiet,
            {"ours_per_s": ours, "threads_per_s": threads, "loop_per_s": loop, "ratio": ratio},
        )
    ]


def cycles(server, deadline: float, now) -> list[Row]:
    """RssAnon of the worker after an early cycle and after the last."""
    calls = [
        ("zoo/sentences", "feature-extraction", {"text": [TEXT]}, {}),
        ("zoo/storyteller", "text-generation", {"text": "A small red circle"}, greedy(8)),
        ("zoo/shape-classifier", "image-classification", {"image_base64": inputs.png()}, {}),
    ]
    large = (LARGE, "text-generation", {"text": "w1 w2 w3"}, greedy(2))
    pid = server.worker_pid()
    series, done = {}, 0
    for cycle in range(1, CYCLES + 1):
        call = large if cycle % LARGE_EVERY == 0 else calls[cycle % len(calls)]
        server.infer(*call)
        server.unload(call[0])
        done = cycle
        if cycle % LARGE_EVERY == 0:
            series[cycle] = anonymous_of(pid)
            if now() > deadline and cycle > EARLY:
                break
    growth = (series[done] - series[EARLY]) / 2**20
    return [
        Row(
            "memory",
            f"anonymous memory after cycle {done} of load → infer → unload, against cycle {EARLY}",
            f"{series[done] / 2**20:.1f} MiB, {growth:+.1f} MiB",
            target="≤ +4 MiB" if done == CYCLES else f"≤ +4 MiB after {CYCLES} cycles",
            met=growth <= 4 if done == CYCLES else None,
            pairs=done,
            values={"bytes": series},
        )
    ]
