"""`OpenAICompatible`: everything about a server that speaks OpenAI's protocol, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from attrs import field, frozen

from mellea_api._contract.descriptor import BackendDescriptor, CredentialField, Setting
from mellea_api._contract.option_rule import OptionRule
from mellea_api._openai_protocol.dialects import DIALECTS, RULES, thinking

Dialect = Literal["openai", "vllm", "llama.cpp", "strict", "any"]

_CHECK: Final = Setting(
    name="check",
    type="boolean",
    default=True,
    help="With check=False a session starts without asking the server for the model.",
)
_MAX_RETRIES: Final = Setting(
    name="max_retries",
    type="integer",
    default=0,
    help="How often the SDK repeats a call that failed.",
)


@frozen(kw_only=True)
class OpenAICompatible(BackendDescriptor):
    """The description of a server that speaks OpenAI's protocol; it needs no hooks.

    It has all arguments of `BackendDescriptor`, and those below. Its `options` come before the
    rules of the server's dialect, and its `settings` after `check` and `max_retries`. Without
    `default_model` the server serves one model.

        LLAMA_CPP = OpenAICompatible(
            name="llama-server",
            summary="The model that a llama.cpp server has loaded",
            base_url="http://127.0.0.1:8080/v1",
            base_url_variables="LLAMA_CPP_URL",
            key="LLAMA_API_KEY",
            server="llama.cpp",
        )

    Args:
        key: The environment variable with the key, for a server that has no other credentials.
        key_required: `always`; `official`, for the hosts in `official_hosts`; or `never`.
        key_help: Where to get a key: a sentence.
        server: The dialect of its own server: `openai`, `vllm`, `llama.cpp`, `strict` or `any`.
        server_elsewhere: The dialect at an address that is none of `official_hosts`; None for
            the same.
        thinking: How the server switches reasoning, if not as the dialect says: `effort`,
            `template`, `both` or `no`.
        levels: The levels of `reasoning_effort` that it has, with spaces between them.
        refuses: Names of options that it refuses, with spaces between them.
        headers: HTTP headers that each request has.
        probe_path: An address that needs the key and costs nothing, such as `/props`: relative
            to the server's, or with a leading `/` to its host. None: its list of models.
    """

    key: str = ""
    key_required: Literal["always", "official", "never"] = "never"
    key_help: str = ""
    server: Dialect = "strict"
    server_elsewhere: Dialect | None = None
    thinking: Literal["effort", "template", "both", "no"] | None = None
    levels: str = ""
    refuses: str = ""
    headers: Mapping[str, str] = field(factory=dict)
    probe_path: str | None = None

    implementation: str = "mellea_api._openai_protocol.session"
    sdk: tuple[str, ...] = ("openai", "httpx")
    tested: Mapping[str, str] = field(factory=lambda: {"openai": "3.57.0"})
    contract_version: int = 2
    full_base_url: bool = True
    drops_unknown: tuple[str, ...] = ("openai",)
    arguments_of: tuple[str, ...] = ("mellea.backends.openai:OpenAIBackend", "openai:OpenAI")

    def __attrs_post_init__(self) -> None:
        if self.options[-len(RULES) :] != RULES:  # those of a copy have them
            own = [*OptionRule.refused(self.refuses, "the server refuses it"), *self.options]
            own += OptionRule.levels(self.levels) if self.levels else ()
            own += thinking(self.thinking) if self.thinking and not self.levels else ()
            object.__setattr__(self, "options", (*own, *RULES))
        if _CHECK not in self.settings:
            object.__setattr__(self, "settings", (_CHECK, _MAX_RETRIES, *self.settings))
        if self.key and not self.credentials:
            field = CredentialField(
                name="api_key",
                variables=self.key,
                required=self.key_required,
                help=self.key_help,
            )
            object.__setattr__(self, "credentials", (field,))
        super().__attrs_post_init__()

    @property
    def servers(self) -> tuple[str, ...]:
        """The names that `server=` may have."""
        return (*super().servers, *DIALECTS)

    def dialect(self, server: str) -> str:
        """Return the dialect of a server, by what `server=` or the address says of it."""
        if server in DIALECTS:
            return server
        elsewhere = self.server_elsewhere if server == "compatible" else None
        return elsewhere or self.server
