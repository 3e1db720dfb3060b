"""Which credentials a route needs, and whether they work.

`litellm.validate_environment` is not asked: it knows of two providers in five, finds nothing
missing for `watsonx/...` in an empty environment, and wants an address for Ollama, which has a
default one.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve

from mellea_api import CredentialReport
from mellea_api.plugin import (
    CredentialField,
    CredentialRequest,
    SessionRequest,
    Target,
    hookimpl,
)
from mellea_api_litellm import servers
from mellea_api_litellm.routes import Route, find, no_route

# Where LiteLLM looks for what a provider needs, if not for a key in `<PROVIDER>_API_KEY` alone.
#
# The variables of each field; with a question mark LiteLLM can do without. A provider with no field
# is one of which it is not known what it needs.
_TABLE: Final = """
ai21_chat: api_key=AI21_API_KEY
anthropic anthropic_text: api_key=ANTHROPIC_API_KEY,ANTHROPIC_AUTH_TOKEN
apertis: api_key=STIMA_API_KEY
azure: api_key=AZURE_API_KEY,AZURE_OPENAI_API_KEY,AZURE_AD_TOKEN,AZURE_CLIENT_SECRET \
  base_url=AZURE_API_BASE
azure_ai: api_key=AZURE_AI_API_KEY base_url=AZURE_AI_API_BASE
bedrock bedrock_converse bedrock_mantle: api_key?=AWS_BEARER_TOKEN_BEDROCK \
  aws_access_key_id?=AWS_ACCESS_KEY_ID,AWS_PROFILE
cloudflare: api_key=CLOUDFLARE_API_KEY base_url=CLOUDFLARE_API_BASE,CLOUDFLARE_ACCOUNT_ID
codestral: api_key=CODESTRAL_API_KEY,MISTRAL_AZURE_API_KEY,MISTRAL_API_KEY
cohere cohere_chat: api_key=COHERE_API_KEY,CO_API_KEY
cometapi: api_key=COMETAPI_KEY
databricks: api_key?=DATABRICKS_API_KEY,DATABRICKS_CLIENT_SECRET base_url?=DATABRICKS_API_BASE
datarobot: api_key=DATAROBOT_API_TOKEN
docker_model_runner: api_key?=DOCKER_MODEL_RUNNER_API_KEY base_url?=DOCKER_MODEL_RUNNER_API_BASE
featherless_ai: api_key=FEATHERLESS_AI_API_KEY,FEATHERLESS_API_KEY
fireworks_ai: api_key=FIREWORKS_API_KEY,FIREWORKS_AI_API_KEY,FIREWORKSAI_API_KEY,FIREWORKS_AI_TOKEN
friendliai: api_key=FRIENDLIAI_API_KEY,FRIENDLI_TOKEN
gemini: api_key=GOOGLE_API_KEY,GEMINI_API_KEY
gigachat: api_key=GIGACHAT_API_KEY,GIGACHAT_ACCESS_TOKEN
hosted_vllm: api_key?=HOSTED_VLLM_API_KEY base_url=HOSTED_VLLM_API_BASE
huggingface: api_key=HF_TOKEN,HUGGINGFACE_API_KEY
lambda_ai: api_key=LAMBDA_API_KEY
lemonade: api_key?=LEMONADE_API_KEY base_url?=LEMONADE_API_BASE
litellm_proxy: api_key?=LITELLM_PROXY_API_KEY base_url=LITELLM_PROXY_API_BASE
llamafile: api_key?=LLAMAFILE_API_KEY base_url?=LLAMAFILE_API_BASE
lm_studio: api_key?=LM_STUDIO_API_KEY base_url=LM_STUDIO_API_BASE
meta_llama: api_key=LLAMA_API_KEY
mistral: api_key=MISTRAL_AZURE_API_KEY,MISTRAL_API_KEY
nano-gpt: api_key=NANOGPT_API_KEY
oci: api_key=OCI_KEY
ollama ollama_chat: api_key?=OLLAMA_API_KEY base_url?=OLLAMA_API_BASE
openai text-completion-openai custom_openai: api_key=OPENAI_API_KEY \
  base_url?=OPENAI_BASE_URL,OPENAI_API_BASE
openrouter: api_key=OPENROUTER_API_KEY,OR_API_KEY
perplexity: api_key=PERPLEXITYAI_API_KEY,PERPLEXITY_API_KEY
qwen_ai_platform: api_key=QWEN_AI_PLATFORM_API_KEY,DASHSCOPE_API_KEY
qwencloud: api_key=QWENCLOUD_API_KEY,DASHSCOPE_API_KEY
replicate: api_key=REPLICATE_API_KEY,REPLICATE_API_TOKEN
sagemaker sagemaker_chat sagemaker_nova: aws_access_key_id?=AWS_ACCESS_KEY_ID,AWS_PROFILE
sap: api_key=AICORE_SERVICE_KEY
scaleway: api_key=SCW_SECRET_KEY
scx-ai: api_key=SCX_API_KEY
tensormesh: api_key=TENSORMESH_INFERENCE_API_KEY
text-completion-codestral: api_key=CODESTRAL_API_KEY
text-completion-inception: api_key=INCEPTION_API_KEY
together_ai: api_key=TOGETHER_API_KEY,TOGETHER_AI_API_KEY,TOGETHERAI_API_KEY,TOGETHER_AI_TOKEN
vercel_ai_gateway: api_key=VERCEL_AI_GATEWAY_API_KEY,VERCEL_OIDC_TOKEN
vertex_ai vertex_ai_beta: vertex_project?=VERTEXAI_PROJECT vertex_location?=VERTEXAI_LOCATION \
  vertex_credentials?=VERTEXAI_CREDENTIALS,GOOGLE_APPLICATION_CREDENTIALS
