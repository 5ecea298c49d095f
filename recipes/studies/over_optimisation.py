"""What optimisation does to the judge's reward and to the gold one (Gao et al. 2023): over_optimisation.py DUEL [SEEDS] [SVG]

Two ways to optimise the same judge, both from the model after SFT: best-of-N over 64 responses a prompt, with the most that it can
move the policy (ln N - (N - 1) / N), and the loop, round by round, with its KL as it was measured. Beside them best-of-N by the judge
that learnt to like length. policies.py has made the runs.
Rewards are in standard deviations of the start's responses, above their mean, so that both rewards share an axis."""

import json
import math
import pathlib
import statistics
import subprocess
import sys

from policies import HERE, ROUNDS, folder, lines, spread

GOLD = "0.6*feelings + 0.2*sentence + 0.2*no_repeats"
MOST = 64
DASHES = {"loop": "", "best-of-N": "6 4", "best-of-N, likes length": "1 4"}


def best_of(duel, seed, judge):
    """Points of (KL, judge, gold), of N = 1, 2, 4, ...; and what one standard deviation of each is, around which mean."""
    start, model = folder("start", seed), folder(judge, seed) / "reward/checkpoint"
    drawn, judged, scored = (start / f"best-of-{part}.jsonl" for part in ("drawn", "judged", f"scored-{judge}"))
    call = lambda *words: subprocess.run([str(word) for word in [duel, *words, "--quiet"]], check=True, stdout=subprocess.PIPE, text=True).stdout
    call("generate", "--model", start / "sft/checkpoint", "--prompts", HERE / "../../datasets/quickstart/eval.jsonl", "--out", drawn,
         "-k", MOST, "--max-new-tokens", 96, "--seed", seed, "--max-tokens-per-batch", 65536)
    call("judge", "--rule", GOLD, "--data", drawn, "--out", judged, "--force")
    out = call("best-of", "--data", judged, "--model", model, "--max-length", 256, "--out", scored, "--force", "--json")
    rows = lines(scored)
    curve = []
    for point in json.loads(out)["curve"]:
        picked = [max(zip(row["scores"][: point["n"]], row["gold"])) for row in rows]
        curve.append((point["kl"], statistics.fmean(judge for judge, _ in picked), point["judges"][0]["mean"]))
    units = [(statistics.fmean(all), statistics.pstdev(all)) for all in ([x for row in rows for x in row[part]] for part in ("scores", "gold"))]
    return curve, units


def loop(seed):
    points = []
    for number in range(1, ROUNDS + 1):
        result = json.load(open(folder("iterative", seed) / f"round-{number}/eval/result.json"))
        opinions = {opinion["judge"]: opinion for opinion in result["opinions"]}
        if not points:
            points.append((0.0, opinions["judge"]["before"], opinions["rule"]["before"]))
        points.append((result["kl"], opinions["judge"]["after"], opinions["rule"]["after"]))
    return points


def scaled(points, units):
    return [(kl, *((value - mean) / deviation for value, (mean, deviation) in zip(rewards, units))) for kl, *rewards in points]


def mean(curves):
    """Of points of several seeds, point by point: of each coordinate the mean, the least and the most."""
    return [[(statistics.fmean(of), min(of), max(of)) for of in zip(*points)] for points in zip(*curves)]


def drawing(curves):
    """Lines with the seeds' range: colour says whose reward, a dash which way."""
    width, height, left, top, right, bottom = 720, 400, 56, 24, 700, 348
    most = max(point[0][0] for curve in curves.values() for point in curve)
    values = [value for curve in curves.values() for point in curve for axis in point[1:] for value in axis]
    low, high = math.floor(2 * min(values)) / 2, math.ceil(2 * max(values)) / 2
    x = lambda kl: left + (right - left) * math.sqrt(kl / most)  # as Gao et al. have it
    y = lambda value: bottom - (bottom - top) * (value - low) / (high - low)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" font-family="sans-serif" font-size="13">',
             "<title>The judge's reward and the gold reward over the KL divergence from the model after SFT</title>",
             "<style>text{fill:#333}.grid{stroke:#8884}.judge{stroke:#c2410c;fill:#c2410c}.gold{stroke:#1d6fb8;fill:#1d6fb8}path{fill:none!important;stroke-width:2}path.grid,path.range{stroke-width:1}",
             "@media(prefers-color-scheme:dark){text{fill:#ddd}.judge{stroke:#fb923c;fill:#fb923c}.gold{stroke:#7cc0ff;fill:#7cc0ff}}</style>"]
    step = 0.5 if high - low <= 4 else 1
    for i in range(round((high - low) / step) + 1):
        value = low + i * step
        parts.append(f'<path class="grid" d="M{left} {y(value):.1f}H{right}"/><text x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    squares = [i * i for i in range(math.isqrt(int(most)) + 1)]
    parts += [f'<text x="{x(kl):.1f}" y="{bottom + 20}" text-anchor="middle">{kl}</text>' for kl in squares]
    parts.append(f'<text x="{(left + right) / 2}" y="{height - 12}" text-anchor="middle">KL from the model after SFT, nats a response (drawn by its square root)</text>')
    parts.append(f'<text x="{left}" y="{top - 8}">reward above the start, in its standard deviations</text>')
    legend = bottom - 16 * 2 * len(DASHES)
    for way, dash in DASHES.items():
        for at, kind in ((1, "judge"), (2, "gold")):
            points = [(x(point[0][0]), *(y(value) for value in point[at])) for point in curves[way]]
            path = "M" + "L".join(f"{px:.1f} {py:.1f}" for px, py, *_ in points)
            parts.append(f'<g class="{kind}"><path d="{path}" stroke-dasharray="{dash}"/><path d="M{right - 230} {legend}h36" stroke-dasharray="{dash}"/>')
            parts += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3"/><path class="range" d="M{px:.1f} {a:.1f}V{b:.1f}"/>' for px, py, a, b in points]
            parts.append(f'</g><text x="{right - 186}" y="{legend + 4}">{kind}, {way}</text>')
            legend += 16
    return "\n".join([*parts, "</svg>"]) + "\n"


def main():
    duel, seeds = sys.argv[1], range(1, 1 + int(sys.argv[2] if len(sys.argv) > 2 else 3))
    svg = pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else HERE / "../../docs/plots/over-optimisation.svg"
    found = {way: [] for way in DASHES}
    for seed in seeds:
        curve, units = best_of(duel, seed, "start")
        found["best-of-N"].append(scaled(curve, units))
        found["loop"].append(scaled(loop(seed), units))
        found["best-of-N, likes length"].append(scaled(*best_of(duel, seed, "start-policy-longer")))
    curves = {way: mean(each) for way, each in found.items()}
    for way, curve in curves.items():
        print(f"\n| {way} | KL | judge | gold |\n|---|---|---|---|")
        for at, point in enumerate(curve):
            print(f"| {at if way == 'loop' else 2 ** at} |", " | ".join(f"{value:.2f} [{low:.2f}, {high:.2f}]" for value, low, high in point), "|")
    svg.parent.mkdir(exist_ok=True)
    svg.write_text(drawing(curves))


if __name__ == "__main__":
    main()
