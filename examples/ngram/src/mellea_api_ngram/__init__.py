"""The n-gram backend of mellea-api: a tiny language model inside the process, and an example.

This module is what the entry point names: it is light, and holds the hooks. `options` says what
the model does with each option, `models` is the catalogue, and `backend` alone imports Mellea.
The model itself is `model` and `sampling`, in plain Python; `primer.txt` is all it has read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mellea_api import SessionRequest
from mellea_api.plugin import BackendDescriptor, hookimpl
from mellea_api_ngram.models import CATALOGUE
from mellea_api_ngram.options import RULES

if TYPE_CHECKING:
    from mellea import MelleaSession

__all__ = ["create_session", "describe_backend"]


@hookimpl
def describe_backend(name: str) -> BackendDescriptor:
    """Describe the backend: it needs no server and no key, so there is little to say."""
    return BackendDescriptor(
        name=name,
        summary="Tiny n-gram models inside the process: no server, no key, no download",
        default_model=CATALOGUE[0].id,
        options=RULES,
        models=CATALOGUE,
    )


@hookimpl
def create_session(request: SessionRequest) -> MelleaSession:
    """Create a session; the first one for a model trains it."""
    from mellea_api_ngram import backend

    return backend.create_session(request)
