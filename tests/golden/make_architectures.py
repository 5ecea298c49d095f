"""Tiny random models of every architecture, with log-probs, rewards and gradients by transformers in f64.

    python -P make_architectures.py        (writes ./architectures/<name>/; -P: statistics.py beside it is not Python's)

Weights are rounded to bf16 before anything is computed, so that the stored files are exact. transformers
computes RMSNorm in f32 whatever the model's dtype; here it is replaced by the same formula in f64. The
rotary tables stay in f32, as transformers has them.
"""

import json
import random
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma2ForSequenceClassification,
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

HERE = Path(__file__).parent / "architectures"
LENGTHS = (1, 7, 40)
SIZES = dict(
    vocab_size=96,
    hidden_size=32,
    intermediate_size=56,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    bos_token_id=1,
    eos_token_id=2,
    attn_implementation="sdpa",
)


def plain(theta=10000.0):
    return {"rope_type": "default", "rope_theta": theta}


# The sequences are longer than the context that llama3 stretches, and than Mistral's window.
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}

# Four heads of width 8 turn in pairs of very different speed: kept, blended and divided ones in each.
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}
YARN_STATED = YARN | {"beta_fast": 4, "beta_slow": 0.5, "truncate": False, "mscale": 2.0, "mscale_all_dim": 0.5}

# The caps bend scores and logits of this size; the window is shorter than the sequences; queries are scaled.
GEMMA2 = dict(
    rope_parameters=plain(),
    head_dim=12,
    query_pre_attn_scalar=20,
    sliding_window=5,
    attn_logit_softcapping=2.0,
    final_logit_softcapping=3.0,
    num_hidden_layers=3,
    attn_implementation="eager",
)

MODELS = {
    "llama": (LlamaForCausalLM, LlamaConfig, dict(rope_parameters=plain(), tie_word_embeddings=False)),
    "llama3-tied": (LlamaForCausalLM, LlamaConfig, dict(rope_parameters=LLAMA3, tie_word_embeddings=True)),
    "llama-biased": (
        LlamaForCausalLM,
        LlamaConfig,
        dict(rope_parameters=plain(), attention_bias=True, mlp_bias=True, tie_word_embeddings=False),
    ),
    "mistral-window": (
        MistralForCausalLM,
        MistralConfig,
        dict(rope_parameters=plain(), sliding_window=5, tie_word_embeddings=False),
    ),
    "qwen2-tied": (Qwen2ForCausalLM, Qwen2Config, dict(rope_parameters=plain(1e6), tie_word_embeddings=True)),
    "qwen3": (
        Qwen3ForCausalLM,
        Qwen3Config,
        dict(rope_parameters=plain(1e6), head_dim=12, rms_norm_eps=1e-5, tie_word_embeddings=False),
    ),
    "llama-reward": (
        LlamaForSequenceClassification,
        LlamaConfig,
        dict(rope_parameters=plain(), num_labels=1, pad_token_id=0, tie_word_embeddings=False),
    ),
    "llama-linear": (
        LlamaForCausalLM,
        LlamaConfig,
        dict(rope_parameters=plain() | {"rope_type": "linear", "factor": 2.5}, tie_word_embeddings=True),
    ),
    "llama-dynamic": (
        LlamaForCausalLM,
        LlamaConfig,
        dict(rope_parameters=plain() | {"rope_type": "dynamic", "factor": 4.0}, tie_word_embeddings=True),
    ),
    "qwen2-yarn": (Qwen2ForCausalLM, Qwen2Config, dict(rope_parameters=YARN, tie_word_embeddings=True)),
    "llama-yarn-stated": (
        LlamaForCausalLM,
        LlamaConfig,
        dict(rope_parameters=YARN_STATED, tie_word_embeddings=True),
    ),
    "gemma": (GemmaForCausalLM, GemmaConfig, dict(rope_parameters=plain(), head_dim=12)),
    "gemma2": (Gemma2ForCausalLM, Gemma2Config, GEMMA2),
    "gemma2-reward": (Gemma2ForSequenceClassification, Gemma2Config, GEMMA2 | dict(num_labels=1, pad_token_id=0)),
}


def rms_norm_in_f64(self, x):
    gemma = type(self).__name__.startswith("Gemma")
    weight, eps = (1 + self.weight, self.eps) if gemma else (self.weight, self.variance_epsilon)
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))


def fill(model, seed):
    """Weights large enough that every part of the model matters to the result."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("norm.weight"):
                value = 1 + 0.3 * noise
            elif name.endswith(".bias"):
                value = 0.3 * noise
            elif parameter.shape[0] == SIZES["vocab_size"]:
                value = 0.5 * noise
            else:
                value = 1.5 * noise / parameter.shape[1] ** 0.5
            parameter.copy_(value.to(torch.bfloat16))


def gradients(model):
    """The norm of each parameter's gradient and three of its entries, the largest among them."""
    picks = random.Random(1)
    rows = {}
    for name, parameter in model.named_parameters():
        flat = parameter.grad.flatten()
        at = sorted({int(flat.abs().argmax()), picks.randrange(len(flat)), picks.randrange(len(flat))})
        rows[name] = {"norm": float(flat.norm()), "entries": [[i, float(flat[i])] for i in at]}
    return rows


def main():
    for index, (folder, (Model, Config, options)) in enumerate(MODELS.items()):
        config = Config(**(SIZES | options))
        model = Model(config)
        fill(model, index)
        path = HERE / folder
        path.mkdir(parents=True, exist_ok=True)
        config.architectures = [Model.__name__]
        config.dtype = "bfloat16"
        config.save_pretrained(path)
        tied = config.tie_word_embeddings
        state = {n: t.to(torch.bfloat16).contiguous() for n, t in model.state_dict().items()}
        kept = {n: t for n, t in state.items() if not (tied and n == "lm_head.weight")}
        save_file(kept, path / "model.safetensors", metadata={"format": "pt"})

        model = model.double().eval()
        for module in model.modules():
            if type(module).__name__.endswith("RMSNorm"):
                module.forward = rms_norm_in_f64.__get__(module)
        draw = random.Random(100 + index)
        # Ids from 3: the reward model must not meet its padding.
        sequences = [[draw.randrange(3, SIZES["vocab_size"]) for _ in range(n)] for n in LENGTHS]
        golden = {"versions": {"torch": torch.__version__, "transformers": transformers.__version__}}
        golden["sequences"] = sequences
        scores, total = [], 0.0
        for sequence in sequences:
            ids = torch.tensor([sequence])
            logits = model(input_ids=ids).logits
            if "reward" in folder:
                score = logits[0]
            else:
                logps = torch.log_softmax(logits[0, :-1], -1)
                score = logps.gather(-1, ids[0, 1:, None])[:, 0]
            scores.append(score.tolist())
            total = total + score.sum()
        total.backward()
        golden["rewards" if "reward" in folder else "token_logps"] = scores
        golden["gradients"] = gradients(model)
        (path / "golden.json").write_text(json.dumps(golden) + "\n")
        size = (path / "model.safetensors").stat().st_size
        print(folder, size, "bytes; sum", float(total))


if __name__ == "__main__":
    main()
