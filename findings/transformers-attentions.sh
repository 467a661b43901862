#!/usr/bin/env bash
# transformers 5.24.0: what `output_attentions=True` returns are not always the weights of each layer, by the eager
# path neither. ProphetNet's encoder and cross attentions are scores, before the softmax; those of the vision part of
# Qwen2-VL are outputs of attention, without heads; WavLM's are the mean of all heads, once for each head; Swin's are
# those of the last layer of each stage alone.
# Seen: rows of ProphetNet's sum to -9 ... 8, Qwen2-VL's are [16, 64], WavLM's heads are equal, Swin returns 1 of 2.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0
"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import torch
import transformers as t
from transformers.models.qwen2_vl import configuration_qwen2_vl, modeling_qwen2_vl

torch.manual_seed(0)


def returned(model, **inputs):
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.ndim > 1:
            parameter.data.normal_(0, parameter.shape[-1] ** -0.5)
    with torch.no_grad():
        return model.eval()(**inputs, output_attentions=True)


eager = {"attn_implementation": "eager"}
tokens = torch.randint(5, 90, (1, 7))
sizes = {"hidden_size": 64, "num_encoder_layers": 1, "num_decoder_layers": 1}
for side in ("encoder", "decoder"):
    sizes |= {f"num_{side}_attention_heads": 4, f"{side}_ffn_dim": 96}
prophet = returned(
    t.ProphetNetModel(t.ProphetNetConfig(vocab_size=99, **sizes, **eager)),
    input_ids=tokens,
    decoder_input_ids=tokens,
)
for name in ("encoder_attentions", "cross_attentions", "decoder_attentions"):
    sums = getattr(prophet, name)[0].sum(-1)
    print("ProphetNet", name, "sums of rows", round(sums.min().item(), 2), round(sums.max().item(), 2))
    assert ((sums - 1).abs().max() < 1e-5) == (name == "decoder_attentions")

config = configuration_qwen2_vl.Qwen2VLVisionConfig(
    depth=1, embed_dim=64, hidden_size=64, num_heads=4, mlp_ratio=2, patch_size=4, **eager
)
qwen = returned(
    modeling_qwen2_vl.Qwen2VisionTransformerPretrainedModel(config),
    hidden_states=torch.randn(16, 96),
    grid_thw=torch.tensor([[1, 4, 4]]),
)
print("Qwen2-VL vision", tuple(qwen.attentions[0].shape))
assert qwen.attentions[0].shape == (16, 64)  # 16 patches of width 64

sounds = {"conv_dim": [32], "conv_kernel": [4], "conv_stride": [4], "num_conv_pos_embeddings": 4}
config = t.WavLMConfig(
    hidden_size=64, num_hidden_layers=1, num_attention_heads=4, intermediate_size=96, **sounds
)
wavlm = returned(t.WavLMModel(config), input_values=torch.randn(1, 64)).attentions[0]
print("WavLM", tuple(wavlm.shape), "heads are equal:", torch.equal(wavlm[:, 0], wavlm[:, 3]))
assert wavlm.shape[1] == 4
assert torch.equal(wavlm, wavlm[:, :1].expand_as(wavlm))

config = t.SwinConfig(
    image_size=32, patch_size=2, embed_dim=64, depths=[2], num_heads=[4], window_size=4, **eager
)
swin = returned(t.SwinModel(config), pixel_values=torch.randn(1, 3, 32, 32))
print("Swin", len(swin.attentions), "of 2 layers")
assert len(swin.attentions) == 1
PYTHON
