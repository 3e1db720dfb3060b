"""The n-gram backend of mellea-api: a tiny language model inside the process, and an example.

The entry point names the constant `NGRAM`, which says everything that is known without Mellea.
`options` says what the model does with each option, `models` is the catalogue, and `backend`
alone imports Mellea: it has the hook. The model itself is `model` and `sampling`, in plain Python;
`primer.txt` is all it has read.
"""

from mellea_api.plugin import BackendDescriptor
from mellea_api_ngram.models import CATALOGUE
from mellea_api_ngram.options import RULES

NGRAM = BackendDescriptor(
    name="ngram",
    summary="Tiny n-gram models inside the process: no server, no key, no download",
    implementation="mellea_api_ngram.backend",
    contract_version=2,
    default_model=CATALOGUE[0].id,
    models=CATALOGUE,
    closed=True,  # the core refuses other ids
    options=RULES,
)
