"""Models of pictures, of sounds and of series."""

from __future__ import annotations

from functools import partial

from .architecture import BY_ITSELF, HEADS, HIDDEN, IMAGE, TOKENS, WORDS, Architecture

image = partial(Architecture, inputs="image", output="last_hidden_state", paddings=())
sound = partial(Architecture, inputs="sound", output="last_hidden_state", paddings=("right",))
both = partial(Architecture, inputs="image and tokens", output="logits_per_image", calls=4)

PLAIN = {
    "hidden_size": HIDDEN,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
}
IMAGES = {**PLAIN, "image_size": IMAGE, "patch_size": 8}
SWIN = {
    "image_size": IMAGE,
    "patch_size": 2,
    "embed_dim": HIDDEN,
    "depths": [2],
    "num_heads": [HEADS],
    "window_size": 4,
}
SOUNDS = {
    **PLAIN,
    "vocab_size": WORDS,
    "conv_dim": [32],
    "conv_kernel": [4],
    "conv_stride": [4],
    "feat_extract_norm": "layer",
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
TEXTS = {**PLAIN, **TOKENS, "max_position_embeddings": 64}
RESNET = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 8, 8, 8],
    "depths": [1, 1, 1, 1],
    "out_features": ["stage4"],
}
DETR = {
    "d_model": HIDDEN,
    "num_queries": 5,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": HEADS,
    "decoder_attention_heads": HEADS,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
}

SENSES = (
    image("ViT", "ViTModel", "ViTConfig", IMAGES),
    image("DeiT", "DeiTModel", "DeiTConfig", IMAGES),
    image(
        "DINOv2",
        "Dinov2Model",
        "Dinov2Config",
        {name: size for name, size in IMAGES.items() if name != "intermediate_size"},
    ),
    image(
        "BEiT",
        "BeitModel",
        "BeitConfig",
        {**IMAGES, "use_relative_position_bias": True},
        remark="a bias comes in the mask's place",
    ),
    image(
        "Swin",
        "SwinModel",
        "SwinConfig",
        SWIN,
        returned=1,
        remark="the batch is one of windows; a bias comes in the mask's place",
    ),
    image(
        "Swin-v2",
        "Swinv2Model",
        "Swinv2Config",
        SWIN,
        returned=1,
        refused=BY_ITSELF,
        remark="scores are cosines; the batch is one of windows",
    ),
    image(
        "DETR",
        "DetrForObjectDetection",
        "DetrConfig",
        {**DETR, "backbone_config": RESNET},
        output="logits",
        calls=6,
    ),
    image(
        "Deformable DETR",
        "DeformableDetrForObjectDetection",
        "DeformableDetrConfig",
        {
            **DETR,
            "backbone_config": {**RESNET, "out_features": ["stage3", "stage4"]},
            "num_feature_levels": 2,
            "encoder_n_points": 2,
            "decoder_n_points": 2,
        },
        output="logits",
        calls=6,
        missed=4,
        own=4,
        remark="two layers attend; the four others sample points",
    ),
    image(
        "Mask2Former",
        "Mask2FormerForUniversalSegmentation",
        "Mask2FormerConfig",
        {
            "backbone_config": {
                "model_type": "swin",
                **SWIN,
                "embed_dim": 16,
                "depths": [1, 1, 1, 1],
                "num_heads": [1, 2, 4, 8],
                "out_features": ["stage1", "stage2", "stage3", "stage4"],
            },
            "feature_size": HIDDEN,
            "mask_feature_size": HIDDEN,
            "hidden_dim": HIDDEN,
            "encoder_feedforward_dim": 96,
            "dim_feedforward": 96,
            "encoder_layers": 2,
            "decoder_layers": 3,
            "num_attention_heads": HEADS,
            "num_queries": 5,
        },
        output="class_queries_logits",
        calls=10,
        returned=2,
        missed=2,
        refused=BY_ITSELF,
        remark="pictures by windows, points that are sampled, queries that look where a mask is",
    ),
    image(
        "SAM",
        "SamModel",
        "SamConfig",
        {
            "vision_config": {
                **PLAIN,
                "output_channels": HIDDEN,
                "image_size": IMAGE,
                "patch_size": 8,
                "window_size": 2,
                "global_attn_indexes": [1],
                "num_pos_feats": 32,
                "mlp_dim": 96,
            },
            "prompt_encoder_config": {"hidden_size": HIDDEN, "image_size": IMAGE, "patch_size": 8},
            "mask_decoder_config": {
                "hidden_size": HIDDEN,
                "mlp_dim": 96,
                "num_attention_heads": HEADS,
                "iou_head_hidden_dim": HIDDEN,
            },
        },
        inputs="image and points",
        output="pred_masks",
        calls=9,
        returned=2,
        mistaken=("mask_decoder_attentions",),
        refused="from a table of its own",
    ),
    image(
        "Qwen2-VL vision",
        "models.qwen2_vl.modeling_qwen2_vl.Qwen2VisionTransformerPretrainedModel",
        "models.qwen2_vl.configuration_qwen2_vl.Qwen2VLVisionConfig",
        {
            "depth": 2,
            "embed_dim": HIDDEN,
            "hidden_size": HIDDEN,
            "mlp_ratio": 2,
            "num_heads": HEADS,
            "patch_size": 4,
        },
        inputs="patches of two images",
        calls=4,
        returned=0,
        mistaken=("attentions",),
        remark="a call per image",
    ),
    both(
        "CLIP",
        "CLIPModel",
        "CLIPConfig",
        {"text_config": TEXTS, "vision_config": IMAGES, "projection_dim": 32},
    ),
    both(
        "SigLIP",
        "SiglipModel",
        "SiglipConfig",
        {"text_config": TEXTS, "vision_config": {**IMAGES, "image_size": IMAGE}},
        calls=5,
        returned=4,
        own=1,
        remark="pictures are pooled by attention",
    ),
    both(
        "BLIP",
        "BlipModel",
        "BlipConfig",
        {"text_config": TEXTS, "vision_config": IMAGES, "projection_dim": 32},
        refused=BY_ITSELF,
    ),
    image(
        "PatchTST",
        "PatchTSTModel",
        "PatchTSTConfig",
        {
            "num_input_channels": 3,
            "context_length": 32,
            "patch_length": 4,
            "patch_stride": 4,
            "num_hidden_layers": 2,
            "d_model": HIDDEN,
            "num_attention_heads": HEADS,
            "ffn_dim": 96,
        },
        inputs="channels",
        remark="the batch is one of channels",
    ),
    sound("Wav2Vec2", "Wav2Vec2Model", "Wav2Vec2Config", SOUNDS),
    sound("HuBERT", "HubertModel", "HubertConfig", SOUNDS),
    sound(
        "WavLM",
        "WavLMModel",
        "WavLMConfig",
        {**SOUNDS, "num_buckets": 8, "max_bucket_distance": 16},
        averaged=True,
        refused=BY_ITSELF,
        remark="gated biases of distances; the weights that it returns are the mean of all heads",
    ),
    sound(
        "Wav2Vec2-BERT",
        "Wav2Vec2BertModel",
        "Wav2Vec2BertConfig",
        {**PLAIN, "feature_projection_input_dim": 8, "conv_depthwise_kernel_size": 3},
        inputs="frames",
        remark="keys of distances",
    ),
)
