"""GPT-2 writes for several: eight streams against one, a newcomer beside a long request, a second turn."""

import threading
import time
from contextlib import closing

import inputs
from events import Event, Stream
from machine import Clock, Rounds
from row import Row
from starting import greedy

MODEL = "bench/gpt2"
PARTS = {"streams": 110, "newcomer": 100, "turns": 60}
STREAMS, PROMPT, TOKENS = 8, 16, 64
# A newcomer's prompt; the long request that writes, and the long one that reads: words of prompt, tokens.
NEWCOMER = (32, 4)
WRITES, READS = (32, 600), (960, 48)
# Words of the first turn, tokens of its answer, words of the second turn.
TURN, ANSWER, REPLY = 512, 16, 16


def measure(run, server, clock: Clock, keep) -> None:
    server.infer(MODEL, "text-generation", {"text": "w1 w2 w3"}, greedy(4))
    for part, one_round, rows_of in [
        ("streams", streams_round, streams_rows),
        ("newcomer", newcomer_round, newcomer_rows),
        ("turns", turns_round, turns_rows),
    ]:
        rounds = Rounds(run.watch, run.pairs, clock.deadline(part))
        seeds = iter(range(0, 1_000_000, 100))
        keep(rows_of(rounds.run(lambda: one_round(server.port, next(seeds)))))


def writing(port: int, text: str, tokens: int, cache: bool = False) -> Stream:
    return Stream(port, MODEL, "text-generation", {"text": text}, greedy(tokens) | {"cache": cache})


def prompt(words: int, seed: int) -> str:
    return inputs.text(inputs.words(words, seed))


def rate(port: int, streams: int, seed: int) -> float:
    """Tokens per second that `streams` clients get together, from the first request to the last token."""
    done: list[Event | Exception] = []

    def client(text: str) -> None:
        try:
            with closing(writing(port, text, TOKENS)) as stream:
                done.append(stream.until("done"))
        except Exception as error:  # Raised below, in the thread that waits.
            done.append(error)

    clients = [threading.Thread(target=client, args=(prompt(PROMPT, seed + n),)) for n in range(streams)]
    started = time.perf_counter()
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    took = time.perf_counter() - started
    for end in done:
        if isinstance(end, Exception):
            raise end
        if end.data["tokens"] != TOKENS:
            raise ValueError(f"{TOKENS} tokens were asked for, {end.data['tokens']} came")
    return streams * TOKENS / took


def streams_round(port: int, seed: int) -> dict:
    return {"one": rate(port, 1, seed), "all": rate(port, STREAMS, seed)}


def streams_rows(rounds: Rounds) -> list[Row]:
    one, together, ratio = rounds.median("one"), rounds.median("all"), rounds.ratio("all", "one")
    return [
        Row(
            "streams",
            f"GPT-2: {STREAMS} streams at once, of one",
            f"{together:.1f} tokens/s",
            f"{one:.1f} tokens/s of one stream",
            f"{ratio:.2f}×",
            "≥ 3×",
            ratio >= 3,
            len(rounds.kept),
            rounds.discarded,
            rounds.is_quiet,
            {"one_per_s": one, "all_per_s": together, "ratio": ratio},
        )
    ]


class Reader(threading.Thread):
    """Reads a long request's events until it ends or is left."""

    def __init__(self, stream: Stream, name: str, count: int):
        super().__init__()
        self.stream, self.name_awaited, self.left = stream, name, count
        self.reached = threading.Event()
        self.failed: Exception | None = None
        self.is_left = False

    def run(self) -> None:
        try:
            for event in self.stream:
                self.left -= event.name == self.name_awaited
                if self.left <= 0:
                    self.reached.set()
        except Exception as error:  # Raised in the thread that waits, unless it left.
            self.failed = None if self.is_left else error
        self.reached.set()

    def leave(self) -> None:
        self.is_left = True
        self.stream.abort()
        self.join()
        self.stream.close()
        if self.failed:
            raise self.failed


