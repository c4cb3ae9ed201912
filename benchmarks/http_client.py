"""Keep-alive HTTP over plain sockets: a client that costs little beside what it measures."""

import json
import selectors
import socket
import time


class HttpError(Exception):
    """An answer that is not 200."""


def request_bytes(path: str, body: dict | None, method: str | None = None) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    method = method or ("GET" if body is None else "POST")
    lines = [
        f"{method} {path} HTTP/1.1",
        "host: bench",
        "content-type: application/json",
        f"content-length: {len(content)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content


class Answer:
    """Collects the bytes of one answer."""

    def __init__(self):
        self.data = bytearray()
        self.body_at = None
        self.end = None

    def feed(self, data: bytes) -> bool:
        """True when the answer is complete."""
        if not data:
            raise HttpError("the connection ended before the answer did")
        self.data += data
        if self.end is None:
            at = self.data.find(b"\r\n\r\n")
            if at < 0:
                return False
            head = bytes(self.data[:at]).lower()
            length = head.find(b"content-length:")
            if length < 0:
                raise HttpError(f"no content-length: {head[:200]!r}")
            self.body_at = at + 4
            self.end = self.body_at + int(head[length + 15 :].split(b"\r\n", 1)[0])
        return len(self.data) >= self.end

    def body(self) -> bytes:
        status = self.data[9:12]
        content = bytes(self.data[self.body_at : self.end])
        if status[:1] != b"2":
            raise HttpError(f"{status.decode()}: {content[:500].decode(errors='replace')}")
        return content


class Connection:
    """One keep-alive connection, one request at a time."""

    def __init__(self, port: int, timeout: float = 300.0):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes) -> tuple[bytes, float]:
        """The answer's body and the seconds until its last byte."""
        answer = Answer()
        started = time.perf_counter()
        self.socket.sendall(request)
        while not answer.feed(self.socket.recv(1 << 20)):
            pass
        took = time.perf_counter() - started
        return answer.body(), took

    def json(self, path: str, body: dict | None, method: str | None = None) -> tuple[dict, float]:
        content, took = self.send(request_bytes(path, body, method))
        return json.loads(content), took

    def close(self) -> None:
        self.socket.close()


class Burst:
    """Connections that each send one request at the same moment."""

    def __init__(self, port: int, clients: int):
        self.connections = [Connection(port) for _ in range(clients)]

    def send(self, requests: list[bytes]) -> tuple[list[bytes], float]:
        """The answers' bodies in order, and the seconds from the first request to the last byte of all answers."""
        selector, answers = selectors.DefaultSelector(), [Answer() for _ in requests]
        waiting = self.connections[: len(requests)]
        for index, connection in enumerate(waiting):
            selector.register(connection.socket, selectors.EVENT_READ, index)
        started = time.perf_counter()
        for connection, request in zip(waiting, requests, strict=True):
            connection.socket.sendall(request)
        while selector.get_map():
            ready = selector.select(timeout=300)
            if not ready:
                raise HttpError("no answer for five minutes")
            for key, _ in ready:
                if answers[key.data].feed(key.fileobj.recv(1 << 16)):
                    selector.unregister(key.fileobj)
        took = time.perf_counter() - started
        selector.close()
        return [answer.body() for answer in answers], took

    def close(self) -> None:
        for connection in self.connections:
            connection.close()


def throughput(port: int, request: bytes, clients: int, seconds: float) -> tuple[float, int]:
    """Answers per second of `clients` that each send the next request when the last is answered; and the errors."""
    selector = selectors.DefaultSelector()
    connections = [Connection(port) for _ in range(clients)]
    answers = {}
    for connection in connections:
        selector.register(connection.socket, selectors.EVENT_READ)
        answers[connection.socket] = Answer()
    started = time.perf_counter()
    for connection in connections:
        connection.socket.sendall(request)
    done = errors = 0
    open_requests = clients
    while open_requests:
        ready = selector.select(timeout=30)
        if not ready:
            errors += open_requests
            break
        now = time.perf_counter()
        for key, _ in ready:
            peer = key.fileobj
            try:
                if not answers[peer].feed(peer.recv(1 << 16)):
                    continue
                answers[peer].body()
                if now - started <= seconds:
                    done += 1
            except (HttpError, OSError):
                errors += 1
                selector.unregister(peer)
                open_requests -= 1
                continue
            answers[peer] = Answer()
            if now - started < seconds:
                peer.sendall(request)
            else:
                open_requests -= 1
    for connection in connections:
        connection.close()
    return done / seconds, errors
