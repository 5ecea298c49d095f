"""What learning preferences costs elsewhere (R9): alignment_tax.py DUEL [SEEDS]

SFT is on the quickstart's stories and on 3,000 sums solved step by step; the judge, the prompts and the pairs of the three rounds
are about stories alone. After SFT and after each round the policy solves 300 sums that it has not seen, four times each. The interval (95 %, by the normal) is over the problems, whose value is the mean over seeds and tries."""

import json
import math
import pathlib
import random
import statistics
import subprocess
import sys

from best_of import problem

HERE = pathlib.Path(__file__).resolve().parent
PLACES = ["sft", "round-1", "round-2", "round-3"]


def prepare():
    draw, sums = random.Random(18), {}
    while len(sums) < 3300:
        question, solution, answer = problem(draw)
        turn = [{"role": "user", "content": question}]
        sums[question] = {"prompt": turn, "completion": [{"role": "assistant", "content": solution}], "answer": answer}
    rows = list(sums.values())
    (HERE / "data").mkdir(exist_ok=True)
    (HERE / "data/tax-sft.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:3000]))
    test = [{"prompt": row["prompt"], "answer": row["answer"]} for row in rows[3000:]]
    (HERE / "data/tax-test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in test))


def main():
    prepare()
    duel, seeds = sys.argv[1], range(1, 1 + int(sys.argv[2] if len(sys.argv) > 2 else 3))
    call = lambda *words: subprocess.run([str(word) for word in [duel, *words, "--quiet"]], check=True, stdout=subprocess.PIPE, text=True).stdout
    right = {place: [] for place in PLACES}
    won = []
    for seed in seeds:
        run = pathlib.Path("runs") / f"study-policy-tax-{seed}"
        call("run", HERE / "policy-tax.toml", "--set", f"seed={seed}", "--name", run.name, "--output-dir", "runs")
        won.append(100 * json.load(open(run / "round-3/eval/result.json"))["opinions"][0]["win_rate"])
        for place in PLACES:
            drawn, judged = (run / f"sums-{place}-{part}.jsonl" for part in ("drawn", "judged"))
            call("generate", "--model", run / place / "checkpoint", "--prompts", HERE / "data/tax-test.jsonl", "--out", drawn,
                 "-k", 4, "--max-new-tokens", 96, "--seed", seed, "--max-tokens-per-batch", 65536)
            call("judge", "--rule", "answer", "--data", drawn, "--out", judged, "--force")
            right[place].append([100 * statistics.fmean(json.loads(line)["rewards"]) for line in open(judged)])

    def shown(each):
        problems = [statistics.fmean(values) for values in zip(*each)]
        mean, half = statistics.fmean(problems), 1.959964 * statistics.stdev(problems) / math.sqrt(len(problems))
        means = [statistics.fmean(values) for values in each]
        return f"{mean:.1f} ({mean - half:.1f} to {mean + half:.1f}) [{min(means):.1f}, {max(means):.1f}]"

    print("| after | sums right, % | less than after SFT |\n|---|---|---|")
    for place, each in right.items():
        less = [[after - before for after, before in zip(a, b)] for a, b in zip(each, right["sft"])]
        print(f"| {place} | {shown(each)} | {shown(less) if place != 'sft' else ''} |")
    print("gold win rate on stories after round 3:", ", ".join(f"{value:.1f}" for value in won))


main()
