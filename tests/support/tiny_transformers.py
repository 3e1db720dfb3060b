"""The tiny model of `tiny_model`, in a folder that transformers loads: the same weights, the same tokenizer.

It writes nonsense, but it is a real model: `generate()` runs it on the CPU in milliseconds, and every option has the
effect that it has on a big one. Nothing is downloaded.
"""

from __future__ import annotations

import json
from pathlib import Path

from support import tiny_model
from support.tiny_model import CHATML, CONTEXT_LENGTH, SPECIAL_TOKENS

THINKING = (
    CHATML
    + "{% if enable_thinking is defined and enable_thinking %}<think>\n{% endif %}"
    + "{% if reasoning_effort is defined %}{{ reasoning_effort }} {% endif %}"
)
"""A chat template that can be told to think, and how hard."""


def build(
    folder: Path,
    *,
    seed: int = 0,
    template: str = CHATML,
    sampling: bool = False,
    context_length: int = CONTEXT_LENGTH,
    pad_token: bool = True,
) -> Path:
    """Writes the model, about a megabyte, in half a second.

    Args:
        folder: Where to; it is made.
        seed: Seed of the weights.
        template: The chat template.
        sampling: Whether the model's own generation config turns sampling on, as those of most chat models do.
        context_length: Tokens it can see.
        pad_token: Whether the tokenizer has one; that of Llama 3 has none.

    Returns:
        `folder`.
    """
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = tiny_model.train_tokenizer()
    pad, _, end = (vocabulary.index(token) for token in SPECIAL_TOKENS)
    _write_tokenizer(folder, vocabulary, merges, template, pad_token)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=tiny_model.WIDTH,
        intermediate_size=tiny_model.FEED_FORWARD,
        num_hidden_layers=tiny_model.LAYERS,
        num_attention_heads=tiny_model.HEADS,
        num_key_value_heads=tiny_model.KV_HEADS,
        max_position_embeddings=context_length,
        bos_token_id=pad,
        eos_token_id=end,
        pad_token_id=pad if pad_token else None,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    model.load_state_dict(_state(vocabulary, seed))
    limits = {"do_sample": True, "temperature": 0.9} if sampling else {}
    model.generation_config = GenerationConfig(eos_token_id=end, bos_token_id=pad, **limits)
    model.save_pretrained(folder)
    return folder


def _state(vocabulary: list[str], seed: int) -> dict[str, object]:
    import torch

    names = {
        "token_embd": "model.embed_tokens",
        "output_norm": "model.norm",
        "output": "lm_head",
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    state: dict[str, object] = {}
    for name, array in tiny_model.random_weights(vocabulary, seed).items():
        stem = name.removesuffix(".weight")
        if stem.startswith("blk."):
            _, layer, part = stem.split(".")
            target = f"model.layers.{layer}.{names[part]}"
        else:
            target = names[stem]
        state[f"{target}.weight"] = torch.from_numpy(array)
    return state


def _write_tokenizer(
    folder: Path, vocabulary: list[str], merges: list[str], template: str, pad_token: bool
) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: index for index, token in enumerate(vocabulary)},
            merges=[tuple(merge.split(" ")) for merge in merges],
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    tokenizer.save(str(folder / "tokenizer.json"))
    # By hand: transformers 5 would name a class that 4.57 does not have.
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIAL_TOKENS[0],
        "eos_token": SPECIAL_TOKENS[2],
        "model_max_length": CONTEXT_LENGTH,
        "clean_up_tokenization_spaces": False,
        "chat_template": template,
    }
    if pad_token:
        config["pad_token"] = SPECIAL_TOKENS[0]
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1), "utf-8")
