#!/usr/bin/env python3
"""The three files of these recipes from one file of HH pairs, as they were measured: train, test and prompts.

    python3 recipes/smollm2-hh/data.py helpful_test.jsonl.gz data/hh

Reads the transcripts that Anthropic published (`chosen` and `rejected` as "\\n\\nHuman: ... \\n\\nAssistant: ...") or rows of
prompt, chosen and rejected. Needs nothing but Python.
"""

import gzip
import json
import pathlib
import random
import re
import sys

LONGEST_PAIR = 700  # characters of the prompt with its longer response
LONGEST_PROMPT = 900
TRAIN, TEST = 700, 300


def turns(transcript):
    parts = re.split(r"\n\n(Human|Assistant): ?", transcript)
    roles = {"Human": "user", "Assistant": "assistant"}
    return [{"role": roles[who], "content": text.strip()} for who, text in zip(parts[1::2], parts[2::2])]


def row(number, raw):
    if "prompt" in raw:
        return {"id": raw.get("id", str(number)), "prompt": raw["prompt"], "chosen": raw["chosen"], "rejected": raw["rejected"]}
    chosen, rejected = turns(raw["chosen"]), turns(raw["rejected"])
    return {"id": str(number), "prompt": chosen[:-1], "chosen": chosen[-1]["content"], "rejected": rejected[-1]["content"]}


def main(source, out):
    read = gzip.open if source.endswith(".gz") else open
    with read(source, "rt", encoding="utf-8") as lines:
        rows = [row(number, json.loads(line)) for number, line in enumerate(lines)]
    length = lambda r: sum(len(turn["content"]) for turn in r["prompt"])
    short = [r for r in rows if length(r) + max(len(r["chosen"]), len(r["rejected"])) <= LONGEST_PAIR]
    random.Random(0).shuffle(short)
    train, test = short[:TRAIN], short[TRAIN : TRAIN + TEST]
    # A prompt of the rounds is in neither file: the reward model has not seen it.
    seen = {json.dumps(r["prompt"]) for r in train + test}
    prompts = []
    for r in rows:
        key = json.dumps(r["prompt"])
        if key not in seen and length(r) <= LONGEST_PROMPT:
            seen.add(key)
            prompts.append({"id": r["id"], "prompt": r["prompt"]})
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", train), ("test", test), ("prompts", prompts)):
        with open(folder / f"{name}.jsonl", "w", encoding="utf-8") as file:
            file.writelines(json.dumps(r) + "\n" for r in part)
        print(f"{folder / name}.jsonl: {len(part)} rows")


if __name__ == "__main__":
    main(*sys.argv[1:])
