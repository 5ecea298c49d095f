#!/usr/bin/env python3
"""Makes two files of HelpSteer2 (nvidia/HelpSteer2) for the decision tree: ratings.jsonl, with its five attributes, and
asked.jsonl, with the two responses of each prompt, to be judged in both orders by any model behind an endpoint.

    python3 recipes/llama3-8b/helpsteer2.py data/HelpSteer2/train.jsonl.gz data/helpsteer2

Ratings are from 0 to 4; 2 is taken off, as probes have no intercept. Needs nothing but Python.
"""

import gzip
import json
import sys
from pathlib import Path

ATTRIBUTES = ["helpfulness", "correctness", "coherence", "complexity", "verbosity"]


def turns(text):
    """Turns before the response as messages; between two stands `<extra_id_1>` with the role in the rest of its line."""
    first, *rest = text.split("<extra_id_1>")
    messages = [{"role": "user", "content": first.rstrip("\n")}]
    for part in rest:
        role, _, content = part.partition("\n")
        messages.append({"role": {"User": "user", "Assistant": "assistant"}[role.strip()], "content": content.rstrip("\n")})
    # A row may end with the opened turn of the assistant.
    return messages[:-1] if messages[-1]["role"] == "assistant" else messages


def main(source, target):
    target = Path(target)
    target.mkdir(parents=True, exist_ok=True)
    opened = gzip.open if source.endswith(".gz") else open
    with opened(source, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    prompts = {}
    with (target / "ratings.jsonl").open("w", encoding="utf-8") as out:
        for row in rows:
            ratings = {name: row[name] - 2 for name in ATTRIBUTES if row.get(name) is not None}
            line = {"prompt": turns(row["prompt"]), "response": row["response"], **ratings}
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
            prompts.setdefault(row["prompt"], []).append(row["response"])
    asked = 0
    with (target / "asked.jsonl").open("w", encoding="utf-8") as out:
        for prompt, responses in prompts.items():
            if len(responses) == 2:
                line = {"prompt": turns(prompt), "responses": responses}
                out.write(json.dumps(line, ensure_ascii=False) + "\n")
                asked += 1
    print(f"{len(rows)} rated responses, {asked} prompts with two of them")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
