"""The study of what a domain in the mix does to its part of the test (R6): domains.py DUEL [SEEDS]

The quickstart's pairs are judged anew: by feelings where the prompt names a person ("a girl named Mia"), by length elsewhere. One
judge learns from the pairs of other prompts alone, one from both. A fifth of the prompts is for testing, the same in every seed;
a share is that of all test pairs of all seeds, with Wilson's 95 % interval over the pairs of one seed, and the least and the most
of one seed."""

import json
import math
import pathlib
import random
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE / "data"


def prepare(duel):
    file = HERE / "../../datasets/quickstart/pairs.jsonl"
    pairs = [json.loads(line) for line in open(file)]
    told = subprocess.run([duel, "judge", "--rule", "feelings", "--data", file, "--quiet"], check=True, capture_output=True, text=True)
    felt = [json.loads(line) for line in told.stdout.splitlines()]
    prompts = sorted({json.dumps(pair["prompt"]) for pair in pairs})
    random.Random(17).shuffle(prompts)
    tested = set(prompts[: len(prompts) // 5])
    parts = {f"domain-{side}{domain}": [] for side in ("", "test-") for domain in ("named", "other")}
    for pair, feelings in zip(pairs, felt):
        named = " named " in pair["prompt"][-1]["content"]
        texts = [pair["chosen"], pair["rejected"]]
        values = [feelings["chosen"], feelings["rejected"]] if named else [len(text) for text in texts]
        if values[0] != values[1]:
            best = values.index(max(values))
            side = "test-" if json.dumps(pair["prompt"]) in tested else ""
            row = {"prompt": pair["prompt"], "chosen": texts[best], "rejected": texts[1 - best]}
            parts[f"domain-{side}{'named' if named else 'other'}"].append(row)
    DATA.mkdir(exist_ok=True)
    for name, rows in parts.items():
        (DATA / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    print({name: len(rows) for name, rows in parts.items()}, file=sys.stderr)


def wilson(p, count, z=1.959964):
    zz = z * z / count
    middle, half = (p + zz / 2) / (1 + zz), z / (1 + zz) * math.sqrt(p * (1 - p) / count + zz / (4 * count))
    return f"{100 * p:.1f} ({100 * (middle - half):.1f} to {100 * (middle + half):.1f})"


def main():
    duel, seeds = sys.argv[1], range(1, 1 + int(sys.argv[2] if len(sys.argv) > 2 else 3))
    prepare(duel)
    print("| pairs learnt from | right on named | right on other |\n|---|---|---|")
    for mix in (["other"], ["other", "named"]):
        found = {"named": [], "other": []}
        for seed in seeds:
            run = f"study-domains-{'-'.join(mix)}-{seed}"
            files = json.dumps([str(DATA / f"domain-{domain}.jsonl") for domain in mix])
            words = ["--set", f"seed={seed}", "--set", f"reward.data.files={files}", "--name", run, "--output-dir", "runs", "--quiet"]
            subprocess.run([duel, "reward", HERE / "domains.toml", *words], check=True, stdout=subprocess.DEVNULL)
            for domain, each in found.items():
                test = ["--data", DATA / f"domain-test-{domain}.jsonl", "--json", "--quiet"]
                out = subprocess.run([duel, "eval", "--model", f"runs/{run}/reward/checkpoint", *test], check=True, capture_output=True, text=True)
                each.append(json.loads(out.stdout)["judge"])
        cells = []
        for each in found.values():
            shares = [part["accuracy"] for part in each]
            cells.append(f"{wilson(sum(shares) / len(shares), each[0]['pairs'])} [{100 * min(shares):.1f}, {100 * max(shares):.1f}]")
        print(f"| {' and '.join(mix)} |", " | ".join(cells), "|", flush=True)


main()
