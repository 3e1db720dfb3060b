"""Call the hooks of one backend: catch exceptions, check the types of answers."""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import pluggy

from mellea_api import hookspecs
from mellea_api._contract.descriptor import BackendDescriptor
from mellea_api._contract.errors import MelleaAPIError, PluginError
from mellea_api._contract.refusals import ErrorRequest, completed
from mellea_api._contract.requests import (
    Asking,
    CredentialRequest,
    ModelsRequest,
    SessionRequest,
    asking,
)
from mellea_api._provider.deadlines import run_with_deadline
from mellea_api._provider.exceptions import by_kind, caused
from mellea_api._registry import defaults
from mellea_api._registry.discovery import EntryPoint
from mellea_api._registry.loading import ASYNC, broken, load_plugin
from mellea_api._secrecy.logs import logger, mask_sdk_records, register_sdk
from mellea_api._secrecy.secrets import shown_address
from mellea_api._secrecy.veil import veiled

Answer = TypeVar("Answer")

CORE: Final = "mellea-api"
IMPLEMENTATION: Final = "implementation"
"""Names in a plugin manager: the core's defaults, and the module with the hooks of an SDK."""

_OPERATIONS: Final[Any] = {
    "create_session": "session",
    "list_models": "models",
    "validate_credentials": "credentials",
}
"""What is being done in the hooks that may ask a provider."""
_OPTIONAL: Final = ("find_credential", "translate_error")
"""The hooks that may answer None; for the others the core has an answer of its own."""
_PATIENCE: Final = 30.0
"""Seconds that an `async def` hook may take if the caller set no limit."""
_LACKS_SESSIONS: Final = "it lacks the required hook create_session"


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
        self._inner = [(CORE, defaults), (entry_point.name, plugin)]
        self._outer = [(name, extension) for name, extension, _ in reversed(extensions)]
        self._extensions = {name: entry for name, _, entry in extensions}
        self._implementation = ""
        self._manager = self._new_manager()
        self._all: pluggy.PluginManager | None = None

    def _new_manager(self, *implementation: tuple[str, object]) -> pluggy.PluginManager:
        manager = pluggy.PluginManager("mellea_api")
        manager.add_hookspecs(hookspecs)
        try:
            # Pluggy asks what was registered last first; extensions are asked in name order.
            for name, plugin in (*self._inner, *implementation, *self._outer):
                manager.register(plugin, name)
        except ValueError as error:  # one module is registered twice
            said = str(error).partition("\n")[0]  # below, pluggy lists all plugins
            raise broken(self._entry_point, f"pluggy refuses it: {said}") from error
        for hook in ASYNC:
            for found in getattr(manager.hook, hook).get_hookimpls():
                if inspect.iscoroutinefunction(found.function):
                    found.function = _with_deadline(found.function)
        return manager

    def complete(self, descriptor: BackendDescriptor) -> None:
        """Take note of the module with the hooks that need an SDK, and of the SDK's loggers.

        Args:
            descriptor: What the plugin says about itself.

        Raises:
            PluginError: If it names no such module, and cannot create sessions itself.
        """
        package = self._entry_point.value.partition(":")[0].partition(".")[0]
        register_sdk(package, descriptor.sdk)
        self._implementation = descriptor.implementation
        if not self._implementation:
            if not self._own("create_session"):
                raise broken(self._entry_point, _LACKS_SESSIONS)
            self._all = self._manager

    def loaded(self) -> pluggy.PluginManager:
        """Return the manager that has the implementation too, which is imported for that.

        Raises:
            PluginError: If the implementation cannot be used.
        """
        if self._all is None:
            # Under no lock of ours: Python has one for each module, and a thread that holds the
            # implementation's may ask for a backend. Two threads make two equal managers.
            module = load_plugin(self._entry_point, "implementation", self._implementation)
            made = self._new_manager((IMPLEMENTATION, module))
            if not made.hook.create_session.get_hookimpls():
                raise broken(self._entry_point, _LACKS_SESSIONS)
            self._all = made
        return self._all

    def of(self, hook: str) -> list[pluggy.HookImpl]:
        """Return who implements a hook: the core's default, if there is one, among them."""
        found: list[pluggy.HookImpl] = getattr(
            (self._all or self._manager).hook, hook
        ).get_hookimpls()
        return found

    def _own(self, hook: str) -> set[str]:
        """Return which parts of the plugin implement a hook: itself, and its implementation."""
        return {found.plugin_name for found in self.of(hook)} & {
            self._entry_point.name,
            IMPLEMENTATION,
        }

    def ask(self, hook: str, expected: type[Answer], **arguments: Any) -> Answer:
        """Call a hook without the implementation: no provider is asked.

        Args:
            hook: Its name.
            expected: The type of its answer.
            arguments: Its arguments.

        Returns:
            The answer; `find_credential` may also answer None.

        Raises:
            PluginError: If the plugin, or an extension, raised or returned something else.
            MelleaAPIError: What a hook raised of the library's own.
        """
        return self._ask(self._manager, hook, expected, **arguments)

    def ask_provider(
        self,
        hook: str,
        expected: type[Answer],
        request: SessionRequest | ModelsRequest | CredentialRequest,
        current: Asking | None = None,
    ) -> Answer:
        """Call a hook that asks the provider; turn its exceptions into our errors.

        Args:
            hook: Its name.
            expected: The type of its answer.
            request: Its request.
            current: Is given what the hook says beside its answer.

        Raises:
            MelleaAPIError: What happened; the class says what it was.
        """
        manager = self.loaded()
        mask_sdk_records()
        token = asking.set(current or Asking(request.timeout))
        try:
            return self._ask(manager, hook, expected, request=request)
        finally:
            asking.reset(token)

    def _ask(
        self, manager: pluggy.PluginManager, hook: str, expected: type[Answer], **arguments: Any
    ) -> Answer:
        request = arguments.get("request")
        failure: MelleaAPIError
        try:
            answer: Answer = getattr(manager.hook, hook)(**arguments)
        except MelleaAPIError as error:
            if request is not None:
                completed(error, request.target, getattr(request, "timeout", None))
            failure = veiled(error)
        except (Exception, SystemExit) as error:
            failure = caused(self._meant(hook, request, error), error)
        else:
            if isinstance(answer, expected) or (answer is None and hook in _OPTIONAL):
                return answer
            failure = self.wrong(hook, answer, expected.__name__)
        raise failure

    def _meant(self, hook: str, request: Any, error: BaseException) -> MelleaAPIError:
        """Return our error for what a hook raised; a bug of the plugin is one too."""
        if hook in _OPERATIONS:
            facts = {"target": request.target, "error": error, "timeout": request.timeout}
            typed = self.translate(ErrorRequest(operation=_OPERATIONS[hook], **facts))
            if typed is not None:
                return typed
        reason = f"{hook} raised {type(error).__name__}: {error}"
        return broken(self._culprit(hook, error), reason)

    def translate(self, request: ErrorRequest) -> MelleaAPIError | None:
        """Translate an SDK's exception into one of our errors; None if it is unknown."""
        try:
            manager = self._all or self._manager
            found: Any = self._ask(manager, "translate_error", MelleaAPIError, request=request)
            return None if found is None else completed(found, request.target, request.timeout)
        except PluginError as error:
            # What the provider said must not be lost behind a plugin's mistake.
            logger.error("%s", error)
            return by_kind(request)

    def wrong(self, hook: str, answer: object, expected: str) -> PluginError:
        """Return the error for an answer of a wrong type."""
        got = "None" if answer is None else f"a {type(answer).__name__} instead of a {expected}"
        return self.blamed(hook, f"{hook} returned {got}")

    def blamed(self, hook: str, reason: str) -> PluginError:
        """Return the error for an answer that cannot be used, naming whoever may have given it.

        Args:
            hook: The hook's name.
            reason: What is wrong: the end of a sentence.
        """
        names = {found.plugin_name for found in self.of(hook)}
        culprits = [entry for name, entry in self._extensions.items() if name in names]
        if self._entry_point.name in names or not culprits:
            culprits.insert(0, self._entry_point)
        return broken(culprits[0], reason, *culprits[1:])

    def _culprit(self, hook: str, error: BaseException) -> EntryPoint:
        """Return whose code raised: an extension's, or else the backend's plugin's."""
        owners = {
            getattr(inspect.unwrap(found.function), "__code__", None): self._extensions.get(
                found.plugin_name
            )
            for found in self.of(hook)
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

    def probe(self, request: CredentialRequest) -> Any:
        """Ask the provider whether credentials work: by the plugin's hook, else by its list.

        The hook's answer may be of any type: whoever asks sees to that.

        Raises:
            MelleaAPIError: What happened; the class says what it was.
        """
        self.loaded()
        if self._own("validate_credentials") or IMPLEMENTATION not in self._own("list_models"):
            return self.ask_provider("validate_credentials", object, request)
        target = request.target
        asked = ModelsRequest(
            target=target, credentials=request.credentials, timeout=request.timeout
        )
        self.ask_provider("list_models", Sequence, asked)  # type: ignore[type-abstract]
        where = f" at {shown_address(target.address)}" if target.address else ""
        answers = f"The {target.backend} server{where} is there"
        if not request.credentials:
            return request.accepted(f"{answers}.")
        if target.descriptor.listing_needs in ("always", target.server):
            return request.accepted(f"{answers} and takes the credentials.")
        return request.unchecked(f"{answers}. It lists its models to everybody.")


def _with_deadline(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run an `async def` hook under the core's limit of time.

    Wrappers of extensions then see the answer, and not a coroutine.
    """

    @functools.wraps(function)
    def run(*arguments: Any) -> Any:
        current = asking.get() or Asking()
        seconds = current.timeout or _PATIENCE
        return run_with_deadline(functools.partial(function, *arguments), seconds, current)

    return run
