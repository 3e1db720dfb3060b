"""The OpenAI backend of mellea-api: OpenAI itself, and any server that speaks its protocol.

The entry point names the constant `OPENAI`. `models` is the catalogue, `families` says which of
OpenAI's models refuse which options, and `options` has OpenAI's own parameters. The hooks are the
core's.
"""

from mellea_api.plugin import CredentialField, OpenAICompatible
from mellea_api_openai.families import FAMILY_RULES
from mellea_api_openai.models import CATALOGUE, RETIREMENTS
from mellea_api_openai.options import OPENAI_RULES

__all__ = ["OPENAI"]

OPENAI = OpenAICompatible(
    name="openai",
    summary="OpenAI, and any server that speaks its protocol",
    base_url="https://api.openai.com/v1",
    base_url_variables="OPENAI_BASE_URL",
    official_hosts=("api.openai.com", "*.api.openai.com"),
    server="openai",
    server_elsewhere="any",
    default_model=CATALOGUE[0].id,
    models=CATALOGUE,
    retirements=RETIREMENTS,
    model_identifier="openai_name",
    options=(*FAMILY_RULES, *OPENAI_RULES),
    credentials=(
        CredentialField(
            name="api_key",
            variables="OPENAI_API_KEY",
            required="official",
            help="Keys are made at https://platform.openai.com/api-keys.",
            # Besides keys, OpenAI takes the tokens of its own logins, which are JWTs.
            pattern=r"(?!sk-ant-|sk-or-)(sk|sess|ek|rk)[-_].+|eyJ.+",
            pattern_words="it is no key of OpenAI's: those begin with sk-, and neither with "
            "sk-ant- (Anthropic's) nor with sk-or- (OpenRouter's)",
            pattern_source="https://platform.openai.com/docs/api-reference/authentication (2025)",
        ),
        CredentialField(
            name="organization",
            variables="OPENAI_ORG_ID",
            secret=False,
            required="never",
            header=True,
        ),
        CredentialField(
            name="project",
            variables=("OPENAI_PROJECT", "OPENAI_PROJECT_ID"),
            secret=False,
            required="never",
            header=True,
        ),
    ),
    start_hint="Check the address (OPENAI_BASE_URL or base_url=), and that a server is there.",
    model_hint="`mellea-api models openai` shows the models that the server has.",
)
