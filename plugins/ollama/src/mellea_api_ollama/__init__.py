"""The Ollama backend of mellea-api: local models; a key only where a server asks for one.

The entry point names the constant `OLLAMA`, which says everything that is known without the SDK.
`options` says what Ollama does with each option, and `models` is the catalogue. `session` has the
hooks; it alone imports the SDK, by way of `loading`.
"""

from mellea_api.plugin import BackendDescriptor, CredentialField, Setting
from mellea_api_ollama.models import CATALOGUE
from mellea_api_ollama.options import RULES

OLLAMA = BackendDescriptor(
    name="ollama",
    summary="Local models on an Ollama server",
    implementation="mellea_api_ollama.session",
    sdk=("ollama", "httpx"),
    tested={"ollama": "0.6.3"},
    contract_version=2,
    default_model=CATALOGUE[0].id,
    models=CATALOGUE,
    options=RULES,
    # The SDK sends it by itself, so it is ours to keep out of errors and logs.
    credentials=CredentialField(
        name="api_key",
        variables="OLLAMA_API_KEY",
        required="never",
        help="ollama.com asks for one (https://ollama.com/settings/keys), or a gateway.",
    ),
    settings=Setting(
        name="pull",
        type="boolean",
        default=False,
        help="With pull=True a missing model is downloaded.",
    ),
    arguments_of="mellea.backends.ollama:OllamaModelBackend",
    list_variables="OLLAMA_API_KEY",  # the client sends it, if there is one
    base_url_variables="OLLAMA_HOST",
    base_url="http://127.0.0.1:11434",
    model_identifier="ollama_name",
    start_hint="Start it with `ollama serve`, or point OLLAMA_HOST at a running one.",
    model_hint="Get it with `ollama pull {model}`, or pass pull=True.",
)
