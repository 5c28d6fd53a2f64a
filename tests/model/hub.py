"""A Hub of one repository on this machine."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REPOSITORY = "someone/some-model"
COMMIT = "a" * 40


@contextmanager
def serve_hub(repository: Path) -> Iterator[str]:
    """Serve a folder as the repository `REPOSITORY`; gives the endpoint."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *said: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self.wfile.write(self._answer())

        def _answer(self) -> bytes:
            path = self.path.split("?")[0]
            if path.startswith(f"/{REPOSITORY}/resolve/"):
                return self._file(repository / path.split("/resolve/")[1].split("/", 1)[1])
            if path.startswith(f"/api/models/{REPOSITORY}/"):
                about = _tree(repository) if "/tree/" in path else _about(repository)
                return self._send(200, json.dumps(about).encode(), {"Content-Type": "application/json"})
            return self._send(404, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})

        def _file(self, path: Path) -> bytes:
            content = path.read_bytes()
            etag = hashlib.sha1(content).hexdigest()
            return self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})

        def _send(self, status: int, content: bytes, headers: dict[str, str]) -> bytes:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            return content

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def locate_with(endpoint: str, home: Path, name: str) -> str:
    """What `locate` says of a name in a process that knows this Hub only: a folder, or an error."""
    code = (
        "import sys\n"
        "from st_llm_cli.errors import CheckpointError\n"
        "from st_llm_cli.model.locate import locate\n"
        "try: print(locate(sys.argv[1]))\n"
        "except CheckpointError as error: print(error)\n"
    )
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    environment.pop("HF_HUB_OFFLINE", None)
    ran = subprocess.run(
        [sys.executable, "-c", code, name], env=environment, capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


def _files(repository: Path) -> list[Path]:
    return [path for path in sorted(repository.rglob("*")) if path.is_file()]


def _tree(repository: Path) -> list[dict[str, object]]:
    return [
        {
            "type": "file",
            "path": path.relative_to(repository).as_posix(),
            "size": path.stat().st_size,
            "oid": "0" * 40,
        }
        for path in _files(repository)
    ]


def _about(repository: Path) -> dict[str, object]:
    names = [path.relative_to(repository).as_posix() for path in _files(repository)]
    return {"id": REPOSITORY, "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
