"""Loads what duel wrote with transformers and PEFT, and lets PEFT write what duel shall load.

    python -P check_interchange.py FOLDER

FOLDER holds sequences.json, a Llama, a reward model, adapters of both, a Qwen3 and a Mistral, all written by duel. The log-probs
and rewards that transformers computes are printed as one JSON object; by-peft, by-peft-reward and
by-transformers are added to FOLDER. Run by tests/laws/interchange.rs.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

FOLDER = Path(sys.argv[1])
SEQUENCES = json.loads((FOLDER / "sequences.json").read_text())


def causal(name):
    return AutoModelForCausalLM.from_pretrained(FOLDER / name, dtype=torch.float32).eval()


def reward(name, **more):
    load = AutoModelForSequenceClassification.from_pretrained
    return load(FOLDER / name, dtype=torch.float32, **more).eval()


def logps(model):
    found = []
    for sequence in SEQUENCES:
        ids = torch.tensor([sequence])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, :-1]
        found += torch.log_softmax(logits, -1).gather(-1, ids[0, 1:, None])[:, 0].tolist()
    return found


def rewards(model):
    with torch.no_grad():
        return [float(model(input_ids=torch.tensor([s])).logits[0, 0]) for s in SEQUENCES]


def with_noise(model):
    """Adapters start at zero: give them something to say."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def main():
    found = {"model": logps(causal("model")), "reward": rewards(reward("reward"))}
    found |= {name: logps(causal(name)) for name in ("qwen3", "mistral")}
    # The tokenizer must load too, and know its end marker.
    found["eos"] = AutoTokenizer.from_pretrained(FOLDER / "model").eos_token_id
    found["adapter"] = logps(PeftModel.from_pretrained(causal("model"), FOLDER / "adapter").eval())
    fresh_head = reward("model", num_labels=1, pad_token_id=1)
    found["reward-adapter"] = rewards(PeftModel.from_pretrained(fresh_head, FOLDER / "reward-adapter").eval())

    patterned = LoraConfig(
        r=3,
        lora_alpha=5,
        use_rslora=True,
        target_modules=["self_attn.q_proj", "v_proj", "mlp.down_proj"],
        rank_pattern={"down_proj": 2},
        alpha_pattern={"layers.1.self_attn.q_proj": 9},
        task_type="CAUSAL_LM",
    )
    by_peft = with_noise(get_peft_model(causal("model"), patterned))
    by_peft.save_pretrained(FOLDER / "by-peft")
    found["by-peft"] = logps(by_peft)

    headed = LoraConfig(r=2, lora_alpha=4, target_modules=["k_proj"], task_type="SEQ_CLS")
    by_peft = with_noise(get_peft_model(reward("reward"), headed))
    by_peft.save_pretrained(FOLDER / "by-peft-reward")
    found["by-peft-reward"] = rewards(by_peft)

    again = causal("model")
    again.save_pretrained(FOLDER / "by-transformers", max_shard_size="20KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(FOLDER / "model" / name, FOLDER / "by-transformers" / name)
    found["by-transformers"] = logps(again)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
