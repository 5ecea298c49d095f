#!/usr/bin/env python3
"""How time and memory grow: `duel bench` on models of random weights, one size changed at a time.

    cargo build --release
    python benches/growth.py --duel target/release/duel --out FOLDER [--only length,vocabulary]

Needs torch, safetensors and tokenizers. Prints one Markdown table a size: seconds of a step (median of the measured
ones), as a multiple of the row above, what `formula` says that multiple should be, and the peak memory (its formula:
src/model/memory.rs; `duel run --dry-run` prints it). FOLDER takes the models, of which one is kept at a time.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys

# About 10M parameters in the blocks: small enough for every length and vocabulary on two cores.
BASE = dict(hidden=384, inner=1024, layers=6, heads=6, kv=2, vocab=4096)
# Hidden, inner, layers, heads, key heads: from 10M to 1B parameters with 32k tokens, tied.
SIZES = {
    "10M": dict(hidden=256, inner=688, layers=4, heads=4, kv=2, vocab=32000),
    "30M": dict(hidden=448, inner=1216, layers=7, heads=7, kv=7, vocab=32000),
    "100M": dict(hidden=768, inner=2048, layers=12, heads=12, kv=4, vocab=32000),
    "300M": dict(hidden=1152, inner=3072, layers=20, heads=18, kv=6, vocab=32000),
    "1B": dict(hidden=2048, inner=5632, layers=22, heads=32, kv=4, vocab=32000),
}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--duel", required=True)
    options.add_argument("--out", required=True)
    options.add_argument("--backend", default="cpu", help="where duel computes")
    options.add_argument("--compute", default="f32", help="what duel's products read: f32, auto, bf16 or f16")
    options.add_argument("--only", default="", help="tables that begin with one of these, comma-separated")
    asked = options.parse_args()
    wanted = tuple(asked.only.split(","))
    for name, table in TABLES.items():
        if name.startswith(wanted):
            table(asked)


def formula(size, tokens, targets, length, words):
    """Operations of a DPO step with its reference pass: products with every matrix for every token of the trie (2
    forward, 2 for the input's gradient, 2 for the weight's where it is trained), the head for every target (its logits
    twice), and attention, whose scores and mixtures (2 and 2 forward, 5 products back) each see half of the length."""
    width = size["hidden"] // size["heads"]
    block = 2 * size["hidden"] * (size["heads"] + size["kv"]) * width + 3 * size["hidden"] * size["inner"]
    matrix, head = (4, 6) if "--lora" in words else (6, 8)
    again = 1 if "--gradient-checkpointing" in words else 0
    # One forward pass more for the reference, and one for blocks that are computed again.
    blocks = (matrix + 2 + 2 * again) * block * tokens + (14 + 4 + 4 * again) * tokens * length / 2 * size["hidden"]
    return size["layers"] * blocks + (head + 2) * size["hidden"] * size["vocab"] * targets


def over_length(asked):
    model = make(asked, BASE)
    grow(asked, "sequence length, 2 pairs of one prompt each, half of it shared", [
        (f"{length}", BASE, model, length, ["dpo", "--pairs", "2"]) for length in (128, 256, 512, 1024, 2048, 4096)
    ])


def over_batch(asked):
    model = make(asked, BASE)
    grow(asked, "pairs a step, length 256", [
        (f"{pairs}", BASE, model, 256, ["dpo", "--pairs", str(pairs)]) for pairs in (1, 2, 4, 8, 16, 32)
    ])
    grow(asked, "the same, blocks computed again (`gradient_checkpointing`)", [
        (f"{pairs}", BASE, model, 256, ["dpo", "--pairs", str(pairs), "--gradient-checkpointing"]) for pairs in (1, 4, 16, 32)
    ])


def over_vocabulary(asked):
    sizes = {vocab: dict(BASE, vocab=vocab) for vocab in (512, 4096, 32000, 152000)}
    grow(asked, "vocabulary, 2 pairs, length 256", [
        (f"{vocab}", size, None, 256, ["dpo", "--pairs", "2"]) for vocab, size in sizes.items()
    ])


def over_size(asked):
    grow(asked, "model, all weights, 2 pairs, length 256", [
        (name, size, None, 256, ["dpo", "--pairs", "2"]) for name, size in SIZES.items() if name != "1B"
    ])
    grow(asked, "model, LoRA r = 16, 2 pairs, length 256", [
        (name, size, None, 256, ["dpo", "--pairs", "2", "--lora"]) for name, size in SIZES.items()
    ])


def over_samples(asked):
    """Decoding reads every weight once a token step, and computes 2 operations a weight for every sample."""
    model = make(asked, SIZES["100M"])
    data = rows(asked, SIZES["100M"], 256, 4)
    print("\n### samples of one prompt (100M parameters, prompt of 128 tokens, 64 new ones)\n")
    print("| K | tokens/s f32 | bf16 | int8 | peak memory f32, MiB | keys and values, MiB |\n|---|---|---|---|---|---|")
    for k in (1, 2, 4, 8, 16, 32):
        said = []
        for dtype in ("f32", "bf16", "int8"):
            words = ["generate", "--pairs", "1", "-k", str(k), "--max-new-tokens", "64", "--dtype", dtype]
            said.append(bench(asked, words, model, data))
        size = SIZES["100M"]
        kept = 2 * 4 * size["layers"] * (128 + 64 * k) * size["kv"] * (size["hidden"] // size["heads"]) / 2**20
        rates = " | ".join(f"{one['tokens_per_second']:.0f}" for one in said)
        print(f"| {k} | {rates} | {said[0]['peak_rss_mib']:,.0f} | {kept:.1f} |", flush=True)


def grow(asked, title, points):
    print(f"\n### {title}\n")
    print("| | seconds a step | times the row above | its formula | peak memory, MiB | trie tokens |\n|---|---|---|---|---|---|")
    before = None
    for name, size, model, length, words in points:
        pairs = int(words[words.index("--pairs") + 1])
        steps = 3 if length * pairs <= 4096 else 2
        data = rows(asked, size, length, (steps + 1) * pairs)
        said = bench(asked, [*words, "--steps", str(steps), "--warm", "1", "--max-length", str(length)], model or make(asked, size), data)
        # Half of a sequence is its prompt, which both responses share.
        tokens, targets = pairs * length * 3 // 2, pairs * length
        cost = formula(size, tokens, targets, length, words)
        now = (said["median_seconds"], cost)
        times = [f"{a / b:.2f}" for a, b in zip(now, before)] if before else ["", ""]
        print(f"| {name} | {now[0]:.3g} | {times[0]} | {times[1]} | {said['peak_rss_mib']:,.0f} | {tokens:,} |", flush=True)
        before = now


def bench(asked, words, model, data):
    command = [asked.duel, "bench", *words, "--model", model, "--data", data, "--backend", asked.backend, "--compute", asked.compute, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def rows(asked, size, length, count):
    """Pairs of random tokens; the first half of both sequences is their prompt."""
    draw = random.Random(length)
    ids = lambda n: [draw.randrange(8, size["vocab"]) for _ in range(n)]
    path = os.path.join(asked.out, "pairs.jsonl")
    with open(path, "w") as out:
        for _ in range(count):
            row = {"prompt_ids": ids(length // 2), "chosen_ids": ids(length // 2), "rejected_ids": ids(length // 2)}
            print(json.dumps(row), file=out)
    return path


def make(asked, size):
    """A folder with a model of random weights in Llama's layout, in bf16, and a tokenizer of as many made-up words."""
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = os.path.join(asked.out, "model")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    torch.manual_seed(0)
    width, heads, kv = size["hidden"] // size["heads"], size["heads"], size["kv"]
    hidden, inner = size["hidden"], size["inner"]
    drawn = lambda *shape: (torch.randn(*shape) * 0.02).to(torch.bfloat16)
    ones = lambda: torch.ones(hidden, dtype=torch.bfloat16)
    tensors = {"model.embed_tokens.weight": drawn(size["vocab"], hidden), "model.norm.weight": ones()}
    for i in range(size["layers"]):
        at = f"model.layers.{i}."
        shapes = {
            "self_attn.q_proj": (heads * width, hidden), "self_attn.k_proj": (kv * width, hidden),
            "self_attn.v_proj": (kv * width, hidden), "self_attn.o_proj": (hidden, heads * width),
            "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden), "mlp.down_proj": (hidden, inner),
        }
        tensors |= {f"{at}{name}.weight": drawn(*shape) for name, shape in shapes.items()}
        tensors |= {f"{at}{name}.weight": ones() for name in ("input_layernorm", "post_attention_layernorm")}
    save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden, "intermediate_size": inner,
        "num_hidden_layers": size["layers"], "num_attention_heads": heads, "num_key_value_heads": kv, "head_dim": width,
        "vocab_size": size["vocab"], "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "hidden_act": "silu", "tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2,
    }
    special = ["<s>", "</s>", "<pad>", "<unk>"]
    words = {word: i for i, word in enumerate(special + [f"w{i}" for i in range(size["vocab"] - len(special))])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(special)
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    for name, value in {"config.json": config, "tokenizer_config.json": {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "chat_template": TEMPLATE}}.items():
        with open(os.path.join(folder, name), "w") as out:
            json.dump(value, out)
    return folder


# Words alone, and an end after each answer.
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %} {{ message['content'] }}"
    "{% if message['role'] == 'assistant' %} {{ eos_token }}{% endif %}{% endfor %}"
)

TABLES = {"length": over_length, "batch": over_batch, "vocabulary": over_vocabulary, "samples": over_samples, "model": over_size}

if __name__ == "__main__":
    main()
