"""What a route needs to be let in: read from its provider, without importing LiteLLM.

LiteLLM's own `validate_environment` finds nothing wrong with `watsonx/…` in an empty environment,
and asks `OLLAMA_API_BASE` of Ollama, which has a default address. The table here was read from
what LiteLLM looks up on each route; for providers that are not in it, the snapshot has the
variables that LiteLLM was seen to ask for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from attrs import field, frozen

from mellea_api import Secret
from mellea_api._credentials.find import find_credential
from mellea_api._secrecy.veil import environment
from mellea_api.plugin import CredentialField, Target
from mellea_api_litellm.routes import Route, leaves_openai, snapshot

__all__ = [
    "NO_KEYS",
    "Finding",
    "Need",
    "Needs",
    "findings",
    "key_field",
    "needs_of",
    "spell",
    "variable_of",
]

Kind = Literal["api_key", "base_url", "other"]


def _tuple(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


@frozen
class Need:
    """One thing that a route needs.

    Args:
        kind: `api_key` and `base_url` can also be given to `start_session`.
        variables: The environment variables that LiteLLM looks at, in order; any one will do.
        required: Whether LiteLLM cannot do without.
    """

    kind: Kind
    variables: tuple[str, ...] = field(converter=_tuple)
    required: bool = True


@frozen
class Needs:
    """Everything that a provider's routes need.

    Args:
        parts: All of them are needed.
        elsewhere: Where else the provider's SDK looks, which nobody can see from outside: a
            sentence. Empty: nowhere.
        help: Where to get what is missing: a sentence.
    """

    parts: tuple[Need, ...] = ()
    elsewhere: str = ""
    help: str = ""


def _key(*variables: str, required: bool = True) -> Need:
    return Need("api_key", variables, required)


def _server(*variables: str, required: bool = True) -> Need:
    return Need("base_url", variables, required)


def _local(prefix: str, *, required: bool = False) -> Needs:
    return Needs(
        (
            _server(f"{prefix}_API_BASE", required=required),
            _key(f"{prefix}_API_KEY", required=False),
        )
    )


_OPENAI: Final = Needs(
    (_key("OPENAI_API_KEY"), _server("OPENAI_BASE_URL", "OPENAI_API_BASE", required=False)),
    help="Keys are made at https://platform.openai.com/api-keys.",
)
_AWS: Final = Needs(
    (Need("other", ("AWS_ACCESS_KEY_ID", "AWS_BEARER_TOKEN_BEDROCK", "AWS_PROFILE"), False),),
    elsewhere="boto3 also looks in ~/.aws and asks the machine that it runs on",
)
_GOOGLE: Final = Needs(
    (
        Need("other", ("VERTEXAI_PROJECT",), False),
        Need("other", ("VERTEXAI_LOCATION",), False),
        Need("other", ("VERTEXAI_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS"), False),
    ),
    elsewhere="Google's libraries also look where `gcloud auth` leaves its credentials",
)
_WATSONX: Final = Needs(
    (
        _key(
            *("WATSONX_APIKEY", "WATSONX_API_KEY", "WX_API_KEY"),
            *("WATSONX_TOKEN", "WATSONX_ZENAPIKEY"),
        ),
        _server("WATSONX_API_BASE", "WATSONX_URL", "WX_URL", "WML_URL"),
        Need(
            "other",
            (
                *("WATSONX_PROJECT_ID", "WX_PROJECT_ID", "PROJECT_ID"),
                *("WATSONX_DEPLOYMENT_SPACE_ID", "WATSONX_SPACE_ID", "WX_SPACE_ID", "SPACE_ID"),
            ),
        ),
    ),
    help="Keys are made at https://cloud.ibm.com/iam/apikeys.",
)
_OLLAMA: Final = Needs(
    (_server("OLLAMA_API_BASE", required=False), _key("OLLAMA_API_KEY", required=False))
)
_LOGIN: Final = Needs(elsewhere="LiteLLM asks for a login in the browser, and keeps what it gets")

_NEEDS: Final[Mapping[str, Needs]] = {
    "openai": _OPENAI,
    "text-completion-openai": _OPENAI,
    "custom_openai": _OPENAI,
    "anthropic": Needs(
        (_key("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),),
        help="Keys are made at https://console.anthropic.com/settings/keys.",
    ),
    "azure": Needs(
        (
            _key("AZURE_API_KEY", "AZURE_OPENAI_API_KEY", "AZURE_AD_TOKEN", "AZURE_CLIENT_SECRET"),
            _server("AZURE_API_BASE"),
        )
    ),
    "azure_ai": Needs((_key("AZURE_AI_API_KEY"), _server("AZURE_AI_API_BASE"))),
    "bedrock": _AWS,
    "bedrock_converse": _AWS,
    "bedrock_mantle": _AWS,
    "sagemaker": _AWS,
    "sagemaker_chat": _AWS,
    "sagemaker_nova": _AWS,
    "vertex_ai": _GOOGLE,
    "vertex_ai_beta": _GOOGLE,
    "gemini": Needs(
        (_key("GOOGLE_API_KEY", "GEMINI_API_KEY"),),
        help="Keys are made at https://aistudio.google.com/apikey.",
    ),
    "watsonx": _WATSONX,
    "watsonx_text": _WATSONX,
    "ollama": _OLLAMA,
    "ollama_chat": _OLLAMA,
    "hosted_vllm": _local("HOSTED_VLLM", required=True),
    "lm_studio": _local("LM_STUDIO", required=True),
    "llamafile": _local("LLAMAFILE"),
    "docker_model_runner": _local("DOCKER_MODEL_RUNNER"),
    "lemonade": _local("LEMONADE"),
    "litellm_proxy": _local("LITELLM_PROXY", required=True),
    "vllm": Needs(),
    "petals": Needs(),
    "cloudflare": Needs(
        (_key("CLOUDFLARE_API_KEY"), _server("CLOUDFLARE_API_BASE", "CLOUDFLARE_ACCOUNT_ID"))
    ),
    "databricks": Needs(
        (
            _key("DATABRICKS_API_KEY", "DATABRICKS_CLIENT_SECRET", required=False),
            _server("DATABRICKS_API_BASE", required=False),
        ),
        elsewhere="the databricks SDK also looks in ~/.databrickscfg",
    ),
    "github_copilot": _LOGIN,
    "chatgpt": _LOGIN,
}


NO_KEYS: Final = frozenset(
    {"ANTHROPIC_AUTH_TOKEN", "AZURE_AD_TOKEN", "AZURE_CLIENT_SECRET", "DATABRICKS_CLIENT_SECRET"}
    | {"WATSONX_TOKEN", "WATSONX_ZENAPIKEY"}
)
"""What stands in for a key, and cannot be handed over as one."""


def variable_of(secret: Secret) -> str:
    """Return the variable that a value came from, itself or by a file; empty if by none.

    >>> variable_of(Secret("x", source="file secrets/x (AZURE_API_KEY_FILE)"))
    'AZURE_API_KEY'
    """
    found = re.search(r"^environment variable (\w+)$|\((\w+)_FILE\)$", secret.source)
    return (found[1] or found[2]) if found else ""


def needs_of(route: Route) -> Needs | None:
    """Return what a route needs; None if nobody knows."""
    found = _NEEDS.get(route.provider)
    if found is None:
        variables = tuple(snapshot()["keys"].get(route.provider, ()))
        return Needs((_key(*variables),)) if variables else None
    if route.model.startswith("deployment/") and found is _WATSONX:
        return Needs(found.parts[:2], help=found.help)
    return found


def key_field(route: Route) -> CredentialField:
    """Return the field of a route's key: its variables, and a place of its own in the keyring.

    Whether it is needed is not said here: `findings` knows what else may stand in for it.
    """
    needs = needs_of(route)
    key = next((need for need in needs.parts if need.kind == "api_key"), None) if needs else None
    return CredentialField(
        name="api_key",
        variables=key.variables if key else (),
        required="never",
        help=needs.help if needs else "",
        entry=f"litellm.{route.provider}.api_key",
    )


@frozen
class Finding:
    """What was found for one need.

    Args:
        need: The need.
        secret: The value; None if there is none.
        shadowed: Further places that hold a value, and do not count; not told of the key.
    """

    need: Need
    secret: Secret | None
    shadowed: tuple[str, ...] = ()

    @property
    def lacks(self) -> bool:
        """Whether something that is needed is not there."""
        return self.need.required and self.secret is None


def findings(
    target: Target,
    route: Route,
    credentials: Mapping[str, Secret],
    environ: Mapping[str, str] | None = None,
) -> list[Finding] | None:
    """Look for everything that a route needs; None if nobody knows what it needs.

    Args:
        target: The address, if one was given, and the settings.
        route: The route.
        credentials: What the core found.
        environ: The environment; None for the process's own.
    """
    environ = environment(environ)
    needs = needs_of(route)
    if needs is None:
        return None
    found = []
    for need in needs.parts:
        secret = _given(need, target, credentials)
        there: list[str] = []
        if need.kind == "api_key":
            if secret is None:
                secret, _ = find_credential(target, key_field(route))
        else:  # LiteLLM reads these for itself, and so from the environment alone
            there = [name for name in need.variables if environ.get(name, "").strip()]
        if secret is None and there:
            masked = "KEY" in there[0] or "TOKEN" in there[0]
            first = there.pop(0)
            secret = Secret(environ[first], source=f"environment variable {first}", masked=masked)
        # Another server than the provider's own may need no key.
        spared = need.kind == "api_key" and leaves_openai(target)
        asked = Need(need.kind, need.variables, required=False) if spared else need
        shadowed = tuple(f"environment variable {name}" for name in there)
        found.append(Finding(asked, secret, shadowed))
    return found


def _given(need: Need, target: Target, credentials: Mapping[str, Secret]) -> Secret | None:
    if need.kind == "api_key":
        return credentials.get("api_key")
    if need.kind == "base_url" and target.base_url:
        return Secret(target.base_url, source="argument", masked=False)
    for name in ("project_id", "space_id", "vertex_project", "vertex_location"):
        value = target.settings.get(name)
        if isinstance(value, str) and value and _names(need, name):
            return Secret(value, source="argument", masked=False)
    return None


def _names(need: Need, setting: str) -> bool:
    plain = setting.upper().replace("VERTEX_", "VERTEXAI_")
    return any(variable.endswith(plain) for variable in need.variables)


def spell(need: Need) -> str:
    """Return how to give what a need asks for."""
    variables = need.variables[0]
    if need.kind == "other":
        return f"set {variables}"
    return f"set {variables} or pass {need.kind}="
