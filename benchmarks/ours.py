"""Our side: starts the control plane with its worker, calls its public API, reads its memory."""

import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from http_client import Connection, HttpError, request_bytes


class StartError(Exception):
    """A program did not start."""


class Server:
    """A control plane on a free port with one worker that it spawned."""

    def __init__(self, bin_dir: Path, hubs: list[Path], timeout: float = 30.0, device: str = "cpu"):
        self.log = tempfile.NamedTemporaryFile(prefix="control-plane-", suffix=".log")
        command = [str(bin_dir / "control-plane"), "--listen", "127.0.0.1:0", "--workers", device]
        for hub in hubs:
            command += ["--hub", str(hub)]
        environment = os.environ | {"NO_COLOR": "1", "HF_HUB_OFFLINE": "1"}
        started = time.perf_counter()
        self.process = subprocess.Popen(
            command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, env=environment
        )
        self.port = self._wait(started + timeout, self._listening)
        self._wait(started + timeout, self._is_ready)
        self.ready_s = time.perf_counter() - started
        self.connection = Connection(self.port)

    def _wait(self, until: float, condition):
        while time.perf_counter() < until:
            if found := condition():
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.004)
        text = Path(self.log.name).read_text(errors="replace")
        self.process.kill()
        self.process.wait()
        raise StartError(f"the control plane did not become ready:\n{text[-2000:]}")

    def _listening(self) -> int | None:
        text = Path(self.log.name).read_text(errors="replace")
        found = re.search(r"control_plane\S*\s+listening on http://\S*?:(\d+)", text)
        return int(found[1]) if found else None

    def _is_ready(self) -> bool:
        try:
            connection = Connection(self.port)
            try:
                connection.send(request_bytes("/readyz", None))
            finally:
                connection.close()
            return True
        except (HttpError, OSError):
            return False

    def infer(
        self, model: str, task: str, inputs: dict, options: dict | None = None, run: dict | None = None
    ) -> dict:
        """The answer's `result`, with the client's seconds as `client_s`."""
        body = {"model_id": model, "task": task, "inputs": inputs, "options": options or {}, "run": run or {}}
        answer, took = self.connection.json("/api/inference", body)
        return answer["result"] | {"client_s": took}

    def unload(self, model: str) -> None:
        self.connection.json("/api/models/unload", {"model_id": model})

    def worker_pid(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found = []
        for task in children.parent.parent.iterdir():
            found += (task / "children").read_text().split()
        if len(found) != 1:
            raise StartError(f"expected one worker process, found {len(found)}")
        return int(found[0])

    def memory(self) -> int:
        """Bytes of anonymous memory and mapped checkpoints of the worker and the control plane."""
        return sum(memory_of(pid) for pid in (self.worker_pid(), self.process.pid))

    def peak_memory(self) -> int:
        """Bytes that were resident at most, of the worker and the control plane."""
        return sum(peak_of(pid) for pid in (self.worker_pid(), self.process.pid))

    def device_memory(self) -> int:
        """Bytes in use on the worker's device by everyone, as its driver says."""
        answer, _ = self.connection.json("/api/workers", None)
        return int(answer["workers"][0]["devices"][0]["used_bytes"])

    def stop(self) -> None:
        self.connection.close()
        stop(self.process)
        self.log.close()


def memory_of(pid: int) -> int:
    """Bytes of anonymous memory and of mapped checkpoints (`*.safetensors`) that are resident."""
    total, is_weights = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first = line.split(maxsplit=1)[0]
        if not first.endswith(":"):
            is_weights = line.endswith(".safetensors")
        elif first == ("Rss:" if is_weights else "Anonymous:"):
            total += int(line.split()[1]) * 1024
    return total


def anonymous_of(pid: int) -> int:
    """RssAnon in bytes."""
    return status_of(pid, "RssAnon:")


def peak_of(pid: int) -> int:
    """VmHWM in bytes: the most that was ever resident."""
    return status_of(pid, "VmHWM:")


def status_of(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


def worker_ready_s(bin_dir: Path) -> float:
    """Seconds from starting a worker to its line that it listens."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        started = time.perf_counter()
        worker = subprocess.Popen(
            [str(bin_dir / "gpu-worker"), "--listen", f"unix:{folder}/worker.sock"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        line = worker.stdout.readline()
        took = time.perf_counter() - started
        stop(worker)
        if not line.startswith("listening on"):
            raise StartError(f"the worker said {line!r}")
        return took


def stop(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
