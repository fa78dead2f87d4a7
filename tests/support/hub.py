"""A small Hub on loopback: serves saved models by the Hub's own protocol, with faults on demand.

It runs in threads of this process; who loads from it may be in this process or another. Large files
lie on a second port, as the Hub's lie on another host.
"""

import functools
import hashlib
import json
import re
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors", ".bin", ".model")  # stored as LFS does, by sha256
NAME = "[^/]+(?:/(?!revision|tree|auth-check|resolve)[^/]+)?"  # of a model, with its owner or not
SLICE = 64 * 1024  # bytes sent at once


@dataclass(frozen=True)
class Fault:
    """What goes wrong: an answer instead of the right one, or damage to the right one."""

    at: str  # which requests, a pattern: GET or HEAD; info, tree, auth-check, file or weights
    status: int | None = None
    code: str | None = None
    message: str | None = None
    headers: dict = field(default_factory=dict)
    damage: str | None = None  # "stall", "cut", "spoil", "shorten"
    times: float = float("inf")  # how often, before all is well


INVALID_TOKEN = "Invalid credentials in Authorization header"
FAULTS = {
    "bad token": Fault(".*", 401, message=INVALID_TOKEN),
    "gated": Fault(
        ".* (auth-check|file|weights)", 403, "GatedRepo", "Access to this model is restricted"
    ),
    "gone": Fault(".*", 404, "RepoNotFound", "Repository not found"),
    "disabled": Fault(".*", 403, message="Access to this resource is disabled."),
    "busy": Fault("GET (info|tree)", 429, headers={"Retry-After": "1"}, times=1),
    "busy files": Fault(".* (file|weights)", 429, headers={"Retry-After": "1"}, times=2),
    "busy for an hour": Fault("GET info", 429, headers={"Retry-After": "3600"}),
    "files busy for an hour": Fault(".* (file|weights)", 429, headers={"Retry-After": "3600"}),
    "rate limit": Fault("GET info", 429, headers={"RateLimit": '"api";r=0;t=287'}),
    "broken twice": Fault("GET info", 500, times=2),
    "broken list": Fault("GET tree", 500, times=2),
    "broken weights": Fault("GET weights", 500, times=2),
    "broken": Fault(".*", 500),
    "stalled": Fault("GET info", damage="stall"),
    "stalled files": Fault("HEAD weights", damage="stall"),
    "stalled mid file": Fault("GET weights", damage="stall"),
    "cut once": Fault("GET weights", damage="cut", times=1),
    "cut": Fault("GET weights", damage="cut"),
    "shorter": Fault("GET weights", damage="shorten"),
    "wrong checksum": Fault("GET weights", damage="spoil"),
    "nonsense": Fault("GET info", 200, message="<html>Sign in to this network</html>"),
}


