"""A loopback Hugging Face Hub, with the endpoints that huggingface_hub calls for one model and for lists.

It answers as the Hub does where it matters: the codes in `X-Error-Code`, 401 for who is unknown and 403 for who was not
let in, the commit and ETag headers of a file, and a redirect to nowhere.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from support.http import LoopbackServer, Recorded, Reply

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GOOD, STRANGER = "hf_goodgoodgoodgoodgoodgood", "hf_strangerstrangerstranger"
"""Tokens that the Hub knows; only the owner of the first was let in to gated models."""


class HubServer(LoopbackServer):
    """A Hub with the models of some folders.

    Args:
        models: Folders by id.
        gated: Ids of the models that only the token `GOOD` opens.
        renamed: New ids by old one: the Hub redirects callers to the new one.
        commit: The only commit of each model.
    """

    def __init__(
        self,
        models: dict[str, Path],
        gated: frozenset[str] = frozenset(),
        renamed: dict[str, str] | None = None,
        commit: str = COMMIT,
    ) -> None:
        super().__init__()
        self.commit = commit
        self.models = models
        self.gated = gated
        self.renamed = renamed or {}

    def handle(self, request: Recorded) -> Reply:
        """See the base class."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        if token and token not in (GOOD, STRANGER):
            return self._error(401, "", "Invalid credentials in Authorization header")
        path = unquote(request.path)
        for old, new in self.renamed.items():
            if f"{old}/" in f"{path}/":
                return Reply(307, text="moved", headers={"location": path.replace(old, new)})
        if path == "/api/whoami-v2":
            if not token:
                return self._error(401, "", "Invalid username or password.")
            name = "good" if token == GOOD else "stranger"
            return Reply(json={"type": "user", "name": name, "auth": {"type": "access_token"}})
        if path == "/api/models":
            return Reply(json=[self._info(name) for name in self._found(request)])
        api = path.startswith("/api/models/")
        path = path.removeprefix("/api/models/").removeprefix("/")
        model = "/".join(path.split("/")[:2])
        rest = path.split("/")[2:]
        if model not in self.models:
            # Who is unknown is not told whether a model is private or not there.
            return self._error(404 if token else 401, "RepoNotFound", "Repository not found")
        info = api and (not rest or rest[0] == "revision")
        if model in self.gated and token != GOOD and not info:
            return self._error(
                403 if token else 401,
                "GatedRepo",
                f"Access to model {model} is restricted. You must be authenticated to access it.",
            )
        return self._api(model, rest) if api else self._file(model, rest, request.method)

    def _found(self, request: Recorded) -> list[str]:
        wanted = request.query.get("search", "").lower()
        names = [name for name in self.models if wanted in name.lower()]
        return names[: int(request.query.get("limit", 1000))]

    def _info(self, model: str) -> dict[str, Any]:
        return {
            "_id": "1",
            "id": model,
            "modelId": model,
            "sha": self.commit,
            "private": False,
            "gated": "auto" if model in self.gated else False,
            "downloads": 1234,
            "likes": 5,
            "tags": ["text-generation"],
            "pipeline_tag": "text-generation",
            "library_name": "transformers",
            "siblings": [{"rfilename": file.name} for file in self._files(model)],
        }

    def _files(self, model: str) -> list[Path]:
        return sorted(file for file in self.models[model].iterdir() if file.is_file())

    def _api(self, model: str, rest: list[str]) -> Reply:
        if rest[:1] == ["auth-check"]:
            return Reply(json={})
        if rest[:1] == ["tree"]:
            if rest[2:]:  # a folder inside; these models have none
                return self._error(404, "EntryNotFound", "Entry not found")
            return Reply(
                json=[
                    {
                        "type": "file",
                        "path": file.name,
                        "size": file.stat().st_size,
                        "oid": _etag(file),
                    }
                    for file in self._files(model)
                ]
            )
        if not rest or (rest[0] == "revision" and rest[1] in ("main", self.commit)):
            return Reply(json=self._info(model))
        return self._error(404, "RevisionNotFound", f"Invalid rev id: {'/'.join(rest[1:])}")

    def _file(self, model: str, rest: list[str], method: str) -> Reply:
        if rest[:1] != ["resolve"] or len(rest) < 3:
            return self._error(404, "EntryNotFound", "Entry not found")
        if rest[1] not in ("main", self.commit):
            return self._error(404, "RevisionNotFound", f"Invalid rev id: {rest[1]}")
        file = self.models[model] / "/".join(rest[2:])
        if not file.is_file():
            return self._error(404, "EntryNotFound", "Entry not found")
        headers = {
            "X-Repo-Commit": self.commit,
            "ETag": f'"{_etag(file)}"',
            "Accept-Ranges": "bytes",
        }
        if method == "HEAD":
            return Reply(body=b"", headers={**headers, "Content-Length": str(file.stat().st_size)})
        return Reply(body=file.read_bytes(), headers=headers)

    def _error(self, status: int, code: str, message: str) -> Reply:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        return Reply(status, json={"error": message}, headers=headers)


def _etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
