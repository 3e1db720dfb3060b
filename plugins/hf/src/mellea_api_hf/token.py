"""The token that huggingface_hub would use, found without importing it.

It reads `HF_TOKEN`, then the file that `hf auth login` writes (huggingface_hub 0.36 and 1.33,
`constants.py` and `utils/_auth.py`).
"""

from __future__ import annotations

from typing import Final

from mellea_api import Secret
from mellea_api.plugin import CredentialField, CredentialForm

FIELD: Final = CredentialField(
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
    form=CredentialForm(
        pattern="hf_.+",
        words="it is no token of Hugging Face's, which begin with hf_",
        source="https://huggingface.co/docs/hub/security-tokens (2025)",
        unless="HF_ENDPOINT",  # mirrors have tokens of their own
    ),
)


def to_send(secret: Secret | None) -> str | None:
    """Return the token to send; None lets huggingface_hub read its own file.

    It renews the tokens in that file that expire.
    """
    return None if secret is None or secret.source.startswith("token file") else secret.reveal()
