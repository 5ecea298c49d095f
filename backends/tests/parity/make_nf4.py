"""Weights in NF4 by bitsandbytes, for `codes_stand_for_what_those_of_bitsandbytes_do`.

    pip install torch bitsandbytes && python backends/tests/parity/make_nf4.py
"""
import json, pathlib, torch, bitsandbytes.functional as bnb

torch.manual_seed(7)
weight = torch.randn(24, 128) * torch.logspace(-3, 1, 24)[:, None]
weight[3] = 0
packed, state = bnb.quantize_4bit(weight.reshape(-1), blocksize=64, quant_type="nf4", compress_statistics=False)
whole = bnb.dequantize_4bit(packed, state)
here = pathlib.Path(__file__).parent / "nf4.json"
here.write_text(json.dumps({
    "width": 128,
    "weight": weight.reshape(-1).tolist(),
    "dequantised": whole.reshape(-1).tolist(),
}) + "\n")
