"""A hub on the loopback device: as much of one as huggingface_hub and datasets ask, with faults.

    with serving() as hub:
        commit = hub.put("datasets", "me/texts", {"a.jsonl": b"..."})     # a commit on main
        hub.repositories["datasets", "me/texts"].is_gated = True
        hub.faults["cdn"] = cut(1000)                # or answer(503), reset, hang; see `Fault`
        hub.asked                                    # [Asked(name, method, path, range), ...]

Requests are named: info, tree, paths, refs, resolve, cdn (large files, which resolve sends the
client to), create, yaml, preupload, batch, upload, verify, commit, whoami, root; ANY is each.
A client is logged in whose token is TOKEN; WRITERS says who may write.
"""

import base64
import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

ANY = "any request"
TOKEN, READ_ONLY = "hf_" + "a" * 34, "hf_" + "b" * 34
LARGE = (".safetensors", ".parquet", ".gz", ".zst", ".bin")  # kept as LFS files
ROUTES = {  # name -> pattern of the path; `kind`, `id`, `revision`, `path` where there are
    "commit": r"/api/(?P<kind>\w+)/(?P<id>[^/]+/[^/]+)/commit/(?P<revision>[^/]+)",
    "preupload": r"/api/(?P<kind>\w+)/(?P<id>[^/]+/[^/]+)/preupload/(?P<revision>[^/]+)",
    "tree": r"/api/(?P<kind>\w+)/(?P<id>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)(?:/(?P<path>.*))?",
    "paths": r"/api/(?P<kind>\w+)/(?P<id>[^/]+/[^/]+)/paths-info/(?P<revision>[^/]+)",
    "refs": r"/api/(?P<kind>\w+)/(?P<id>[^/]+/[^/]+)/refs",
    "yaml": r"/api/validate-yaml",
    "create": r"/api/repos/create",
    "whoami": r"/api/whoami-v2",
    "info": r"/api/(?P<kind>models|datasets)/(?P<id>[^/]+(?:/[^/]+)?)"
    r"(?:/revision/(?P<revision>[^/]+))?",
    "batch": r"/(?:(?P<kind>datasets)/)?(?P<id>[^/]+/[^/]+)\.git/info/lfs/objects/batch",
    "upload": r"/upload/(?P<path>\w+)",
    "verify": r"/verify",
    "cdn": r"/cdn/(?P<path>\w+)",
    "resolve": r"/(?:(?P<kind>datasets)/)?(?P<id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)"
    r"/(?P<path>.+)",
    "root": r"/",
}


class Asked(NamedTuple):
    """A request."""

    name: str
    method: str
    path: str
    range: str | None


@dataclass
class Repository:
    """Its commits: files by path, and what branches and tags point to."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    is_gated: bool = False
    is_private: bool = False


class Refusal(Exception):
    """An answer other than 200: its code, and the hub's word for it."""

    def __init__(self, code: int, word: str = "", headers: Mapping[str, str] | None = None) -> None:
        self.code, self.word, self.headers = code, word, headers or {}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_large(path: str) -> bool:
    return path.endswith(LARGE)


