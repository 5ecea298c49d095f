"""Tiny reward models, written by transformers' own `save_pretrained`, and its logits on sequences of different lengths.

    python -P make_reward_checkpoints.py        (writes ./reward_checkpoints/<name>/; -P: statistics.py beside it is not Python's)

Each stands for the layout of published reward models: `*ForSequenceClassification` with one label and `score.weight`
without a bias, in bf16 or f16, in one file or in shards under an index; with a pad token of its own, none, or the end of
a turn. The logits are those of the files read back in f32: a padded batch where the model has a pad token, as such models
are used, and one sequence at a time where it has none.
"""

import json
import random
import shutil
from pathlib import Path

import torch
import transformers
from transformers import (
    AutoModelForSequenceClassification,
    GemmaConfig,
    GemmaForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    MistralConfig,
    MistralForSequenceClassification,
    Qwen2Config,
    Qwen2ForSequenceClassification,
    Qwen3Config,
    Qwen3ForSequenceClassification,
)

HERE = Path(__file__).parent / "reward_checkpoints"
# `END` stands for the end of a turn: chats hold several, and end in one.
BOS, END, PAD = 1, 2, 63
SIZES = dict(
    vocab_size=64,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=64,
    bos_token_id=BOS,
    eos_token_id=END,
    num_labels=1,
)
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


def plain(theta=10000.0):
    return {"rope_type": "default", "rope_theta": theta}


# (class, config, its options, stored type, largest shard)
MODELS = {
    # As the reference's script leaves Llama 3: a `[PAD]` behind the vocabulary, untied, bf16 in shards.
    "llama-own-pad": (
        LlamaForSequenceClassification,
        LlamaConfig,
        dict(rope_parameters=plain(500000.0), pad_token_id=PAD, tie_word_embeddings=False),
        torch.bfloat16,
        "4KB",
    ),
    # Llama 3.1's rope; the pad token ends every turn.
    "llama-pad-is-end": (
        LlamaForSequenceClassification,
        LlamaConfig,
        dict(rope_parameters=LLAMA3, pad_token_id=END, tie_word_embeddings=False),
        torch.float16,
        "1MB",
    ),
    "mistral-no-pad": (
        MistralForSequenceClassification,
        MistralConfig,
        dict(rope_parameters=plain(), sliding_window=None, tie_word_embeddings=False),
        torch.bfloat16,
        "1MB",
    ),
    "gemma": (
        GemmaForSequenceClassification,
        GemmaConfig,
        dict(rope_parameters=plain(), head_dim=12, pad_token_id=0),
        torch.bfloat16,
        "1MB",
    ),
    "qwen2": (
        Qwen2ForSequenceClassification,
        Qwen2Config,
        dict(rope_parameters=plain(1e6), pad_token_id=PAD, tie_word_embeddings=True),
        torch.bfloat16,
        "1MB",
    ),
    "qwen3": (
        Qwen3ForSequenceClassification,
        Qwen3Config,
        dict(rope_parameters=plain(1e6), head_dim=12, pad_token_id=PAD, tie_word_embeddings=True),
        torch.bfloat16,
        "4KB",
    ),
}


def chats(draw):
    """A beginning, then one to three turns that each end: 4 to about 40 tokens."""
    for turns, length in ((1, 2), (1, 9), (2, 6), (3, 12)):
        ids = [BOS]
        for _ in range(turns):
            ids += [draw.randrange(3, PAD) for _ in range(length)] + [END]
        yield ids
    # A response that was cut: no end.
    yield [BOS] + [draw.randrange(3, PAD) for _ in range(7)]


def logits(model, sequences):
    if model.config.pad_token_id is None:
        return [float(model(input_ids=torch.tensor([ids])).logits) for ids in sequences]
    longest = max(map(len, sequences))
    pad = model.config.pad_token_id
    ids = torch.tensor([ids + [pad] * (longest - len(ids)) for ids in sequences])
    mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in sequences])
    return model(input_ids=ids, attention_mask=mask).logits[:, 0].tolist()


@torch.no_grad()
def main():
    for seed, (folder, (Model, Config, options, dtype, shard)) in enumerate(MODELS.items()):
        torch.manual_seed(seed)
        path = HERE / folder
        shutil.rmtree(path, ignore_errors=True)
        model = Model(Config(**(SIZES | options)))
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape)
            scale = 1.5 / parameter.shape[-1] ** 0.5
            parameter.copy_(1 + 0.3 * noise if name.endswith("norm.weight") else scale * noise)
        model.to(dtype).save_pretrained(path, max_shard_size=shard)

        model = AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32).eval()
        sequences = list(chats(random.Random(100 + seed)))
        golden = {
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
            "sequences": sequences,
            "logits": logits(model, sequences),
        }
        (path / "golden.json").write_text(json.dumps(golden) + "\n")
        files = sorted(p.name for p in path.glob("*.safetensors*"))
        print(folder, golden["logits"], files)


if __name__ == "__main__":
    main()