def newcomer(port: int, seed: int, long: Reader | None = None) -> tuple[float, bool]:
    """Seconds until its first token, and whether the long request had not ended by then."""
    words, tokens = NEWCOMER
    with closing(writing(port, prompt(words, seed), tokens)) as stream:
        first = stream.until("token").at
        is_ahead = long is None or long.is_alive()
        stream.until("done")
    return first, is_ahead


def beside(port: int, seed: int, long: tuple[int, int], event: str, count: int) -> tuple[float, bool]:
    """A newcomer that comes at the `count`-th `event` of a long request: what `newcomer` answers."""
    words, tokens = long
    reader = Reader(writing(port, prompt(words, seed), tokens), event, count)
    reader.start()
    try:
        reader.reached.wait()
        return newcomer(port, seed + 1, reader)
    finally:
        reader.leave()


def newcomer_round(port: int, seed: int) -> dict:
    alone, _ = newcomer(port, seed + 50)
    writes, was_writing = beside(port, seed, WRITES, "token", 3)
    reads, was_reading = beside(port, seed + 10, READS, "start", 1)
    return {
        "alone": alone * 1e3,
        "writes": writes * 1e3,
        "reads": reads * 1e3,
        "was_ahead": was_writing and was_reading,
    }


def newcomer_rows(rounds: Rounds) -> list[Row]:
    alone = rounds.median("alone")
    met = all(figures["was_ahead"] for figures in rounds.figures())
    return [
        Row(
            "streams",
            f"GPT-2: a newcomer's first token, while another {what}",
            f"{rounds.median(name):.0f} ms",
            f"{alone:.0f} ms alone",
            f"{rounds.ratio(name, 'alone'):.2f}× the time",
            "before the other's end, always",
            met,
            len(rounds.kept),
            rounds.discarded,
            rounds.is_quiet,
            {"ms": rounds.median(name), "alone_ms": alone, "was_ahead": met},
        )
        for name, what in [
            ("writes", f"writes {WRITES[1]} tokens"),
            ("reads", f"reads {READS[0]} tokens and writes {READS[1]}"),
        ]
    ]


def turns_round(port: int, seed: int) -> dict:
    """Milliseconds until the first token of a first turn, of the second one, and of the same read anew."""
    first_text = prompt(TURN, seed)
    with closing(writing(port, first_text, ANSWER, cache=True)) as stream:
        first = stream.until("token").at
        answer = stream.until("done").data["result"]["task_output"]["text"]
    second_text = f"{first_text} {answer.strip()} {prompt(REPLY, seed + 1)}"
    with closing(writing(port, second_text, 2, cache=True)) as stream:
        second = stream.until("token").at
        cached = stream.until("done").data["result"]["task_output"]["cached_tokens"]
    with closing(writing(port, second_text, 2)) as stream:
        anew = stream.until("token").at
        stream.until("done")
    if cached < TURN:
        raise ValueError(f"of the first turn's {TURN} tokens only {cached} were kept")
    return {"first": first * 1e3, "second": second * 1e3, "anew": anew * 1e3, "cached": cached}


def turns_rows(rounds: Rounds) -> list[Row]:
    second, anew, ratio = rounds.median("second"), rounds.median("anew"), rounds.ratio("anew", "second")
    name = f"GPT-2: first token of a second turn ({rounds.median('cached'):.0f} tokens kept)"
    return [
        Row(
            "streams",
            name,
            f"{second:.0f} ms",
            f"{anew:.0f} ms read anew (first turn {rounds.median('first'):.0f} ms)",
            f"{ratio:.1f}× sooner",
            "–",
            None,
            len(rounds.kept),
            rounds.discarded,
            rounds.is_quiet,
            {"second_ms": second, "anew_ms": anew, "first_ms": rounds.median("first"), "ratio": ratio},
        )
    ]
