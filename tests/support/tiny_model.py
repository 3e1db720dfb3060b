"""A tiny language model, made on the spot: llama architecture, random weights, one GGUF file.

It writes nonsense, but it is a real model to the engine that loads it: sampling options, token limits, stop
sequences and seeds have the effects that they have on a big one. Nothing is downloaded, and the same seed on the
same Python gives the same bytes.
"""

from __future__ import annotations

import json
import os
import sysconfig
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
VOCABULARY_SIZE = 1000
CONTEXT_LENGTH = 2048

WIDTH, FEED_FORWARD, LAYERS, HEADS, KV_HEADS = 64, 128, 2, 4, 2
# Modules that every supported Python has, and long enough for a thousand merges.
_CORPUS = (
    "argparse.py",
    "ast.py",
    "datetime.py",
    "inspect.py",
    "pathlib.py",
    "socket.py",
    "typing.py",
    "zipfile.py",
)


def build_gguf(path: Path, seed: int = 0) -> Path:
    """Writes the model, which takes about a second, and is deterministic.

    Args:
        path: The file to write; its folder must exist.
        seed: Seed of the weights. The tokenizer does not depend on it.

    Returns:
        `path`.
    """
    import gguf  # here: the same model is made for transformers, where nobody has it

    vocabulary, merges = train_tokenizer()
    # A file that another process may read appears whole or not at all.
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    writer = gguf.GGUFWriter(partial, "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT_LENGTH)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(vocabulary))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)

    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary)
    control = {vocabulary.index(token) for token in SPECIAL_TOKENS}
    writer.add_token_types(
        [
            gguf.TokenType.CONTROL if index in control else gguf.TokenType.NORMAL
            for index in range(len(vocabulary))
        ]
    )
    writer.add_token_merges(merges)
    end = vocabulary.index("<|im_end|>")
    writer.add_bos_token_id(vocabulary.index("<|endoftext|>"))
    writer.add_eos_token_id(end)
    writer.add_pad_token_id(vocabulary.index("<|endoftext|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)

    for name, tensor in random_weights(vocabulary, seed).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(path)
    return path


def _source(module: Path) -> str:
    """The text of a module; from some Python on a few of them are packages."""
    parts = [module] if module.is_file() else sorted(module.with_suffix("").glob("*.py"))
    return "".join(part.read_text("utf-8") for part in parts)


def train_tokenizer() -> tuple[list[str], list[str]]:
    """A byte-level BPE of the standard library's sources: tokens by id, and the merges in order."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        (line for name in _CORPUS for line in _source(folder / name).splitlines(keepends=True)),
        trainer,
    )
    model = json.loads(tokenizer.to_str())["model"]
    vocabulary = [
        token for token, _ in sorted(model["vocab"].items(), key=lambda item: int(item[1]))
    ]
    # tokenizers 0.20 changed a merge from "a b" to ["a", "b"].
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return vocabulary, merges


def random_weights(vocabulary: list[str], seed: int) -> dict[str, np.ndarray]:
    """Random weights by GGUF tensor name, with a bias built in so that the text is printable ASCII.

    A llama has no output bias, so the first dimension of the residual stream is made a constant: every token has 1
    there, and no layer writes to it. A token whose output row is strongly negative there is never chosen.
    Without this, random bytes give broken UTF-8, and each engine mends that in its own way.
    """
    random = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 0.15) -> np.ndarray:
        return (random.standard_normal(shape) * scale).astype(np.float32)

    # The scale gives logits a spread of about 2, so that temperature, top_p and min_p have something to choose from.
    embedding, output = (
        normal(len(vocabulary), WIDTH, scale=1.0),
        normal(len(vocabulary), WIDTH, scale=0.3),
    )
    embedding[:, 0] = 1.0
    output[:, 0] = [0.0 if _may_be_written(token) else -100.0 for token in vocabulary]
    weights = {
        "token_embd.weight": embedding,
        "output_norm.weight": np.ones(WIDTH, np.float32),
        "output.weight": output,
    }
    kv_width = WIDTH // HEADS * KV_HEADS
    for layer in range(LAYERS):
        block = {
            "attn_norm": np.ones(WIDTH, np.float32),
            "attn_q": normal(WIDTH, WIDTH),
            "attn_k": normal(kv_width, WIDTH),
            "attn_v": normal(kv_width, WIDTH),
            "attn_output": normal(WIDTH, WIDTH),
            "ffn_norm": np.ones(WIDTH, np.float32),
            "ffn_gate": normal(FEED_FORWARD, WIDTH),
            "ffn_up": normal(FEED_FORWARD, WIDTH),
            "ffn_down": normal(WIDTH, FEED_FORWARD),
        }
        block["attn_output"][0] = 0.0
        block["ffn_down"][0] = 0.0
        weights.update({f"blk.{layer}.{name}.weight": tensor for name, tensor in block.items()})
    return weights


def _may_be_written(token: str) -> bool:
    if token == "<|im_end|>":
        return True
    # "Ġ" and "Ċ" are how a byte-level BPE spells a space and a line feed.
    return token not in SPECIAL_TOKENS and all(
        "!" <= letter <= "~" or letter in "ĠĊ" for letter in token
    )
