"""Call the hooks of one backend: catch exceptions, check the types of answers."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

import pluggy

from mellea_api._contract.address import shown_address
from mellea_api._contract.errors import MelleaAPIError, PluginError
from mellea_api._contract.refusals import completed
from mellea_api._contract.requests import (
    Asking,
    CredentialRequest,
    ErrorRequest,
    ModelsRequest,
    SessionRequest,
    asking,
)
from mellea_api._provider.exceptions import by_kind, caused
from mellea_api._registry import defaults
from mellea_api._registry.discovery import EntryPoint
from mellea_api._registry.loading import broken, load_implementation, new_manager
from mellea_api._secrecy.logs import logger, mask_sdk_records, register_sdk
from mellea_api._secrecy.veil import veiled

Answer = TypeVar("Answer")

CORE: Final = "mellea-api"
IMPLEMENTATION: Final = "implementation"
"""Names in a plugin manager: the core's defaults, and the module with the hooks of an SDK."""

_OPERATIONS: Any = {
    "create_session": "session",
    "list_models": "models",
    "validate_credentials": "credentials",
}


class Hooks:
    """The hooks of a backend's plugin, of the extensions and of the core. Safe to share.

    Args:
        entry_point: Where the plugin comes from.
        plugin: The plugin, without its implementation.
        extensions: Name, plugin and entry point of each extension, in the order of asking.
    """

    def __init__(
        self,
        entry_point: EntryPoint,
        plugin: object,
        extensions: Sequence[tuple[str, object, EntryPoint]] = (),
    ) -> None:
        self._entry_point = entry_point
        self._plugins = ((CORE, defaults), (entry_point.name, plugin))
        self._outer = tuple((name, extension) for name, extension, _ in reversed(extensions))
        self._extensions = {name: entry for name, _, entry in extensions}
        self._implementation = ""
        # Pluggy asks what was registered last first; extensions are asked in name order.
        self._manager = self._new_manager()
        self._all: pluggy.PluginManager | None = None

    def _new_manager(self, *implementation: tuple[str, object]) -> pluggy.PluginManager:
        try:
            return new_manager(*self._plugins, *implementation, *self._outer)
        except Exception as error:
            said = str(error).partition("\n")[0]  # below, pluggy lists all plugins
            raise broken(self._entry_point, f"pluggy refuses it: {said}") from error

    def implemented_in(self, module: str, sdk: Iterable[str]) -> None:
        """Take note of the module with the hooks that need an SDK.

        Args:
            module: Its name; empty if the plugin itself has all hooks.
            sdk: The packages whose loggers may show secrets.

        Raises:
            PluginError: If neither it nor the plugin can create sessions.
        """
        register_sdk(self._entry_point.value.partition(":")[0].partition(".")[0], sdk)
        self._implementation = module
        if not module and not self._own("create_session"):
            raise broken(self._entry_point, "it lacks the required hook create_session")

    def loaded(self) -> pluggy.PluginManager:
        """Return the manager that has the implementation too, which is imported for that.

        Raises:
            PluginError: If the implementation cannot be used.
        """
        if self._all is None:
            # Under no lock of ours: Python has one for each module, and a thread that holds the
            # implementation's may ask for a backend. Two threads make two equal managers.
            if self._implementation:
                module = load_implementation(self._entry_point, self._implementation)
                made = self._new_manager((IMPLEMENTATION, module))
                if not made.hook.create_session.get_hookimpls():
                    raise broken(self._entry_point, "it lacks the required hook create_session")
                self._all = made
            else:
                self._all = self._manager
        return self._all

    def answering(self, hook: str) -> int:
        """Return how many answer a hook: the core's default, if there is one, among them."""
        return len(self._implementations(hook))

    def takes(self, hook: str, argument: str) -> bool:
        """Return whether an implementation of a hook names an argument."""
        return any(argument in found.argnames for found in self._implementations(hook))

    def _own(self, hook: str) -> list[pluggy.HookImpl]:
        return [
            found
            for found in self._implementations(hook)
            if found.plugin_name in (self._entry_point.name, IMPLEMENTATION)
        ]

    def ask(self, hook: str, expected: type[Answer], **arguments: Any) -> Answer | None:
        """Call a hook that needs no SDK: catch its exceptions, and check the type of its answer.

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
        return self._ask(self._manager, hook, expected, **arguments)

    def _ask(
        self, manager: pluggy.PluginManager, hook: str, expected: type[Answer], **arguments: Any
    ) -> Answer | None:
        failure: MelleaAPIError
        try:
            answer = getattr(manager.hook, hook)(**arguments)
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
        """Return the error for an answer that cannot be used, naming whoever may have given it.

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
        manager = self._all or self._manager
        found: list[pluggy.HookImpl] = getattr(manager.hook, hook).get_hookimpls()
        return found

    def _culprit(self, hook: str, error: BaseException) -> EntryPoint:
        """Return whose code raised: an extension's, or else the backend's plugin's."""
        owners = {
            getattr(inspect.unwrap(found.function), "__code__", None): self._extensions.get(
                found.plugin_name
            )
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
        self,
        hook: str,
        request: SessionRequest | ModelsRequest | CredentialRequest,
        *,
        asks: bool = True,
    ) -> Any:
        """Call a hook that may ask the provider; turn its exceptions into our errors.

        Args:
            hook: Its name.
            request: Its request.
            asks: Whether it may ask; if not, the implementation is not imported for it.

        Raises:
            MelleaAPIError: What happened; the class says what it was.
        """
        manager = self.loaded() if asks else self._manager
        mask_sdk_records()
        current = asking.get()
        if current is None:
            token = asking.set(Asking(request.timeout))
            try:
                return self._ask_provider(manager, hook, request)
            finally:
                asking.reset(token)
        return self._ask_provider(manager, hook, request)

    def probe(self, request: CredentialRequest) -> Any:
        """Ask the provider whether credentials work: by the plugin's hook, else by its list.

        Raises:
            MelleaAPIError: What happened; the class says what it was.
        """
        self.loaded()
        listing = {found.plugin_name for found in self._own("list_models")}
        if self._own("validate_credentials") or IMPLEMENTATION not in listing:
            return self.ask_provider("validate_credentials", request)
        target = request.target
        asked = ModelsRequest(
            target=target, credentials=request.credentials, timeout=request.timeout
        )
        self.ask_provider("list_models", asked)
        where = f" at {shown_address(target.address)}" if target.address else ""
        answers = f"The {target.backend} server{where} is there"
        if not request.credentials:
            return request.accepted(f"{answers}.")
        if target.descriptor.listing_needs in ("always", target.server):
            return request.accepted(f"{answers} and takes the credentials.")
        return request.unchecked(f"{answers}. It lists its models to everybody.")

    def _ask_provider(self, manager: pluggy.PluginManager, hook: str, request: Any) -> Any:
        failure: MelleaAPIError
        try:
            return getattr(manager.hook, hook)(request=request)
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
            manager = self._all or self._manager
            error = self._ask(manager, "translate_error", MelleaAPIError, request=request)
            return error and completed(error, request.target, request.timeout)
        except PluginError as error:
            # What the provider said must not be lost behind a plugin's mistake.
            logger.error("%s", error)
            return by_kind(request)
