"""The adapter of lora.json: PEFT's, rank 8 on all seven linear modules of SmolLM2-135M-Instruct, from a fixed seed.

    python -P make_adapter.py MODEL OUT        (-P: statistics.py beside it is not Python's)

MODEL is the model's Hugging Face directory; OUT gets adapter_config.json and adapter_model.safetensors (10 MB, which is
why they are made and not kept).
"""

import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def adapter(path):
    """The adapted model; its second factors are N(0, 0.01), or it would say what its base says."""
    torch.manual_seed(7)
    shape = LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules=MODULES, task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32), shape)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.01)
    return model.eval()


if __name__ == "__main__":
    adapter(sys.argv[1]).save_pretrained(sys.argv[2])
