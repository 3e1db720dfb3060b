"""Tokenizers and models, loaded once in a process and shared while they are used."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx
from attrs import define, field, frozen
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id

from mellea_api import ModelNotFoundError
from mellea_api_hf.hub import check_model

logger = logging.getLogger("mellea_api.hf")

PATIENCE: Final = 10.0
"""Seconds for the Hub's first answer; downloads take their time."""


@frozen(kw_only=True)
class Recipe:
    """What to load, and how. Equal recipes give the same weights.

    Args:
        model_id: An id on the Hub, or a folder.
        revision: A branch, tag or commit on the Hub; None for the newest.
        device: `cpu`, `cuda`, `cuda:1`, `mps`; None for the best available.
        dtype: The type of the weights, such as `bfloat16`; `auto` is that of the checkpoint.
        trust_remote_code: Whether code that comes with the model may run.
        token: Opens gated and private models; None for that of huggingface_hub. It is not part
            of what is loaded.
        patience: Seconds for the Hub's first answer; not part of it either.
    """

    model_id: str
    revision: str | None = None
    device: str | None = None
    dtype: str = "auto"
    trust_remote_code: bool = False
    token: str | None = field(default=None, eq=False, repr=False)
    patience: float = field(default=PATIENCE, eq=False, repr=False)


@define(eq=False)
class Weights:
    """A tokenizer and a model in memory.

    Attributes:
        lock: Held while generating: one generation at a time.
    """

    tokenizer: Any
    model: Any
    device: Any
    lock: threading.RLock = field(factory=threading.RLock)

    @property
    def context_length(self) -> int | None:
        """Tokens that the model can see, or None if its configuration does not say."""
        found = getattr(self.model.config, "max_position_embeddings", None)
        return found if isinstance(found, int) else None


_loaded: Final[weakref.WeakValueDictionary[Recipe, Weights]] = weakref.WeakValueDictionary()
_loading: Final[dict[Recipe, threading.Lock]] = {}
_loading_lock: Final = threading.Lock()


def load(recipe: Recipe, *, share: bool = True) -> Weights:
    """Load weights, or return them if they are in memory.

    Progress goes to standard error (the bars of huggingface_hub and transformers) and to the log.
    Several threads may call it; the same recipe is then loaded once.

    Args:
        recipe: What to load.
        share: False always loads, and keeps the result from other sessions.

    Raises:
        ModelNotFoundError: If the id names a folder that does not exist, or has no model.
        OSError: As huggingface_hub and transformers raise it.
    """
    if not share:
        return _read(recipe)
    with _loading_lock:
        lock = _loading.setdefault(recipe, threading.Lock())
    with lock:
        found = _loaded.get(recipe)
        if found is None:
            found = _loaded[recipe] = _read(recipe)
        else:
            logger.debug("%s is in memory already", recipe.model_id)
        return found


def _read(recipe: Recipe) -> Weights:
    place = _place(recipe.model_id)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    common: dict[str, Any] = {
        "revision": recipe.revision or "main",
        "trust_remote_code": recipe.trust_remote_code,
        "token": recipe.token,
    }
    if not Path(place).is_dir():
        place = _cached_folder(recipe) or place
    began = time.monotonic()
    logger.info("loading %s", recipe.model_id)
    # The tokenizer first: it is small, and a wrong id or a closed gate shows at once.
    tokenizer = AutoTokenizer.from_pretrained(place, **common)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # else several prompts at once cannot be padded
    tokenizer.padding_side = "left"  # on the right, the answer would follow the padding
    device = torch.device(recipe.device or _best_device())
    model = AutoModelForCausalLM.from_pretrained(
        place, device_map=str(device), **common, **_dtype(recipe.dtype)
    ).eval()
    logger.info("loaded %s on %s in %.1f s", recipe.model_id, device, time.monotonic() - began)
    return Weights(tokenizer, model, device)


def _place(model_id: str) -> str:
    """Return the folder or the id; a path that does not exist is not looked for on the Hub."""
    path = Path(model_id).expanduser()
    folder = path.is_dir()
    if folder and (path / "config.json").is_file():
        return str(path)
    if folder or path.is_absolute() or model_id.startswith((".", "~")):
        lacks = f"The folder {model_id!r} has no config.json, so it has no model."
        raise ModelNotFoundError(
            lacks if folder else f"There is no folder {model_id!r}.",
            next_step="Give a folder that save_pretrained() wrote, or an id on the Hub such as "
            "meta-llama/Llama-3.2-3B-Instruct.",
        )
    return model_id


def _cached_folder(recipe: Recipe) -> str | None:
    """Ask the Hub for the model, once; return its folder in the cache if the Hub does not answer.

    transformers itself would try for half a minute, file by file, before it looks there.

    Raises:
        Exception: The Hub's refusal, or that it does not answer, if the cache has no such model.
    """
    name, revision = recipe.model_id, recipe.revision
    validate_repo_id(name)
    try:
        # A thread of its own, since an event loop may be running on this one.
        with ThreadPoolExecutor(1) as pool:
            question = check_model(name, revision, recipe.token)
            pool.submit(asyncio.run, asyncio.wait_for(question, recipe.patience)).result()
    except Exception as error:
        cached = try_to_load_from_cache(name, "config.json", revision=revision)
        if not isinstance(cached, str):
            raise
        if isinstance(error, httpx.HTTPStatusError):
            return None  # transformers goes on with what is in the cache
        if not isinstance(error, OfflineModeIsEnabled):
            logger.warning("The Hub cannot be reached; %s is taken from the cache.", name)
        return str(Path(cached).parent)
    return None


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _dtype(name: str) -> dict[str, str]:
    version = importlib.metadata.version("transformers").split(".")
    # 4.56 renamed the argument; the old name warns from then on.
    renamed = (int(version[0]), int(version[1])) >= (4, 56)
    return {"dtype" if renamed else "torch_dtype": name}


class _RandomLock:
    """A lock that many may share, or one may hold alone.

    torch has one random number generator in a process: a seeded generation gives the same answer
    again only if no other model uses the generator meanwhile.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sharing = 0
        self._alone = False

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._sharing += 1
        try:
            yield
        finally:
            with self._changed:
                self._sharing -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._alone = True  # before the wait, so that others cannot keep this one out
            self._changed.wait_for(lambda: self._sharing == 0)
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()


_random_lock: Final = _RandomLock()


@contextlib.contextmanager
def randomness(seed: int | None, device: Any) -> Iterator[None]:
    """Use a seed for the random numbers inside the block, and restore the program's own after it.

    Args:
        seed: The seed; None for no seed.
        device: The model's device.
    """
    if seed is None:
        with _random_lock.shared():
            yield
        return
    import torch

    forked: dict[str, Any] = {"devices": []}
    if device.type != "cpu":
        forked = {"devices": [device.index or 0], "device_type": device.type}
    with _random_lock.alone(), torch.random.fork_rng(**forked):
        torch.manual_seed(seed)
        yield
