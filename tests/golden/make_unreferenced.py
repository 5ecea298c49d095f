"""SimPO and ORPO through TRL's own code, kto_pair by its formula -> unreferenced_losses.json, on the log-probs of pair_losses.json.

TRL adds to ORPO the NLL over prompt and response; here, as in the paper, it is over the response.
kto_pair left TRL with 0.9: 1 - s(b (Dw - KLl)), 1 - s(b (KLw - Dl)), KL = the batch's mean log-ratio, at least 0, held fixed.
Run:  python make_unreferenced.py pair_losses.json unreferenced_losses.json
"""
import json
import sys
from types import SimpleNamespace

import torch
import torch.nn.functional as F
import trl
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

oracle = json.load(open(sys.argv[1]))
tensor = lambda rows: torch.tensor([sum(r) for r in rows], dtype=torch.float64)
policy, reference = tensor(oracle["policy_token_logps"]), tensor(oracle["reference_token_logps"])
chosen_tokens, rejected_tokens = (torch.tensor(oracle[f"completion_lengths_{k}"], dtype=torch.float64) for k in ("chosen", "rejected"))
trainer = lambda **options: SimpleNamespace(accelerator=SimpleNamespace(device="cpu"), alpha=0.0, **options)


def simpo(w, l, beta, simpo_gamma, label_smoothing):
    how = trainer(loss_type="simpo", beta=beta, simpo_gamma=simpo_gamma, label_smoothing=label_smoothing)
    return CPOTrainer.cpo_loss(how, w / chosen_tokens, l / rejected_tokens)[0].mean()


def orpo(w, l, beta, label_smoothing):
    ratio = ORPOTrainer.odds_ratio_loss(trainer(beta=beta), w / chosen_tokens, l / rejected_tokens)[0]
    return -w.sum() / chosen_tokens.sum() - ratio.mean()


def kto_pair(w, l, beta, label_smoothing):
    dw, dl = w - reference[:8], l - reference[8:]
    kl_w, kl_l = dw.mean().clamp(min=0).detach(), dl.mean().clamp(min=0).detach()
    return torch.cat([1 - F.sigmoid(beta * (dw - kl_l)), 1 - F.sigmoid(beta * (kl_w - dl))]).mean()


rows = []
for name, loss, options in (
    ("simpo", simpo, dict(beta=2.0, simpo_gamma=0.5, label_smoothing=0.0)),
    ("simpo", simpo, dict(beta=2.5, simpo_gamma=1.4, label_smoothing=0.1)),
    ("orpo", orpo, dict(beta=0.1, label_smoothing=0.0)),
    ("kto_pair", kto_pair, dict(beta=0.1, label_smoothing=0.0)),
):
    w, l = policy[:8].clone().requires_grad_(), policy[8:].clone().requires_grad_()
    value = loss(w, l, **options)
    value.backward()
    rows.append({"loss_type": name, "options": options, "loss": value.item(), "dloss_dlogp_chosen": w.grad.tolist(), "dloss_dlogp_rejected": l.grad.tolist()})

with open(sys.argv[2], "w") as f:
    f.write('{"versions": ' + json.dumps({"torch": torch.__version__, "trl": trl.__version__}) + ', "results": [\n')
    f.write(",\n".join(json.dumps(r) for r in rows) + "\n]}\n")
