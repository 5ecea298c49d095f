"""The study of multi-objective reward models, and its table: objectives.py DUEL [SEEDS]

Rules of duel's own rate the responses of the quickstart's pairs: five attributes, of which each rating is left out with
probability 0.4; they are centred and have one spread. `objectives` learns to weigh them from the quickstart's pairs, whose winners one rule named whatever the prompt;
`objectives-by-prompt` from the same pairs judged anew, by feelings where a person has a name ("a girl named Mia") and by
length elsewhere. A fifth of the prompts is for testing; neither its pairs nor its ratings are learnt from. The seeds draw the
gate, its batches and the ratings that choose the penalties."""

import itertools
import json
import pathlib
import random
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
RULES = {"sentence": "sentence", "no_repeats": "no_repeats", "feelings": "feelings", "polite": "polite"}
LONG = 60


def rates(duel, rows, rule):
    """A rule's score of each response of some rows."""
    file = HERE / "data" / "objectives-asked.jsonl"
    write(file, rows)
    command = [duel, "judge", "--rule", rule, "--data", file, "--quiet"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line)["rewards"] for line in lines]


def write(path, rows):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def prepare(duel):
    pairs = [json.loads(line) for line in open(HERE / "../../datasets/quickstart/pairs.jsonl")]
    prompts = sorted({json.dumps(pair["prompt"]) for pair in pairs})
    random.Random(14).shuffle(prompts)
    tested = set(prompts[: len(prompts) // 5])
    rows = [{"prompt": pair["prompt"], "responses": [pair["chosen"], pair["rejected"]]} for pair in pairs]
    ratings = {name: rates(duel, rows, rule) for name, rule in RULES.items()}
    words = lambda text: min(len(text.split()) / LONG, 1.0)
    ratings["length"] = [[words(text) for text in row["responses"]] for row in rows]
    for name, values in ratings.items():
        # Probes have no intercept, and equal weights need equal spreads.
        flat = [value for pair in values for value in pair]
        mean, spread = statistics.fmean(flat), statistics.pstdev(flat)
        ratings[name] = [[round((value - mean) / spread, 4) for value in pair] for pair in values]
    rng = random.Random(15)
    rated, parts = [], {"pairs": [], "test": [], "by-prompt-pairs": [], "by-prompt-test": []}
    for at, (pair, row) in enumerate(zip(pairs, rows)):
        side = "test" if json.dumps(pair["prompt"]) in tested else "pairs"
        of = {name: values[at] for name, values in ratings.items()}
        for k, response in enumerate(row["responses"]):
            known = {name: value[k] if rng.random() < 0.6 else None for name, value in of.items()}
            if side == "pairs":
                rated.append({"prompt": row["prompt"], "response": response, **known})
        parts[side].append({"prompt": pair["prompt"], "chosen": pair["chosen"], "rejected": pair["rejected"]})
        wanted = of["feelings"] if " named " in pair["prompt"][-1]["content"] else of["length"]
        if wanted[0] != wanted[1]:
            order = sorted(range(2), key=lambda k: -wanted[k])
            chosen, rejected = (row["responses"][k] for k in order)
            parts[f"by-prompt-{side}"].append({"prompt": pair["prompt"], "chosen": chosen, "rejected": rejected})
    write(HERE / "data" / "objectives-ratings.jsonl", rated)
    for name, part in parts.items():
        write(HERE / "data" / f"objectives-{name}.jsonl", part)
    print({name: len(part) for name, part in parts.items()}, len(rated), file=sys.stderr)


def spread(values):
    values = [value for value in values if value is not None]
    return f"{sum(values) / len(values):.2f} [{min(values):.2f}, {max(values):.2f}]" if values else "-"


def share(parts):
    each = [100 * part["accuracy"] for part in parts]
    return f"{sum(each) / len(each):.1f} [{min(each):.1f}, {max(each):.1f}]"


def main():
    duel, seeds = sys.argv[1], range(1, 1 + int(sys.argv[2] if len(sys.argv) > 2 else 3))
    prepare(duel)
    # What a gate's weights sum to at the start: ArmoRM's 1, and 10.
    for name, scale in itertools.product(("objectives", "objectives-by-prompt"), (1, 10)):
        reports, probes = [], []
        for seed in seeds:
            run = f"study-{name}-{scale}-{seed}"
            words = [HERE / f"{name}.toml", "--set", f"seed={seed}", "--set", f"multi_objective.gate.logit_scale={scale}.0", "--name", run, "--output-dir", "runs", "--quiet"]
            subprocess.run([duel, "multi-objective", *words], check=True, stdout=subprocess.DEVNULL)
            reports.append(json.load(open(f"runs/{run}/multi-objective-eval.json")))
            probes.append(json.load(open(f"runs/{run}/multi-objective-probe.json")))
        judge = reports[0]["judge"]
        print(f"\n## {name}, logit_scale {scale}: {judge['pairs']} held-out pairs, one seed's interval {100 * judge['low']:.1f} to {100 * judge['high']:.1f}\n")
        print("| weights | right |\n|---|---|")
        print(f"| the gate | {share([r['judge'] for r in reports])} |")
        parts = [r["objectives"] for r in reports]
        print(f"| the tree | {share([p['tree'] for p in parts])} |")
        print(f"| equal, debiased | {share([p['mean_of_debiased'] for p in parts])} |")
        print(f"| equal | {share([p['mean_of_rewards'] for p in parts])} |")
        print(f"| the longer response | {share([r['length_only'] for r in reports])} |")
        print("\n| attribute | alone | alone, debiased | weight | from prompt to prompt | error / that of the mean | penalty | Spearman with length, reference | held out |")
        print("|---|---|---|---|---|---|---|---|---|")
        for i, line in enumerate(probes[0]):
            own = [p["attributes"][i] for p in parts]
            probe = [p[i] for p in probes]
            arrow = lambda rows: " to ".join(spread([row[f"correlation_{when}"] for row in rows]) for when in ("before", "after"))
            print("|", " | ".join([
                line["attribute"], share([o["reward"] for o in own]), share([o["debiased"] for o in own]), spread([o["gate"] for o in own]),
                spread([o["gate_spread"] for o in own]), spread([p["validation_mse"] / p["mean_mse"] for p in probe]),
                spread([p["penalty"] for p in probe]), arrow(probe), arrow(own),
            ]), "|", flush=True)


main()
