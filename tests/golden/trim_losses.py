"""oracle/{dpo_losses_standalone,reward}.json (of make_oracle.py) -> pair_losses.json, reward_losses.json: what the loss functions need, and no more.

Run where make_oracle.py ran:  python trim_losses.py oracle .
"""
import json
import sys

source, target = sys.argv[1], sys.argv[2]
NOT_OURS = ("ld_alpha", "use_weighting")  # options of TRL that weigh tokens before the loss: duel has neither


def write(name, head, rows):
    """One result a line: a diff then shows which loss changed."""
    lines = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in head.items()]
    body = ",\n".join("  " + json.dumps(r) for r in rows)
    with open(f"{target}/{name}.json", "w") as f:
        f.write("{\n" + ",\n".join(lines) + ',\n "results": [\n' + body + "\n ]\n}\n")


full = json.load(open(f"{source}/dpo_losses_standalone.json"))
rows = [r for r in full["results"] if not any(k in r["options"] for k in NOT_OURS)]
for r in rows:
    r.pop("token_grads")  # every token of a row has the same gradient in the losses kept
write("pair_losses", {k: v for k, v in full.items() if k != "results"}, rows)

full = json.load(open(f"{source}/reward.json"))
keep = ("name", "margin", "center_rewards_coefficient", "loss", "rewards_chosen", "rewards_rejected", "metrics")
write("reward_losses", {"versions": full["versions"]}, [{k: r[k] for k in keep} for r in full["results"]])
