"""Server-sent events of one request, as they arrive."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

from http_client import HttpError


@dataclass
class Event:
    name: str
    data: dict
    # Seconds after the request was sent.
    at: float


class Stream:
    """One request to `/api/inference/stream`; closing it cancels the work."""

    def __init__(self, port: int, model: str, task: str, inputs: dict, options: dict, run: dict | None = None):
        body = {"model_id": model, "task": task, "inputs": inputs, "options": options, "run": run or {}}
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        self.started = time.perf_counter()
        headers = {"content-type": "application/json"}
        self.connection.request("POST", "/api/inference/stream", json.dumps(body), headers)
        self.response = self.connection.getresponse()
        if self.response.status != 200:
            raise HttpError(f"{self.response.status}: {self.response.read(500).decode(errors='replace')}")

    def __iter__(self) -> Iterator[Event]:
        """Ends after `done`; an `error` event is raised."""
        name = ""
        for line in self.response:
            if line.startswith(b"event:"):
                name = line[6:].strip().decode()
            elif line.startswith(b"data:"):
                event = Event(name, json.loads(line[5:]), time.perf_counter() - self.started)
                if name == "error":
                    raise HttpError(f"the stream ended with {event.data}")
                yield event
                if name == "done":
                    return
        raise HttpError("the stream ended before it was done")

    def until(self, name: str, count: int = 1) -> Event:
        """The `count`-th event of that name from here on."""
        for event in self:
            count -= event.name == name
            if count == 0:
                return event
        raise HttpError(f"the stream was done before it brought {name}")

    def abort(self) -> None:
        """Ends the connection, also while another thread reads it."""
        if self.connection.sock:
            self.connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.response.close()
        self.connection.close()
