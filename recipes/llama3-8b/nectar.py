#!/usr/bin/env python3
"""Makes pairs of Nectar (berkeley-nest/Nectar) for the offline baseline: of each prompt two answers at random, the better
ranked one chosen.

    python3 recipes/llama3-8b/nectar.py data/Nectar/data/rlaif.parquet data/nectar/pairs.jsonl

Needs pyarrow. Answers of one rank or of the same words make no pair; neither do prompts that do not end with the
assistant's turn.
"""

import json
import random
import re
import sys
from pathlib import Path

import pyarrow.parquet as parquet


def turns(text):
    """`Human:` and `Assistant:` turns as messages; none where the roles do not take turns."""
    parts = re.split(r"\n\n(Human|Assistant): ?", text)
    if parts[0].strip():
        return None
    roles, texts = parts[1::2], [part.strip() for part in parts[2::2]]
    expected = ["Human" if i % 2 == 0 else "Assistant" for i in range(len(roles))]
    # The last turn is the assistant's, still to come.
    if roles != expected or len(roles) % 2 or texts[-1] or not all(texts[:-1]):
        return None
    names = {"Human": "user", "Assistant": "assistant"}
    return [{"role": names[role], "content": text} for role, text in zip(roles[:-1], texts)]


def main(source, target, seed=42):
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    kept = dropped = 0
    with target.open("w") as out:
        for batch in parquet.ParquetFile(source).iter_batches(columns=["prompt", "answers"]):
            for row in batch.to_pylist():
                prompt, answers = turns(row["prompt"]), row["answers"]
                # The draw is the row's own, whatever stands before it.
                draw = random.Random(f"{seed} {row['prompt']}")
                pair = draw.sample(answers, 2) if len(answers) > 1 else []
                pair.sort(key=lambda answer: answer["rank"])
                texts = [answer["answer"].strip() for answer in pair]
                ties = len(pair) < 2 or pair[0]["rank"] == pair[1]["rank"] or texts[0] == texts[1]
                if prompt is None or ties or not all(texts):
                    dropped += 1
                    continue
                messages = [[{"role": "assistant", "content": text}] for text in texts]
                line = {"prompt": prompt, "chosen": messages[0], "rejected": messages[1]}
                out.write(json.dumps(line, ensure_ascii=False) + "\n")
                kept += 1
    print(f"{kept} pairs, {dropped} prompts left out")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