watsonx watsonx_text: \
  api_key=WATSONX_APIKEY,WATSONX_API_KEY,WX_API_KEY,WATSONX_TOKEN,WATSONX_ZENAPIKEY \
  base_url=WATSONX_API_BASE,WATSONX_URL,WX_URL,WML_URL \
  project_id=WATSONX_PROJECT_ID,WX_PROJECT_ID,PROJECT_ID,\
WATSONX_DEPLOYMENT_SPACE_ID,WATSONX_SPACE_ID,WX_SPACE_ID,SPACE_ID
a2a azure_text chatgpt custom github_copilot oobabooga openai_like petals:
predibase ragflow snowflake triton vllm xinference:
"""
_AWS: Final = "boto3 also looks in ~/.aws and asks the machine that it runs on"
_GOOGLE: Final = "Google's libraries also look where `gcloud auth` leaves its credentials"
_LOGIN: Final = "LiteLLM asks for a login in the browser, and keeps what it gets"
# Where else providers' SDKs look, which cannot be seen from outside.
ELSEWHERE: Final[Mapping[str, str]] = {
    **dict.fromkeys(("bedrock", "bedrock_converse", "bedrock_mantle"), _AWS),
    **dict.fromkeys(("sagemaker", "sagemaker_chat", "sagemaker_nova"), _AWS),
    **dict.fromkeys(("vertex_ai", "vertex_ai_beta"), _GOOGLE),
    **dict.fromkeys(("github_copilot", "chatgpt"), _LOGIN),
    "databricks": "the databricks SDK also looks in ~/.databrickscfg",
}


def fields_of(target: Target, route: Route) -> tuple[CredentialField, ...]:
    """Return the credential fields of a route."""
    fields = provider_fields(route.provider)
    needless: set[str] = set()
    if route.model.startswith("deployment/") or target.settings.get("space_id"):
        needless |= {"project_id"}
    if target.settings.get("mock_response"):
        needless |= {field.name for field in fields}
    return tuple(
        evolve(field, required="never") if field.name in needless else field
        for field in fields
        if field.name != "base_url" or field.required == "always" or not target.base_url
    )


@functools.cache
def provider_fields(provider: str) -> tuple[CredentialField, ...]:
    """Return the credential fields of a provider, the key first."""
    needs = _table().get(provider, {"api_key": f"{provider.upper()}_API_KEY"})
    if "api_key" not in needs and "api_key?" not in needs:
        needs = {"api_key?": "", **needs}
    fields = []
    for name, variables in needs.items():
        key = name.startswith("api_key")
        # Another server than the provider's own may need no key.
        needed: Any = "never" if name.endswith("?") else "official" if key else "always"
        fields.append(
            CredentialField(
                name=name.removesuffix("?"),
                variables=tuple(filter(None, variables.split(","))),
                secret=key,
                required=needed,
                entry=f"litellm.{provider}.{name.removesuffix('?')}",
            )
        )
    return tuple(fields)


@functools.cache
def _table() -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = {}
    for line in _TABLE.strip().splitlines():
        providers, _, fields = line.partition(":")
        needs = dict(field.split("=") for field in fields.split())
        table |= dict.fromkeys(providers.split(), needs)
    return table


def is_usable(provider: str) -> bool:
    """Return whether the environment has all that a provider needs, and anything at all."""
    read = os.environ.get
    there = {
        field: any(read(name) or read(f"{name}_FILE") for name in field.variables)
        for field in provider_fields(provider)
    }
    needed = [found for field, found in there.items() if field.required != "never"]
    return any(there.values()) and all(needed)


@hookimpl
async def validate_credentials(request: CredentialRequest) -> CredentialReport | None:
    """Report on the credentials of a route; None where the fields say everything.

    Raises:
        ProviderError: If a server was asked, and refused or is not there.
    """
    route = find(request.target.model_id)
    if route is None:
        return request.unchecked(str(no_route(request.target.model_id)))
    if any(found.status in ("malformed", "missing") for found in request.findings):
        return None
    elsewhere = ELSEWHERE.get(route.provider, "")
    if not elsewhere and not _table().get(route.provider, True):
        return request.unchecked(f"What {route.provider} needs is not known; a call says so.")
    if request.probe:
        return await servers.probe(request, route)
    if elsewhere and not request.credentials:
        return request.unchecked(f"Nothing is in the environment, but {elsewhere}.")
    return None


def handed(request: SessionRequest) -> dict[str, str]:
    """Return the credentials that LiteLLM is given with each call; it reads others by itself."""
    given = {}
    for name, secret in request.credentials.items():
        # Some variables hold a token in the place of a key, which LiteLLM sends in another way.
        from_environment = secret.source.startswith("environment")
        if not from_environment or secret.source.endswith(("API_KEY", "APIKEY")):
            given["api_base" if name == "base_url" else name] = secret.reveal()
    return given
