"""Encoders with decoders, of text, sounds, series and pictures."""

from __future__ import annotations

from functools import partial

from .architecture import HEADS, HIDDEN, TOKENS, WIDTH, WINDOW, WORDS, Architecture

# Two layers of an encoder, two of a decoder with two attentions each.
pair = partial(Architecture, inputs="pair", generates=True, static=True, calls=6)

START = {"decoder_start_token_id": 2}
BART = {
    **TOKENS,
    **START,
    "d_model": HIDDEN,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": HEADS,
    "decoder_attention_heads": HEADS,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
    "max_position_embeddings": 64,
}
T5 = {
    **TOKENS,
    "decoder_start_token_id": 0,
    "d_model": HIDDEN,
    "d_kv": WIDTH,
    "d_ff": 96,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": HEADS,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 16,
}
BERT = {
    "model_type": "bert",
    **TOKENS,
    "hidden_size": HIDDEN,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "max_position_embeddings": 64,
}
T5GEMMA = {
    **TOKENS,
    "hidden_size": HIDDEN,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
    "head_dim": WIDTH,
    "query_pre_attn_scalar": 24,
    "sliding_window": WINDOW,
    "layer_types": ["sliding_attention", "full_attention"],
    "max_position_embeddings": 64,
}


def without(sizes: dict, *names: str) -> dict:
    """The sizes that a family does not have are left out."""
    return {name: value for name, value in sizes.items() if name not in names}


