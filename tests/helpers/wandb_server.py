"""A W&B server on the loopback device: as much of one as its client asks, with faults to order.

    with serving() as server:
        server.faults["file_stream"] = hang          # or answer(500), reset
        server.runs["ID"].summary                    # what the runs that got through hold
        server.artifacts.of_type("items")            # what was committed of them

Requests are named by the GraphQL operation (UpsertBucket, CreateRunFiles, CreateArtifact, ...), or
file_stream and upload; ANY is each of them.
"""

import contextlib
import gzip
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from helpers import wandb_artifacts

ENTITY = {"id": "E", "name": "me"}
PROJECT = {"id": "P", "name": "calib_sweep", "entity": ENTITY}
VIEWER = {"id": "V", "entity": "me", "username": "me", "email": "me@here", "flags": "{}"}
ANY = "any request"
OF_ARTIFACTS = "/upload/artifact/"
HISTORY, SUMMARY = "wandb-history.jsonl", "wandb-summary.json"


@dataclass
class Run:
    """What the server has been told of a run."""

    told: dict = field(default_factory=dict)  # of the last upsert
    history: dict[int, dict] = field(default_factory=dict)  # by line number
    summary: dict = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    exit_code: int | None = None


class Handler(BaseHTTPRequestHandler):
    """Answers one request, or misbehaves."""

    protocol_version = "HTTP/1.1"

    def handle(self):
        """A client that hangs up is no news."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *_):
        """Say nothing."""

    def answer(self):
        content = self.read_content()
        asked = json.loads(content) if self.path == "/graphql" else {}
        name = self.name_of(asked.get("query", ""))
        self.server.asked.append(name)
        finished = [run for run in self.server.runs.values() if run.exit_code is not None]
        self.server.ends.wait(self.server.latency_s)
        fault = self.server.faults.get(name) or self.server.faults.get(ANY)
        if fault is not None and len(finished) >= self.server.num_good_runs:
            fault(self)
        elif asked:
            self.send(200, {"data": self.data(name, asked.get("variables") or {})})
        else:
            if name == "file_stream":
                self.keep(json.loads(content))
            elif self.path.startswith(OF_ARTIFACTS):
                self.server.artifacts.receive(self.path.removeprefix("/upload/"), content)
            self.send(200, {})

    do_GET = do_POST = do_PUT = answer

    def name_of(self, query):
        operation = re.search(r"(?:query|mutation)\s+(\w+)", query)
        if operation:
            return operation[1]
        return "file_stream" if self.path.endswith("/file_stream") else self.path.split("/")[1]

    def read_content(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            content = b"".join(parts)
        else:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_packed = self.headers.get("Content-Encoding") == "gzip"
        return gzip.decompress(content) if is_packed else content

    def send(self, code, answer):
        content = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def data(self, name, given):
        if name in wandb_artifacts.OPERATIONS:
            return self.server.artifacts.answer(name, given, PROJECT, self.address)
        data = {
            "Viewer": {"viewer": VIEWER | {"teams": {"edges": []}}},
            "ServerFeaturesQuery": {"serverInfo": {"features": []}},
            "RunResumeStatus": {"model": {"bucket": None}},
        }
        if name == "UpsertBucket":
            run = self.server.runs.setdefault(given["name"], Run())
            run.told |= {key: value for key, value in given.items() if value is not None}
            bucket = {"id": "B", "name": given["name"], "displayName": given["displayName"]}
            bucket |= {"description": None, "config": "{}", "sweepName": None}
            bucket |= {"historyLineCount": 0, "project": PROJECT | {"name": given["project"]}}
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if name == "CreateRunFiles":
            self.server.runs[given["run"]].files += given["files"]
            files = [{"name": file, "uploadUrl": self.address(file)} for file in given["files"]]
            return {"createRunFiles": {"runID": "B", "uploadHeaders": [], "files": files}}
        return data.get(name, {})

    def address(self, file):
        return f"http://127.0.0.1:{self.server.server_port}/upload/{file}"

    def keep(self, told):
        run = self.server.runs.setdefault(self.path.split("/")[-2], Run())
        files = told.get("files", {})
        lines = files.get(HISTORY, {"offset": 0, "content": []})
        run.history |= {lines["offset"] + n: json.loads(t) for n, t in enumerate(lines["content"])}
        for text in files.get(SUMMARY, {}).get("content", []):
            run.summary = json.loads(text)
        if told.get("complete"):
            run.exit_code = told["exitcode"]


Fault = Callable[[Handler], None]


def hang(handler: Handler) -> None:
    """Take the request and never answer."""
    handler.server.ends.wait()


def reset(handler: Handler) -> None:
    """Break the connection off."""
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.close_connection = True
    handler.connection.close()


def answer(code: int) -> Fault:
    """Answer with an error."""

    def fault(handler: Handler) -> None:
        handler.send(code, {"errors": [{"message": "no"}], "error": "no"})

    return fault


def sign_in(handler: Handler) -> None:
    """Answer that all is well with the page of a network that wants a login first."""
    content = b"<html>Please sign in</html>"
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


class Server(ThreadingHTTPServer):
    """Keeps what it is asked and told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: dict[str, Fault] = {}
        self.latency_s = 0.0  # of each answer
        self.num_good_runs = 0  # before the first fault
        self.asked: list[str] = []
        self.runs: dict[str, Run] = {}
        self.artifacts = wandb_artifacts.Artifacts()
        self.ends = threading.Event()

    def environment(self, home) -> dict[str, str]:
        """Of a user who is logged in here."""
        here = {"WANDB_BASE_URL": f"http://127.0.0.1:{self.server_port}", "WANDB_MODE": "online"}
        return here | {"WANDB_API_KEY": "0" * 40, "HOME": str(home)}


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server, until the block ends."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.ends.set()
        server.shutdown()
        thread.join()
        server.server_close()