class Handler(BaseHTTPRequestHandler):
    """Answers one request, or misbehaves."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def handle(self) -> None:
        """A client that hangs up is no news."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self) -> None:
        self.content = self.read_content()
        quoted = urlsplit(self.path).path  # a branch may have slashes, which are quoted
        name, found = next(
            ((n, m) for n, p in ROUTES.items() if (m := re.fullmatch(p, quoted))), ("other", None)
        )
        path = unquote(quoted)
        self.server.asked.append(Asked(name, self.command, path, self.headers.get("Range")))
        fault = self.server.faults.get(name) or self.server.faults.get(ANY)
        if fault is not None and fault(self):
            return
        at = found.groupdict() if found else {}
        self.at = {key: None if part is None else unquote(part) for key, part in at.items()}
        try:
            getattr(self, f"on_{name}", self.on_other)()
        except Refusal as refusal:
            self.send(refusal.code, {"error": refusal.word}, {**self.words(refusal)})

    do_GET = do_HEAD = do_POST = do_PUT = answer

    @staticmethod
    def words(refusal: Refusal) -> dict[str, str]:
        told = {"X-Error-Code": refusal.word} if refusal.word else {}
        return {**told, **refusal.headers}

    def read_content(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def send(self, code: int, told: object, headers: Mapping[str, str] | None = None) -> None:
        packed = told if isinstance(told, bytes) else json.dumps(told).encode()
        self.send_response(code)
        fixed = {} if isinstance(told, bytes) else {"Content-Type": "application/json"}
        for key, value in {"Content-Length": str(len(packed)), **fixed, **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(packed[: self.server.cut_after])

    # What is there

    def repository(self) -> Repository:
        """The one that is asked for, if the client may see it."""
        key = self.at.get("kind") or "models", self.at["id"]
        found = self.server.repositories.get(key)
        token = self.token()
        if found is None or (found.is_private and token is None):
            raise Refusal(404 if token else 401, "RepoNotFound")
        return found

    def token(self) -> str | None:
        word = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return word if word in (TOKEN, READ_ONLY) else None

    def files(self, *, are_read: bool = True) -> tuple[str, dict[str, bytes]]:
        """The commit and files of the revision that is asked for; those of a gated one have terms.

        `are_read`: as content, not only listed.
        """
        repository = self.repository()
        if repository.is_gated and are_read and self.token() is None:
            raise Refusal(401, "GatedRepo")
        revision = self.at.get("revision") or "main"
        commit = repository.refs.get(revision, revision)
        if commit not in repository.commits:
            raise Refusal(404, "RevisionNotFound")
        return commit, repository.commits[commit]

    def entry(self, path: str, content: bytes) -> dict[str, object]:
        plain = {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
        lfs = {"oid": sha256(content), "size": len(content), "pointerSize": 130}
        return plain | ({"lfs": lfs} if is_large(path) else {})

    def on_info(self) -> None:
        repository = self.repository()
        commit, files = self.files(are_read=False)
        self.send(
            200,
            {
                "_id": "1",
                "id": self.at["id"],
                "sha": commit,
                "private": repository.is_private,
                "gated": "auto" if repository.is_gated else False,
                "disabled": False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "siblings": [{"rfilename": path} for path in files],
            },
        )

    def on_tree(self) -> None:
        _, files = self.files(are_read=False)
        folder = self.at.get("path") or ""
        below = {p: c for p, c in files.items() if not folder or p.startswith(f"{folder}/")}
        if folder and not below:
            raise Refusal(404, "EntryNotFound")
        parents = {"/".join(p.split("/")[:n]) for p in below for n in range(1, p.count("/") + 1)}
        is_deep = (
            "true" in [w.lower() for w in parse_qs(urlsplit(self.path).query)["recursive"]]
            if "recursive" in self.path
            else False
        )
        depth = folder.count("/") + 1 if folder else 0
        entries = [{"type": "directory", "path": p, "size": 0, "oid": "0" * 40} for p in parents]
        entries += [self.entry(path, content) for path, content in below.items()]
        shown = [e for e in entries if is_deep or str(e["path"]).count("/") == depth]
        self.send(200, sorted(shown, key=lambda entry: str(entry["path"])))

    def on_paths(self) -> None:
        _, files = self.files(are_read=False)
        asked = json.loads(self.content) if self.content.startswith(b"{") else {}
        paths = asked.get("paths") or parse_qs(self.content.decode()).get("paths", [])
        folders = [p for p in paths if any(f.startswith(f"{p}/") for f in files)]
        told = [self.entry(path, files[path]) for path in paths if path in files]
        told += [{"type": "directory", "path": p, "size": 0, "oid": "0" * 40} for p in folders]
        self.send(200, told)

    def on_refs(self) -> None:
        refs = self.repository().refs.items()
        branches = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": c} for n, c in refs]
        self.send(200, {"branches": branches, "tags": [], "converts": []})

    def on_resolve(self) -> None:
        commit, files = self.files()
        path = self.at["path"]
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if path not in files:
            raise Refusal(404, "EntryNotFound", headers)
        content = files[path]
        if not is_large(path):
            self.send_part(content, {**headers, "ETag": f'"{git_oid(content)}"'})
            return
        self.server.objects[sha256(content)] = content
        linked = {"X-Linked-Etag": f'"{sha256(content)}"', "X-Linked-Size": str(len(content))}
        location = {"Location": f"{self.server.cdn}/{sha256(content)}"}
        self.send(302, b"", {**headers, **linked, **location})

    def on_cdn(self) -> None:
        self.send_part(self.server.objects[self.at["path"]], {"ETag": f'"{self.at["path"]}"'})

    def send_part(self, content: bytes, headers: Mapping[str, str]) -> None:
        """Send the range that is asked for, or all."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not asked:
            self.send(200, content, headers)
            return
        first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        if first >= len(content):
            raise Refusal(416, "", {"Content-Range": f"bytes */{len(content)}"})
        place = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
        self.send(206, content[first : last + 1], {**headers, **place})

    # What is brought

    def require_writer(self) -> None:
        if self.token() is None:
            raise Refusal(401, headers={"X-Error-Message": "Invalid username or password."})
        if self.token() == READ_ONLY:
            raise Refusal(403, headers={"X-Error-Message": "the token may not write here"})

    def on_whoami(self) -> None:
        self.require_writer()
        self.send(200, {"name": "me", "type": "user", "auth": {}})

    def on_create(self) -> None:
        self.require_writer()
        asked = json.loads(self.content)
        owner = asked.get("organization") or "me"
        key = f"{asked.get('type', 'model')}s", f"{owner}/{asked['name']}"
        told = {"url": f"{self.server.url}/{'/'.join(key)}", "name": key[1], "id": key[1]}
        if key in self.server.repositories:
            self.send(409, {**told, "error": "You already created this repo"})
            return
        is_private = asked.get("private") or asked.get("visibility") == "private"
        self.server.repositories[key] = Repository(is_private=bool(is_private))
        self.server.commit(*key, {".gitattributes": b""})
        self.send(200, told)

    def on_yaml(self) -> None:
        self.server.cards.append(json.loads(self.content)["content"])
        self.send(200, {"errors": [], "warnings": []})

    def on_preupload(self) -> None:
        self.require_writer()
        _, files = self.files()
        told = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if is_large(file["path"]) else "regular",
                "shouldIgnore": False,
                "oid": self.remote_oid(file["path"], files),
            }
            for file in json.loads(self.content)["files"]
        ]
        self.send(200, {"files": told})

    @staticmethod
    def remote_oid(path: str, files: Mapping[str, bytes]) -> str | None:
        if path not in files:
            return None
        return (sha256 if is_large(path) else git_oid)(files[path])

    def on_batch(self) -> None:
        self.require_writer()
        told = []
        for one in json.loads(self.content)["objects"]:
            upload = {"href": f"{self.server.url}/upload/{one['oid']}", "header": {}}
            verify = {"href": f"{self.server.url}/verify", "header": {}}
            is_there = one["oid"] in self.server.objects
            actions = {} if is_there else {"actions": {"upload": upload, "verify": verify}}
            told.append({**one, "authenticated": True, **actions})
        self.send(200, {"transfer": "basic", "objects": told})

    def on_upload(self) -> None:
        if sha256(self.content) != self.at["path"]:
            raise Refusal(400)
        self.server.objects[self.at["path"]] = self.content
        self.send(200, b"")

    def on_verify(self) -> None:
        told = json.loads(self.content)
        is_whole = len(self.server.objects.get(told["oid"], b"")) == told["size"]
        self.send(200 if is_whole else 404, {})

    def on_commit(self) -> None:
        self.require_writer()
        _, files = self.files()
        new = dict(files)
        for line in self.content.decode().splitlines():
            told = json.loads(line)
            if told["key"] == "file":
                new[told["value"]["path"]] = base64.b64decode(told["value"]["content"])
            elif told["key"] == "lfsFile":
                new[told["value"]["path"]] = self.server.objects[told["value"]["oid"]]
        commit = self.server.commit(self.at["kind"], self.at["id"], new)
        url = f"{self.server.url}/{self.at['kind']}/{self.at['id']}/commit/{commit}"
        self.send(200, {"commitUrl": url, "commitOid": commit, "success": True})

    def on_root(self) -> None:
        self.send(200, b"")

    def on_other(self) -> None:
        raise Refusal(404)


Fault = Callable[[Handler], bool]  # whether it took the request


def reset(handler: Handler) -> bool:
    """Break the connection off."""
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.close_connection = True
    handler.connection.close()
    return True


def hang(handler: Handler) -> bool:
    """Take the request and never answer."""
    handler.server.ends.wait()
    return True


def only(word: str, fault: Fault) -> Fault:
    """Misbehave where `word` is in the path."""
    return lambda handler: word in handler.path and fault(handler)


def answer(code: int, headers: Mapping[str, str] | None = None) -> Fault:
    """Answer with an error."""

    def fault(handler: Handler) -> bool:
        handler.send(code, {"error": "no"}, headers)
        return True

    return fault


def first(count: int, fault: Fault) -> Fault:
    """Misbehave so many times, then answer."""
    left = [count]

    def fault_at_first(handler: Handler) -> bool:
        left[0] -= 1
        return left[0] >= 0 and fault(handler)

    return fault_at_first


def cut(num_bytes: int) -> Fault:
    """Send so many bytes of a file that is longer, then break off."""

    def fault(handler: Handler) -> bool:
        content = handler.server.objects[urlsplit(handler.path).path.rpartition("/")[2]]
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:num_bytes])
        handler.wfile.flush()
        handler.close_connection = True
        return True

    return fault


class Server(ThreadingHTTPServer):
    """Keeps what it is asked and told."""

    daemon_threads = True
    request_queue_size = 64
    cut_after: int | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        # Another host, as the hub sends its clients to: they follow redirects of its own unasked.
        self.cdn = f"http://localhost:{self.server_port}/cdn"
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.objects: dict[str, bytes] = {}  # large files by their hash
        self.faults: dict[str, Fault] = {}
        self.asked: list[Asked] = []
        self.cards: list[str] = []  # whose YAML was to be validated
        self.ends = threading.Event()

    def put(
        self, kind: str, name: str, files: Mapping[str, bytes] | Path, commit: str | None = None
    ) -> str:
        """Make a commit on main that holds `files` (a folder's) and nothing else; return it."""
        if isinstance(files, Path):
            found = [path for path in files.rglob("*") if path.is_file()]
            files = {path.relative_to(files).as_posix(): path.read_bytes() for path in found}
        self.repositories.setdefault((kind, name), Repository())
        return self.commit(kind, name, files, commit)

    def commit(
        self, kind: str, name: str, files: Mapping[str, bytes], commit: str | None = None
    ) -> str:
        repository = self.repositories[kind, name]
        listed = "".join(f"{path} {sha256(files[path])}\n" for path in sorted(files))
        commit = commit or hashlib.sha1(f"{kind} {name} {listed}".encode()).hexdigest()
        repository.commits[commit] = dict(files)
        repository.refs["main"] = commit
        return commit

    def names(self, method: str | None = None) -> list[str]:
        """The names of all requests, in order."""
        return [asked.name for asked in self.asked if method in (None, asked.method)]

    def environment(self, home: object, token: str | None = None) -> dict[str, str]:
        """Of a process whose hub this is, with a cache of its own below `home`."""
        own = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
        quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        network = {"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}
        return {**own, **quiet, **network, **({"HF_TOKEN": token} if token else {})}


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A hub, until the block ends."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.ends.set()
        server.shutdown()
        thread.join()
        server.server_close()
