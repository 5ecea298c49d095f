#!/usr/bin/env python3
"""What `duel plan` says a recipe takes in memory beside what it then takes: the most that the process ever held.

    cargo build --release
    python benches/memory.py --duel target/release/duel --model SmolLM2-135M --data pairs.jsonl [--only adapter,drawing]

Rows are preference pairs, of which 16 are read. On the CPU the process is measured; on a graphics card (--backend) nothing
is, as its driver counts what every program holds: benches/card.py does that. Prints a Markdown table.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

LORA = "\n[{table}.lora]\nr = 16\n"
AGAIN = "gradient_checkpointing = true\n"
PACKED = 'optim = "adamw_8bit"\n'

# Name, table, keys of [table.train], more tables, keys of [model].
TRAININGS = [
    ("SFT", "sft", "", "", ""),
    ("reward model", "reward", "", "", ""),
    ("DPO", "dpo", "", "", ""),
    ("DPO, blocks computed again", "dpo", AGAIN, "", ""),
    ("DPO, moments in 8 bits", "dpo", PACKED, "", ""),
    ("DPO, both", "dpo", AGAIN + PACKED, "", ""),
    ("DPO, adapter", "dpo", "", LORA, ""),
    ("DPO, adapter, blocks computed again", "dpo", AGAIN, LORA, ""),
    ("DPO, adapter over bf16", "dpo", "", LORA, 'dtype = "bf16"\n'),
    ("DPO, adapter over 4 bits", "dpo", "", LORA, "load_in_4bit = true\n"),
    ("DPO, adapter over 4 bits, blocks computed again", "dpo", AGAIN, LORA, "load_in_4bit = true\n"),
]
DRAWINGS = [("drawing in f32", "f32"), ("drawing in bf16", "bf16"), ("drawing in int8", "int8")]


def training(asked, table, train, more, model):
    return f"""
name = "measured"
[model]
model_name_or_path = "{asked.model}"
{model}
[{table}]
max_length = {asked.max_length}
[{table}.data]
files = ["{asked.data}"]
max_rows = 16
[{table}.train]
max_steps = 2
per_device_train_batch_size = {asked.pairs}
max_tokens_per_batch = {asked.tokens}
{train}{more.format(table=table)}
"""


def drawing(asked, dtype):
    """The round trains as little as it can: an adapter, over micro-batches of one pair."""
    return f"""
name = "measured"
[model]
model_name_or_path = "{asked.model}"
[online]
rounds = 1
prompts_per_round = 8
[online.prompts]
files = ["{asked.data}"]
max_rows = 16
[online.judge.rule]
formula = "length:40"
[online.generate]
num_generations = 8
max_new_tokens = 128
dtype = "{dtype}"
[online.lora]
r = 4
[online.train]
max_steps = 1
per_device_train_batch_size = 1
max_tokens_per_batch = 64
gradient_checkpointing = true
"""


def said(asked, words, folder):
    """What a command prints, and the most memory that it held, MiB."""
    command = [asked.duel, *words, "--backend", "cpu", "--json", "--quiet"]
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    out = child.stdout.read()
    _, status, used = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)} failed")
    return out, used.ru_maxrss / 1024


def row(asked, name, recipe):
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "r.toml"), "w") as file:
            file.write(recipe)
        plan = json.loads(said(asked, ["plan", "r.toml"], folder)[0])
        estimate = plan["estimate"]["peak_bytes"] / 2**20
        _, measured = said(asked, ["run", "r.toml"], folder)
    print(f"| {name} | {estimate:,.0f} | {measured:,.0f} | {100 * (estimate / measured - 1):+.0f} % |", flush=True)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--duel", required=True)
    options.add_argument("--model", required=True)
    options.add_argument("--data", required=True)
    options.add_argument("--pairs", type=int, default=4, help="pairs a step")
    options.add_argument("--tokens", type=int, default=2048, help="tokens of a micro-batch")
    options.add_argument("--max-length", type=int, default=512)
    options.add_argument("--only", default="", help="rows whose names have one of these, comma-separated")
    asked = options.parse_args()
    for name in ("duel", "model", "data"):
        setattr(asked, name, os.path.abspath(getattr(asked, name)))
    wanted = asked.only.split(",")
    print("| work | `duel plan`, MiB | measured, MiB | off |\n|---|---|---|---|", flush=True)
    recipes = [(name, training(asked, *rest)) for name, *rest in TRAININGS]
    recipes += [(name, drawing(asked, dtype)) for name, dtype in DRAWINGS]
    for name, recipe in recipes:
        if any(part in name for part in wanted):
            row(asked, name, recipe)


if __name__ == "__main__":
    main()