PAIRS = (
    pair("BART", "BartForConditionalGeneration", "BartConfig", BART),
    pair("mBART", "MBartForConditionalGeneration", "MBartConfig", BART),
    pair("Marian", "MarianMTModel", "MarianConfig", BART),
    pair("M2M100", "M2M100ForConditionalGeneration", "M2M100Config", BART, remark="and NLLB"),
    pair("Pegasus", "PegasusForConditionalGeneration", "PegasusConfig", BART),
    pair(
        "EncoderDecoder",
        "EncoderDecoderModel",
        "EncoderDecoderConfig",
        {
            "encoder": BERT,
            "decoder": {**BERT, "is_decoder": True, "add_cross_attention": True},
            **START,
            "pad_token_id": 0,
        },
        remark="BERT and BERT",
    ),
    pair("Blenderbot", "BlenderbotForConditionalGeneration", "BlenderbotConfig", BART),
    pair("PLBart", "PLBartForConditionalGeneration", "PLBartConfig", BART),
    pair(
        "SeamlessM4T-v2",
        "SeamlessM4Tv2ForTextToText",
        "SeamlessM4Tv2Config",
        {
            **without(BART, "d_model"),
            "hidden_size": HIDDEN,
            "speech_encoder_layers": 1,
            "speech_encoder_attention_heads": HEADS,
            "speech_encoder_intermediate_size": 96,
            "t2u_encoder_layers": 1,
            "t2u_decoder_layers": 1,
        },
        remark="from text to text",
    ),
    pair("T5", "T5ForConditionalGeneration", "T5Config", T5, remark="biases of distances"),
    pair("UMT5", "UMT5ForConditionalGeneration", "UMT5Config", T5, remark="biases of distances"),
    pair(
        "Speech2Text",
        "Speech2TextForConditionalGeneration",
        "Speech2TextConfig",
        {
            **without(BART, "max_position_embeddings"),
            "input_feat_per_channel": 8,
            "conv_channels": 16,
            "max_source_positions": 64,
            "max_target_positions": 64,
        },
        inputs="frames and tokens",
        paddings=("right",),
    ),
    pair(
        "Time Series Transformer",
        "TimeSeriesTransformerModel",
        "TimeSeriesTransformerConfig",
        {
            **without(BART, *TOKENS, *START, "max_position_embeddings"),
            "prediction_length": 7,
            "context_length": 16,
            "num_time_features": 1,
            "lags_sequence": [1, 2],
        },
        inputs="series",
        output="last_hidden_state",
        paddings=(),
        generates=False,
        static=False,
    ),
    pair(
        "Whisper",
        "WhisperForConditionalGeneration",
        "WhisperConfig",
        {
            **without(BART, "max_position_embeddings"),
            "num_mel_bins": 8,
            "max_source_positions": 16,
            "max_target_positions": 64,
            "suppress_tokens": None,
            "begin_suppress_tokens": None,
        },
        inputs="spectrum and tokens",
        paddings=(),
        remark="the query is scaled before",
    ),
    pair(
        "NLLB-MoE",
        "NllbMoeForConditionalGeneration",
        "NllbMoeConfig",
        {**BART, "num_experts": 4, "encoder_sparse_step": 2, "decoder_sparse_step": 2},
    ),
    pair(
        "Switch",
        "SwitchTransformersForConditionalGeneration",
        "SwitchTransformersConfig",
        {**T5, "num_experts": 2, "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1},
        remark="biases of distances",
    ),
    pair(
        "T5Gemma",
        "T5GemmaForConditionalGeneration",
        "T5GemmaConfig",
        {"encoder": T5GEMMA, "decoder": T5GEMMA, "vocab_size": WORDS},
        remark="soft cap, own scale, layers with a window",
    ),
    pair(
        "Moonshine",
        "MoonshineForConditionalGeneration",
        "MoonshineConfig",
        {
            **TOKENS,
            **START,
            "hidden_size": HIDDEN,
            "intermediate_size": 96,
            "encoder_num_hidden_layers": 2,
            "decoder_num_hidden_layers": 2,
            "encoder_num_attention_heads": HEADS,
            "decoder_num_attention_heads": HEADS,
            "max_position_embeddings": 64,
        },
        inputs="sound and tokens",
        paddings=(),
    ),
    pair(
        "Pix2Struct",
        "Pix2StructForConditionalGeneration",
        "Pix2StructConfig",
        {
            "text_config": {
                **TOKENS,
                "decoder_start_token_id": 0,
                "hidden_size": HIDDEN,
                "d_kv": WIDTH,
                "d_ff": 96,
                "num_layers": 2,
                "num_heads": HEADS,
                "relative_attention_num_buckets": 8,
                "relative_attention_max_distance": 16,
            },
            "vision_config": {
                "hidden_size": HIDDEN,
                "patch_embed_hidden_size": 48,
                "d_ff": 96,
                "d_kv": WIDTH,
                "num_hidden_layers": 2,
                "num_attention_heads": HEADS,
                "seq_len": 64,
            },
        },
        inputs="patches and tokens",
        paddings=(),
    ),
    pair(
        "LongT5",
        "LongT5ForConditionalGeneration",
        "LongT5Config",
        {**T5, "local_radius": 3},
        remark="the encoder attends within blocks and their neighbours",
    ),
    pair(
        "BigBird-Pegasus",
        "BigBirdPegasusForConditionalGeneration",
        "BigBirdPegasusConfig",
        {**BART, "attention_type": "original_full"},
        remark="its full attention; blocks need longer texts",
    ),
    pair(
        "FSMT",
        "FSMTForConditionalGeneration",
        "FSMTConfig",
        {
            **without(BART, "vocab_size"),
            "langs": ["en", "de"],
            "src_vocab_size": WORDS,
            "tgt_vocab_size": WORDS,
        },
        static=False,
        remark="heads lie in the batch; a static cache changes tokens",
    ),
    pair(
        "ProphetNet",
        "ProphetNetForConditionalGeneration",
        "ProphetNetConfig",
        {
            **TOKENS,
            **START,
            "hidden_size": HIDDEN,
            "num_encoder_layers": 2,
            "num_decoder_layers": 2,
            "num_encoder_attention_heads": HEADS,
            "num_decoder_attention_heads": HEADS,
            "encoder_ffn_dim": 96,
            "decoder_ffn_dim": 96,
            "max_position_embeddings": 64,
            "ngram": 2,
            "num_buckets": 8,
            "relative_max_distance": 16,
        },
        calls=8,
        static=False,
        remark="streams that predict further tokens attend too; a static cache fails",
    ),
    pair(
        "LED",
        "LEDForConditionalGeneration",
        "LEDConfig",
        {
            **without(BART, "max_position_embeddings"),
            "max_encoder_position_embeddings": 64,
            "max_decoder_position_embeddings": 64,
            "attention_window": WINDOW,
        },
        static=False,
        remark="the encoder's scores of a band lie side by side; a static cache changes tokens",
    ),
)
