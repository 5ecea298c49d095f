"""A tiny random model in ArmoRM's published layout, with what it says of some conversations in f64.

    python -P make_armorm.py        (writes ./armorm/)

The module is written here after the description of `LlamaForRewardModelWithGating`: a linear reward for each attribute on the last
token's state, a gate on the state at the first token of the last end-of-turn and assistant header, a matrix between them.
RMSNorm is in f64, as in make_architectures.py; weights are rounded to bf16 before anything is computed."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaModel

HERE = Path(__file__).parent / "armorm"
ATTRIBUTES = 5
HIDDEN_DIM, N_HIDDEN, TEMPERATURE = 12, 3, 10.0
# In the place of <|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n.
PATTERN = [90, 91, 92, 93, 94]


class Norm(torch.nn.Module):
    def __init__(self, old):
        super().__init__()
        self.weight, self.eps = old.weight, old.variance_epsilon

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


class Gating(torch.nn.Module):
    def __init__(self, inputs):
        super().__init__()
        widths = [inputs] + [HIDDEN_DIM] * N_HIDDEN + [ATTRIBUTES]
        self.layers = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        self.logit_scale = torch.nn.Parameter(torch.tensor([1.25]))

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return torch.softmax(self.layers[-1](x) / TEMPERATURE, dim=-1) * self.logit_scale[0]


class ArmoRM(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.model = LlamaModel(config)
        self.regression_layer = torch.nn.Linear(config.hidden_size, ATTRIBUTES, bias=False)
        self.reward_transform_matrix = torch.nn.Parameter(torch.eye(ATTRIBUTES))
        self.gating = Gating(config.hidden_size)

    def forward(self, ids):
        states = self.model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        place = max(i for i in range(len(ids)) if ids[i : i + len(PATTERN)] == PATTERN)
        rewards = self.regression_layer(states[-1])
        gate = self.gating(states[place])
        debiased = rewards @ self.reward_transform_matrix
        return {
            "ids": ids,
            "question": place,
            "rewards": rewards.tolist(),
            "debiased": debiased.tolist(),
            "gate": gate.tolist(),
            "coefficients": (gate @ self.reward_transform_matrix.T).tolist(),
            "score": (gate * debiased).sum().item(),
        }


torch.manual_seed(11)
config = LlamaConfig(
    vocab_size=96, hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=64, bos_token_id=1, eos_token_id=2, rms_norm_eps=1e-5,
)
model = ArmoRM(config)
with torch.no_grad():
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and "reward_transform" not in name:
            parameter.normal_(0, 0.4 if "gating" not in name else 0.5)
    # As debiasing leaves it: the last attribute is taken out of the others and of itself.
    model.reward_transform_matrix[4] -= torch.tensor([0.25, 0.0, 0.05, 0.95, 1.0])
    for parameter in model.parameters():
        parameter.copy_(parameter.to(torch.bfloat16).to(torch.float32))
HERE.mkdir(exist_ok=True)
save_file({name: p.detach().to(torch.bfloat16).contiguous() for name, p in model.state_dict().items()}, HERE / "model.safetensors", metadata={"format": "pt"})
settings = config.to_dict()
settings.update(
    architectures=["LlamaForRewardModelWithGating"], num_objectives=ATTRIBUTES, gating_temperature=TEMPERATURE,
    gating_hidden_dim=HIDDEN_DIM, gating_n_hidden=N_HIDDEN,
)
(HERE / "config.json").write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n")

model = model.double().eval()
for layer in model.model.layers:
    layer.input_layernorm = Norm(layer.input_layernorm)
    layer.post_attention_layernorm = Norm(layer.post_attention_layernorm)
model.model.norm = Norm(model.model.norm)
draw = lambda count: torch.randint(3, 89, (count,)).tolist()
with torch.no_grad():
    first = [1] + draw(9)
    several = [1] + draw(4) + PATTERN + draw(5) + [90] + draw(6)
    rows = [
        model(first + PATTERN + draw(7) + [90]),
        model(first + PATTERN + draw(3) + [90]),
        # The last one counts where a conversation has several turns.
        model(several + PATTERN + draw(11) + [90]),
    ]
(HERE / "golden.json").write_text(json.dumps({"rows": rows}, indent=1) + "\n")
