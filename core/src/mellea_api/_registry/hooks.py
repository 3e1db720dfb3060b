"""The hooks of one backend: asked with care, and held to the contract."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any, TypeVar

import pluggy

from mellea_api._contract.errors import MelleaAPIError, PluginError
from mellea_api._contract.refusals import completed
from mellea_api._contract.requests import (
    CredentialRequest,
    ErrorRequest,
    ModelsRequest,
    SessionRequest,
)
from mellea_api._provider.refusals import by_kind, caused
from mellea_api._registry.discovery import EntryPoint
from mellea_api._registry.loading import broken
from mellea_api._secrecy.logs import logger, mask_sdk_records
from mellea_api._secrecy.veil import veiled

Answer = TypeVar("Answer")

_OPERATIONS: Any = {
    "create_session": "session",
    "list_models": "models",
    "validate_credentials": "credentials",
}


class Hooks:
    """What a backend's plugin, the extensions and the core answer together. Safe to share.

    Args:
        entry_point: Where the plugin comes from.
        manager: Its plugin manager: core defaults, the plugin, the extensions.
        extensions: Where the extensions come from, by their names in the manager.
    """

    def __init__(
        self,
        entry_point: EntryPoint,
        manager: pluggy.PluginManager,
        extensions: Mapping[str, EntryPoint],
    ) -> None:
        self._entry_point = entry_point
        self._manager = manager
        self._extensions = dict(extensions)

    def answering(self, hook: str) -> int:
        """Return how many answer a hook: the core's default, if there is one, among them."""
        return len(self._implementations(hook))

    def ask(self, hook: str, expected: type[Answer], **arguments: Any) -> Answer | None:
        """Call a hook; hold the plugin to the type of its answer, and its exceptions at bay.

        Args:
            hook: Its name.
            expected: The type of its answer.
            arguments: Its arguments.

        Returns:
            The answer, or None.

        Raises:
            PluginError: If the plugin, or an extension, raised or returned something else.
            MelleaAPIError: What a hook raised of the library's own.
        """
        failure: MelleaAPIError
        try:
            answer = getattr(self._manager.hook, hook)(**arguments)
        except MelleaAPIError as error:
            asked = arguments.get("request")
            failure = veiled(error if asked is None else completed(error, asked.target))
        except (Exception, SystemExit) as error:
            culprit = self._culprit(hook, error)
            failure = broken(culprit, f"{hook} raised {type(error).__name__}: {error}")
            failure = caused(failure, error)
        else:
            if answer is None or isinstance(answer, expected):
                return answer
            failure = self.wrong(hook, answer, expected.__name__)
        raise failure

    def wrong(self, hook: str, answer: object, expected: str) -> PluginError:
        """Return the error for an answer of a wrong type."""
        return self.blamed(
            hook, f"{hook} returned a {type(answer).__name__} instead of a {expected}"
        )

    def blamed(self, hook: str, reason: str) -> PluginError:
        """Return the error for an answer that is none, on whoever may have given it.

        Args:
            hook: The hook's name.
            reason: What is wrong: the end of a sentence.
        """
        names = {found.plugin_name for found in self._implementations(hook)}
        extensions = [entry for name, entry in self._extensions.items() if name in names]
        if self._entry_point.name in names or not extensions:
            return broken(self._entry_point, reason, *extensions)
        return broken(extensions[0], reason, *extensions[1:])

    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        found: list[pluggy.HookImpl] = getattr(self._manager.hook, hook).get_hookimpls()
        return found

    def _culprit(self, hook: str, error: BaseException) -> EntryPoint:
        """Return whose code raised: an extension's, or else the backend's plugin's."""
        owners = {
            getattr(found.function, "__code__", None): self._extensions.get(found.plugin_name)
            for found in self._implementations(hook)
        }
        culprit: EntryPoint | None = None
        # The innermost one: a wrapper stands in the traceback of what it wraps, too.
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if frame.f_code in owners:
                culprit = owners[frame.f_code]
        if culprit is None and isinstance(error, RuntimeError):
            # A wrapper that yields never or twice is not in the traceback: pluggy says where it is.
            for code, owner in owners.items():
                if code and f"{code.co_filename}:{code.co_firstlineno} " in str(error):
                    culprit = owner
        return culprit or self._entry_point

    def ask_provider(
        self, hook: str, request: SessionRequest | ModelsRequest | CredentialRequest
    ) -> Any:
        """Call a hook that may talk to the provider; raise what it raises in our terms.

        Args:
            hook: Its name.
            request: Its request.

        Raises:
            MelleaAPIError: What happened; the class says what it was.
        """
        mask_sdk_records()
        failure: MelleaAPIError
        try:
            return getattr(self._manager.hook, hook)(request=request)
        except MelleaAPIError as error:
            failure = veiled(completed(error, request.target, request.timeout))
        except (Exception, SystemExit) as error:
            failure = self._in_our_terms(hook, request, error)
        raise failure

    def _in_our_terms(self, hook: str, request: Any, error: BaseException) -> MelleaAPIError:
        asked = ErrorRequest(
            target=request.target, operation=_OPERATIONS[hook], error=error, timeout=request.timeout
        )
        failure = self.translate(asked)
        if failure is None:
            culprit = self._culprit(hook, error)
            failure = broken(culprit, f"{hook} failed with {type(error).__name__}: {error}")
        return caused(failure, error)

    def translate(self, request: ErrorRequest) -> MelleaAPIError | None:
        """Translate an SDK's exception into one of our errors; None if it is unknown."""
        try:
            error = self.ask("translate_error", MelleaAPIError, request=request)
            return error and completed(error, request.target, request.timeout)
        except PluginError as error:
            # What the provider said must not be lost behind a plugin's mistake.
            logger.error("%s", error)
            return by_kind(request)
