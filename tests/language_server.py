"""A minimal client of the Language Server Protocol: one server process, requests in turn."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Client:
    """Starts a server and talks to it over stdio."""

    def __init__(self, command: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.count = 0
        self.notes: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.request(
            "initialize",
            {
                "processId": None,
                "rootUri": folder.as_uri(),
                "rootPath": str(folder),
                "capabilities": {},
            },
        )
        self.notify("initialized", {})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.communicate()

    def open(self, file: Path) -> None:
        document = {
            "uri": file.as_uri(),
            "languageId": "jsonc",
            "version": 1,
            "text": file.read_text(encoding="utf-8"),
        }
        self.notify("textDocument/didOpen", {"textDocument": document})

    def change(self, file: Path, text: str, version: int) -> None:
        document = {"uri": file.as_uri(), "version": version}
        changes = [{"text": text}]
        self.notify("textDocument/didChange", {"textDocument": document, "contentChanges": changes})

    def at(self, method: str, file: Path, line: int, column: int, **more: Any) -> Any:
        """Ask about a place; line and column from 0."""
        place = {
            "textDocument": {"uri": file.as_uri()},
            "position": {"line": line, "character": column},
        }
        return self.request(f"textDocument/{method}", {**place, **more})

    def request(self, method: str, params: Any) -> Any:
        self.count += 1
        number = self.count
        self._send({"id": number, "method": method, "params": params})
        while True:
            message = self._read()
            if message.get("id") == number and "method" not in message:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message.get("result")
            self.notes.append(message)

    def notify(self, method: str, params: Any) -> None:
        self._send({"method": method, "params": params})

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        stream = self.process.stdout
        assert stream is not None
        length = 0
        while True:
            line = stream.readline()
            if not line:
                assert self.process.stderr is not None
                raise RuntimeError(
                    f"the server ended: {self.process.stderr.read().decode()[-2000:]}"
                )
            if line == b"\r\n":
                break
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        message: dict[str, Any] = json.loads(stream.read(length))
        return message