class Hub:
    """A Hub with the models of a folder, each `owner/name` below it; closed with its context."""

    def __init__(self, root):
        self.root = Path(root)
        self.faults = {}  # model → [Fault, how often it struck]
        self.speeds = {}  # model → bytes per second
        self.log = []
        self.asked = threading.Condition()  # told of every request
        self.lock = threading.Lock()
        self.is_closed = threading.Event()
        self._servers = ExitStack()
        answering = type("Answering", (Handler,), {"hub": self})
        answering.storage, self.address = (self._serve(answering) for _ in range(2))

    def _serve(self, handler):
        server = Server(("127.0.0.1", 0), handler)
        self._servers.callback(server.server_close)
        self._servers.callback(server.shutdown)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.is_closed.set()
        self._servers.close()

    def control(self, model, **changes):
        """Let a fault of the table strike what is asked of a model, or none; slow its files."""
        if "fault" in changes:
            name = changes["fault"]
            self.faults[model] = [FAULTS[name], 0] if name else None
        if "bytes_per_second" in changes:
            self.speeds[model] = changes["bytes_per_second"]

    def requests(self, model):
        """What was asked about a model, in order: [{"method", "path", "range"}]."""
        return [asked for asked in list(self.log) if f"/{model}/" in asked["path"] + "/"]

    def weights_asked_for(self, model):
        """From which byte on the weights of a model were asked for, each time: None, the first."""
        return [
            asked["range"]
            for asked in self.requests(model)
            if asked["method"] == "GET" and asked["path"].startswith("/storage/")
        ]

    def fault_for(self, model, request):
        """The fault that strikes this request, if any; counts it."""
        with self.lock:
            fault, struck = self.faults.get(model) or (None, 0)
            if fault is None or struck >= fault.times or not re.fullmatch(fault.at, request):
                return None
            self.faults[model][1] += 1
            return fault

    def files(self, model):
        folder = self.root / model
        return {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*"))}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    storage: str  # the address of large files

    def do_GET(self):
        self.answer()

    def do_HEAD(self):
        self.answer()

    def answer(self):
        if self.hub.is_closed.is_set():
            raise ConnectionError("there is no Hub any more")
        url = urlsplit(self.path)
        path = unquote(url.path)
        entry = {"method": self.command, "path": path, "range": self.headers.get("Range")}
        with self.hub.asked:
            self.hub.log.append(entry)
            self.hub.asked.notify_all()
        if asked := re.fullmatch(rf"/api/models/({NAME})(/.*)?", path):
            return self.answer_about(asked[1], (asked[2] or "/revision/main")[1:], url.query)
        if asked := re.fullmatch(rf"/({NAME})/resolve/([^/]+)/(.+)", path):
            return self.answer_file(asked[1], asked[3], stored_here=False)
        if asked := re.fullmatch(rf"/storage/({NAME})/(.+)", path):
            return self.answer_file(asked[1], asked[2], stored_here=True)
        return self.refuse(404, "EntryNotFound", "Entry not found")

    def answer_about(self, model, what, query):
        kind, _, revision = what.partition("/")
        kind = {"revision": "info"}.get(kind, kind)
        fault = self.hub.fault_for(model, f"{self.command} {kind}")
        if fault is not None:
            return self.strike(fault)
        if not (self.hub.root / model).is_dir():
            known = "Authorization" in self.headers  # who gives no token is not told what there is
            return self.refuse(404 if known else 401, "RepoNotFound", "Repository not found")
        if revision not in ("", "main", COMMIT):
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        files = {name: p for name, p in self.hub.files(model).items() if p.is_file()}
        if kind == "tree":
            return self.send_json([listed(name, path) for name, path in files.items()])
        fault, _ = self.hub.faults.get(model) or (None, 0)
        info = {"_id": "0", "id": model, "modelId": model, "sha": COMMIT, "private": False}
        info["gated"] = "manual" if fault is FAULTS["gated"] else False
        with_sizes = "blobs" in parse_qs(query)
        info["siblings"] = [sibling(name, path, with_sizes) for name, path in files.items()]
        if weights := [path for name, path in files.items() if name.endswith(".safetensors")]:
            n = sum(n_parameters(path) for path in weights)
            info["safetensors"] = {"parameters": {"F32": n}, "total": n}
        return self.send_json(info)

    def answer_file(self, model, name, stored_here):
        path = self.hub.files(model).get(name)
        if path is None or not path.is_file():
            return self.refuse(404, "EntryNotFound", "Entry not found")
        oid, sha256 = digests(path)
        headers = {"X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes", "ETag": f'"{oid}"'}
        is_large = name.endswith(LARGE)
        if is_large and not stored_here:
            headers |= {"X-Linked-Size": path.stat().st_size, "X-Linked-ETag": f'"{sha256}"'}
            headers["Location"] = f"{self.storage}/storage/{model}/{name}"
        kind = "weights" if is_large else "file"
        fault = self.hub.fault_for(model, f"{self.command} {kind}")
        if fault is not None and (fault.damage is None or self.command == "HEAD"):
            return self.strike(fault)
        if "Location" in headers:
            return self.send(302, b"", headers)
        body, status = path.read_bytes(), 200
        if fault is not None and fault.damage == "spoil":
            body = body[:-1] + bytes([body[-1] ^ 1])
        if fault is not None and fault.damage == "shorten":
            body = body[: len(body) // 2]
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start, size = int(asked[1]), len(body)
            if start >= size:
                return self.refuse(416, None, "Range not satisfiable")
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
            body, status = body[start:], 206
        return self.send(status, body, headers, fault, model)

    def strike(self, fault):
        if fault.damage == "stall":
            return self.stall()
        if fault.status == 200:
            return self.send(200, fault.message.encode(), {"Content-Type": "text/html"})
        return self.refuse(fault.status, fault.code, fault.message, fault.headers)

    def refuse(self, status, code, message, headers=()):
        headers = dict(headers)
        if code:
            headers["X-Error-Code"] = code
        if message:
            headers["X-Error-Message"] = message
        self.send(status, json.dumps({"error": message or "Internal error"}).encode(), headers)

    def send_json(self, value):
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, status, body, headers, fault=None, model=None):
        self.send_response(status)
        for name, value in (dict(headers) | {"Content-Length": len(body)}).items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "HEAD":
            return
        stops = fault is not None and fault.damage in ("stall", "cut")
        end = len(body) // 2 if stops else len(body)
        for start in range(0, end, SLICE):
            part = body[start : min(start + SLICE, end)]
            self.wfile.write(part)
            if bytes_per_second := self.hub.speeds.get(model):  # by now
                self.hub.is_closed.wait(len(part) / bytes_per_second)
        if stops and fault.damage == "stall":
            self.stall()
        self.close_connection = self.close_connection or stops

    def stall(self):
        """Says nothing until the other side hangs up."""
        self.wfile.flush()
        self.connection.settimeout(300)
        self.close_connection = True
        self.rfile.read(1)

    def handle(self):
        with suppress(ConnectionError, TimeoutError):  # the other side hung up
            super().handle()

    def log_message(self, *args):
        pass


# What the Hub says about files


@functools.cache
def _digests(path, modified):
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    blob = content
    if path.name.endswith(LARGE):  # git has a pointer in its place
        blob = pointer(sha256, len(content))
    return hashlib.sha1(b"blob %d\0" % len(blob) + blob).hexdigest(), sha256


def digests(path):
    """Git's id of a file, and the sha256 of its content."""
    return _digests(path, path.stat().st_mtime_ns)


def pointer(sha256, size):
    return (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    )


def listed(name, path):
    """A file as `/tree` lists it."""
    oid, sha256 = digests(path)
    size = path.stat().st_size
    entry = {"type": "file", "path": name, "size": size, "oid": oid}
    if name.endswith(LARGE):
        entry["lfs"] = {"oid": sha256, "size": size, "pointerSize": len(pointer(sha256, size))}
    return entry


def sibling(name, path, with_sizes):
    """A file as the description of a model lists it."""
    if not with_sizes:
        return {"rfilename": name}
    entry = listed(name, path)
    told = {"rfilename": name, "size": entry["size"], "blobId": entry["oid"]}
    if "lfs" in entry:
        told["lfs"] = entry["lfs"] | {"sha256": entry["lfs"]["oid"]}
    return told


def n_parameters(path):
    """How many numbers a safetensors file holds, by its header."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    ends = [tensor["data_offsets"][1] - tensor["data_offsets"][0] for tensor in header.values()]
    return sum(ends) // 4  # tiny models are in float32


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # connections that wait; beyond them a visitor's attempt is lost
