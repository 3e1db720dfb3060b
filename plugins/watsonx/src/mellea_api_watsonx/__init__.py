"""The watsonx.ai backend of mellea-api: IBM Cloud, and Cloud Pak for Data.

The entry point names this module: it is light, and describes the backend. `options` has the option
rules, `regions` the addresses, and `models` the catalogue. `session` has the hooks; it alone
imports the SDK and Mellea, with `connection`, which logs in, and `failures`, which reads errors.
"""

from __future__ import annotations

from attrs import evolve

from mellea_api.plugin import BackendDescriptor, CredentialField, Setting, Target, hookimpl
from mellea_api_watsonx.models import CATALOGUE
from mellea_api_watsonx.options import RULES
from mellea_api_watsonx.regions import OFFICIAL_HOSTS, is_cloud

_KEY = CredentialField(
    name="api_key",
    variables=("WATSONX_API_KEY", "WATSONX_APIKEY"),
    help="Keys are made at https://cloud.ibm.com/iam/apikeys.",
)
_PROJECT = CredentialField(
    name="project_id",
    variables="WATSONX_PROJECT_ID",
    secret=False,
    help="It is on the Manage tab of the project, under General; the project must be in the "
    "region of WATSONX_URL.",
)
_USER = CredentialField(
    name="username",
    variables="WATSONX_USERNAME",
    secret=False,
    required="never",
    help="Only Cloud Pak for Data asks for it.",
)

WATSONX = BackendDescriptor(
    name="watsonx",
    summary="IBM watsonx.ai, on IBM Cloud or Cloud Pak for Data",
    implementation="mellea_api_watsonx.session",
    sdk=("ibm_watsonx_ai", "httpx"),
    tested={"ibm-watsonx-ai": "1.8.1"},
    contract_version=2,
    default_model=CATALOGUE[0].id,
    models=CATALOGUE,
    options=RULES,
    drops_unknown=("official", "compatible"),
    credentials=(_KEY, _PROJECT, _USER),
    settings=(
        Setting(
            name="validate",
            type="boolean",
            default=True,
            help="With validate=False nobody is asked for the model.",
        ),
        Setting(
            name="max_retries",
            type="integer",
            default=0,
            help="How often the SDK asks again if the server is busy.",
        ),
    ),
    codes={
        "BXNIM0415E": 401,  # the key is not there; answered with 400
        "authentication_token_expired": 401,
        "authentication_token_not_valid": 401,
        "model_no_support_for_function": 400,  # the model is there; answered with 404
        "model_not_supported": 404,
        "no_associated_service_instance_error": 403,  # of the project
        "token_quota_reached": 429,  # the plan's tokens are used up; answered with 403
    },
    listing_needs="compatible",  # IBM Cloud lists its models for everybody
    base_url_variables="WATSONX_URL",
    base_url="https://us-south.ml.cloud.ibm.com",
    official_hosts=OFFICIAL_HOSTS,
    model_identifier="watsonx_name",
    start_hint="Check the address (WATSONX_URL or base_url=), the network and its proxy "
    "(HTTPS_PROXY).",
    model_hint="`mellea-api models watsonx` shows the models of the region.",
)
CLOUD_PAK = evolve(
    WATSONX,
    credentials=(_KEY, _PROJECT, evolve(_USER, required="always")),
    listing_needs="always",
)
"""The same on Cloud Pak for Data, which wants a user name, and lists models only for users."""


@hookimpl
def describe_backend(target: Target | None) -> BackendDescriptor:
    """Describe watsonx.ai; any host that is not IBM's is Cloud Pak for Data."""
    return WATSONX if target is None or is_cloud(target.address or "") else CLOUD_PAK
