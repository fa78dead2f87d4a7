"""A small Hub on loopback: serves saved models by the Hub's own protocol.

Run as a program it prints its address and serves the folder given: each `owner/name` below it
is a model. `gated/…` answers 403 as the Hub does for gated models, `broken/…` answers 500.
"""

import hashlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


class Handler(BaseHTTPRequestHandler):
    root: Path

    def do_GET(self):
        self.answer(with_body=True)

    def do_HEAD(self):
        self.answer(with_body=False)

    def answer(self, with_body):
        path = unquote(urlsplit(self.path).path).strip("/")
        if path.startswith("api/models/"):
            self.answer_about(path.removeprefix("api/models/").split("/"), with_body)
        elif "/resolve/" in path:
            name, _, rest = path.partition("/resolve/")
            self.send_file(name, rest.partition("/")[2], with_body)
        else:
            self.refuse(404, "EntryNotFound", with_body)

    def answer_about(self, parts, with_body):
        name, rest = "/".join(parts[:2]), parts[2:]
        folder = self.root / name
        if name.startswith("gated/"):
            return self.refuse(403, "GatedRepo", with_body)
        if name.startswith("broken/"):
            return self.refuse(500, None, with_body)
        if not folder.is_dir():
            return self.refuse(401, "RepoNotFound", with_body)
        files = [(path.relative_to(folder).as_posix(), path) for path in files_of(folder)]
        if rest[:1] == ["tree"]:
            return self.send_json(
                [
                    {"type": "file", "path": n, "size": p.stat().st_size, "oid": digest(p)[:40]}
                    for n, p in files
                ],
                with_body,
            )
        if rest[:1] == ["revision"] and rest[1] not in ("main", COMMIT):
            return self.refuse(404, "RevisionNotFound", with_body)
        return self.send_json(
            {"id": name, "sha": COMMIT, "siblings": [{"rfilename": n} for n, _ in files]},
            with_body,
        )

    def send_file(self, name, file, with_body):
        path = self.root / name / file
        if not path.is_file():
            return self.refuse(404, "EntryNotFound", with_body)
        body = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{digest(path)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if with_body:
            self.wfile.write(body)
        return None

    def send_json(self, value, with_body):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def refuse(self, status, code, with_body):
        body = json.dumps({"error": code or "internal"}).encode()
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *args):
        print(self.command, self.path, file=sys.stderr, flush=True)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    Handler.root = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
