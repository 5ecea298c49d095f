"""Learning-rate schedules of transformers' get_scheduler -> schedules.json: multiplier of the learning rate at every optimiser step."""
import json
import sys

import torch
import transformers
from transformers import TrainingArguments, get_scheduler

cases = []
for name in ("cosine", "linear", "constant", "constant_with_warmup"):
    for total, warmup in ((10, 0), (10, 3), (25, 0.03), (33, 0.1), (1, 0), (5, 5), (4, 9), (100, 0.29)):
        # transformers 5 reads a `warmup_steps` below 1 as the ratio: this is its own rounding.
        steps = TrainingArguments(output_dir="out_tmp", warmup_steps=warmup, use_cpu=True, report_to="none").get_warmup_steps(total)
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler = get_scheduler(name, optimizer, num_warmup_steps=steps, num_training_steps=total)
        multipliers = []
        for _ in range(total):
            multipliers.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        cases.append({"name": name, "total": total, "warmup": warmup, "warmup_steps": steps, "multipliers": multipliers})

with open(sys.argv[1], "w") as f:
    f.write('{"versions": ' + json.dumps({"torch": torch.__version__, "transformers": transformers.__version__}) + ', "cases": [\n')
    f.write(",\n".join(json.dumps(c) for c in cases) + "\n]}\n")
