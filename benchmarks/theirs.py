"""The other side's processes: the reference that stays, the one that starts cold, the FastAPI server."""

import json
import os
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).parent


class Reference:
    """A process of `reference.py serve`, or of another script like it, that keeps its models loaded."""

    def __init__(self, python: Path, hub: Path, log, script: str = "reference.py", arguments: tuple = ()):
        self.process = subprocess.Popen(
            [str(python), str(HERE / script), "serve", str(hub), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment(),
        )

    def ask(self, do: str, **arguments) -> dict:
        self.process.stdin.write(json.dumps({"do": do} | arguments) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the reference process ended at {do!r}; its log tells why")
        return json.loads(line)

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def first_answer(python: Path, folder: Path, dtype: str, log) -> dict:
    """A cold process that imports, loads, answers once; `process_s` is what a user waits."""
    return cold(python, "reference.py", ["first", str(folder), dtype], log)


def cold(python: Path, script: str, arguments: list[str], log) -> dict:
    """What a process prints as JSON, and its whole time as `process_s`."""
    started = time.perf_counter()
    done = subprocess.run(
        [str(python), str(HERE / script), *arguments],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        check=True,
        env=environment(),
    )
    return json.loads(done.stdout) | {"process_s": time.perf_counter() - started}


class FastApi:
    """`fastapi_server.py` with one model."""

    def __init__(self, python: Path, folder: Path, log):
        self.process = subprocess.Popen(
            [str(python), str(HERE / "fastapi_server.py"), str(folder)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment(),
        )
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the FastAPI server did not start; its log tells why")
        self.port = int(line)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def environment() -> dict:
    return os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
