"""What the machine is, and how much of it somebody else uses: from /proc, Linux only."""

import os
import platform
import statistics
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def description() -> dict:
    """Processor, cores, memory in bytes, kernel."""
    processor = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.split(":", 1)[1].strip()
            break
    return {
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
    }


def busy_seconds() -> float:
    """Processor seconds that all processes of the machine used since it started, and those the host took away."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system = (int(ticks) for ticks in fields[:3])
    stolen = int(fields[7]) if len(fields) > 7 else 0
    return (user + nice + system + stolen) / TICKS


def own_seconds() -> float:
    """Processor seconds of this process, all its descendants and those it has waited for."""
    parents, used = {}, {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_text()
        except OSError:
            continue
        fields = text.rpartition(")")[2].split()
        pid = int(entry.name)
        parents[pid] = int(fields[1])
        used[pid] = sum(int(ticks) for ticks in fields[11:15])
    mine, root = 0, os.getpid()
    for pid, ticks in used.items():
        ancestor = pid
        while ancestor not in (root, 0, 1):
            ancestor = parents.get(ancestor, 0)
        if ancestor == root:
            mine += ticks
    return mine / TICKS


class Watch:
    """Tells whether others used the processors while something was measured."""

    def __init__(self, limit: float):
        # Cores that others may use on average.
        self.limit = limit

    def start(self) -> None:
        self.started = time.perf_counter()
        self.others = busy_seconds() - own_seconds()

    def stop(self) -> float:
        """Cores that others used since `start`; at least what ticks can tell apart is forgiven."""
        wall = time.perf_counter() - self.started
        others = busy_seconds() - own_seconds() - self.others
        return max(0.0, others - 4 / TICKS) / max(wall, 1e-3)

    def is_quiet(self, others: float) -> bool:
        return others <= self.limit


class Clock:
    """The time that is left, dealt out by weight: what one part leaves over, the next ones get."""

    def __init__(self, seconds: float, weights: dict):
        self.end = time.perf_counter() + seconds
        self.weights = dict(weights)

    def deadline(self, part: str) -> float:
        """When `part`, which begins now, must end."""
        now = time.perf_counter()
        share = self.weights[part] / sum(self.weights.values())
        del self.weights[part]
        return now + max(0.0, self.end - now) * share


class Rounds:
    """Rounds of one measurement until enough were quiet, or its time is over."""

    def __init__(self, watch: Watch, pairs: int, deadline: float):
        self.watch, self.pairs, self.deadline = watch, pairs, deadline
        self.kept, self.discarded, self.loudest = [], 0, []

    def run(self, measure) -> "Rounds":
        """`measure()` answers one round's figures as a dictionary; rounds with other load are not kept."""
        tried = 0
        while len(self.kept) < self.pairs and tried < 3 * self.pairs:
            if tried > 0 and time.perf_counter() > self.deadline:
                break
            self.watch.start()
            figures = measure()
            others = self.watch.stop()
            tried += 1
            if self.watch.is_quiet(others):
                self.kept.append(figures)
            else:
                self.discarded += 1
                self.loudest.append((others, figures))
        return self

    @property
    def is_quiet(self) -> bool:
        return bool(self.kept)

    def figures(self) -> list:
        """The quiet rounds; without any, the least noisy one, which `is_quiet` tells."""
        return self.kept or [min(self.loudest, key=lambda pair: pair[0])[1]]

    def median(self, name: str) -> float:
        return statistics.median(figures[name] for figures in self.figures())

    def ratio(self, name: str, other: str) -> float:
        """The median of each round's own ratio."""
        return statistics.median(figures[name] / figures[other] for figures in self.figures())
