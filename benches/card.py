#!/usr/bin/env python3
"""One command for a graphics card: a Llama of random weights, and duel beside TRL and transformers on it.

    cargo build --release --features webgpu,cuda
    python benches/card.py --duel target/release/duel --out FOLDER --backend cuda --peak-tflops 989

DPO and SFT steps at a max_length of 2048, every row as long as that, and 8 responses of 512 tokens to each of 64 prompts, of
1 billion parameters: compare.py's table. The peers find the card by themselves and compute in bf16, duel in what the device
computes. For another backend of the same card call it again: the model and the rows are drawn from fixed seeds.

**It has not been run on a card yet.** With --size 10M --backend cpu and small numbers it runs anywhere.
"""

import argparse
import json
import os
import random
import subprocess
import sys
from types import SimpleNamespace

import growth


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--duel", required=True)
    options.add_argument("--out", required=True, help="where the model and the rows are made")
    options.add_argument("--backend", default="cuda")
    options.add_argument("--size", default="1B", choices=growth.SIZES)
    options.add_argument("--max-length", type=int, default=2048)
    options.add_argument("--new-tokens", type=int, default=512)
    options.add_argument("--prompts", type=int, default=64)
    options.add_argument("--pairs", type=int, default=2, help="pairs in a step")
    options.add_argument("--steps", type=int, default=8)
    options.add_argument("--only", default="dpo,sft,generate", help="kinds that begin with one of these")
    options.add_argument("--peak-tflops", type=float, help="what the card's maker promises in bf16")
    asked = options.parse_args()
    os.makedirs(asked.out, exist_ok=True)
    size = growth.SIZES[asked.size]
    model = growth.make(SimpleNamespace(out=asked.out), size)
    # Packed rows need more texts, and a generation as many prompts as are asked for.
    count = max(2 * asked.pairs * (asked.steps + 2), asked.prompts)
    command = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "compare.py")]
    command += ["--duel", asked.duel, "--model", model, "--data", conversations(asked, size, count)]
    for name in ("backend", "max_length", "new_tokens", "prompts", "pairs", "steps", "only"):
        command += [f"--{name.replace('_', '-')}", str(getattr(asked, name))]
    command += ["--peak-tflops", str(asked.peak_tflops)] if asked.peak_tflops else []
    sys.exit(subprocess.run(command).returncode)


def conversations(asked, size, count):
    """Pairs of made-up words, each a token: half of both sequences is their prompt, and both are as long as may be."""
    draw = random.Random(asked.max_length)
    words = lambda n: " ".join(f"w{draw.randrange(size['vocab'] - 4)}" for _ in range(n))
    prompt = asked.max_length // 2
    # Beside the words stand the beginning, and the end after an answer.
    answer = asked.max_length - prompt - 2
    path = os.path.join(asked.out, "conversations.jsonl")
    turn = lambda role, n: [{"role": role, "content": words(n)}]
    with open(path, "w") as out:
        for _ in range(count):
            row = {"prompt": turn("user", prompt), "chosen": turn("assistant", answer), "rejected": turn("assistant", answer)}
            print(json.dumps(row), file=out)
    return path


if __name__ == "__main__":
    main()
