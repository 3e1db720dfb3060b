"""The Hugging Face backend of mellea-api: models inside the process, run by transformers.

The entry points name this module: it is light, and describes the backend. `options` has the option
rules, and `models` the catalogue. `session` has the hooks that need Mellea, transformers or
huggingface_hub, with `backend`, `weights`, `generation` and `stopping` for sessions, `hub` for
questions to the Hub, and `failures` for errors.
"""

from __future__ import annotations

from attrs import evolve

from mellea_api.plugin import BackendDescriptor, CredentialField, Setting, hookimpl
from mellea_api_hf.models import CATALOGUE
from mellea_api_hf.options import RULES

HF = BackendDescriptor(
    name="hf",
    summary="Models inside the process, run by Hugging Face transformers",
    implementation="mellea_api_hf.session",
    sdk=("huggingface_hub", "transformers", "torch", "httpx"),
    tested={"huggingface-hub": "1.33.0", "transformers": "5.17.0", "torch": "2.13.0"},
    contract_version=2,
    default_model=CATALOGUE[0].id,
    models=CATALOGUE,
    options=RULES,
    drops_unknown="official",
    # huggingface_hub reads these variables, then the file that `hf auth login` writes
    # (huggingface_hub 0.36 and 1.33, `constants.py` and `utils/_auth.py`).
    credentials=CredentialField(
        name="token",
        variables=("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
        required="never",  # a fact of the model: public ones need none
        help="Tokens are made at https://huggingface.co/settings/tokens; only gated and private "
        "models need one.",
        token_file=(
            "$HF_TOKEN_PATH",
            "$HF_HOME/token",
            "$XDG_CACHE_HOME/huggingface/token",
            "~/.cache/huggingface/token",
        ),
        entry="hf.token",  # for its other name, huggingface, too
        pattern="hf_.+",
        pattern_words="it is not a token of Hugging Face, which begin with hf_",
        pattern_source="https://huggingface.co/docs/hub/security-tokens (2025)",
        unless="HF_ENDPOINT",  # mirrors have tokens of their own
    ),
    settings=(
        Setting(name="revision", help="A branch, tag or commit on the Hub; else the newest."),
        Setting(name="device", help="cpu, cuda, cuda:1 or mps; else the best there is."),
        Setting(name="dtype", help="The type of the weights, such as bfloat16; else its own."),
        Setting(
            name="trust_remote_code",
            type="boolean",
            default=False,
            help="Whether code that comes with the model may run.",
        ),
        Setting(
            name="share",
            type="boolean",
            default=True,
            help="Whether sessions of the same model share its weights.",
        ),
        Setting(
            name="hub",
            type="boolean text",
            default=False,
            scope="models",
            help="True lists the most downloaded models of the Hub, a text those with that name.",
        ),
        Setting(
            name="limit",
            type="integer",
            default=50,
            scope="models",
            help="How many models of the Hub are listed.",
        ),
    ),
    arguments_of="mellea.backends.huggingface:LocalHFBackend",
    list_variables="HF_ENDPOINT",
    model_identifier="hf_model_name",
    start_hint="Check the network, HF_ENDPOINT and HF_HUB_OFFLINE; what is in the local cache "
    "works offline.",
    model_hint="Check the id at https://huggingface.co/{model}, or give a folder on disk.",
)


@hookimpl
def describe_backend(name: str) -> BackendDescriptor:
    """Describe transformers on this machine, under either name."""
    return evolve(HF, name=name)
