"""Tiny models that read pictures or sounds, most beside a text, and what each is given.

There are as many patches, latents or frames as tokens wherever that can be, so that a name on the
wrong sequence fits.
"""

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSpeechSeq2Seq,
    EncoderDecoderModel,
    VisionEncoderDecoderModel,
)

from tests.support.tiny_models import _DECODER, _ENCODER, _SPECIAL, sharpen

IMAGE = 5  # the token that stands for a patch
_VISION = dict(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    image_size=8,
    patch_size=4,
)
_VIT = _VISION | dict(model_type="vit")
_BERT = _ENCODER | dict(model_type="bert")
_GPT2 = dict(model_type="gpt2", vocab_size=120, n_embd=32, n_layer=2, n_head=4, n_positions=64)
_READS_ANOTHER = dict(is_decoder=True, add_cross_attention=True)
_OPT = dict(model_type="opt", ffn_dim=48, word_embed_proj_dim=32) | _ENCODER
_QFORMER = _ENCODER | dict(num_hidden_layers=2, encoder_hidden_size=32)
_TEXT_OF_CLIP = _ENCODER | dict(num_hidden_layers=3) | _SPECIAL
_AUDIO = dict(d_model=32, encoder_attention_heads=4, encoder_ffn_dim=48, num_mel_bins=8)
_IN_QWEN = dict(depth=2, embed_dim=32, num_heads=4, mlp_ratio=2, spatial_merge_size=2)

_CONFIGS = {
    "clip": dict(text_config=_TEXT_OF_CLIP, vision_config=_VISION, projection_dim=16),
    "siglip": dict(text_config=_TEXT_OF_CLIP, vision_config=_VISION),
    "llava": dict(
        vision_config=_VISION | dict(model_type="clip_vision_model"),
        text_config=_DECODER | dict(model_type="llama"),
        image_token_id=IMAGE,
        vision_feature_layer=-1,
    ),
    "paligemma": dict(
        vision_config=_VISION | dict(model_type="siglip_vision_model", projection_dim=32),
        text_config=_DECODER | dict(model_type="gemma"),
        image_token_id=IMAGE,
        projection_dim=32,
    ),
    "gemma3": dict(
        vision_config=_VISION | dict(model_type="siglip_vision_model"),
        text_config=_DECODER | dict(sliding_window=4, query_pre_attn_scalar=8),
        mm_tokens_per_image=4,
        image_token_index=IMAGE,
    ),
    "idefics3": dict(
        vision_config=_VISION,
        text_config=_DECODER | dict(model_type="llama"),
        scale_factor=2,
        image_token_id=IMAGE,
    ),
    "blip-2": dict(
        vision_config=_VISION,
        qformer_config=_QFORMER,
        text_config=_OPT,
        num_query_tokens=5,
        image_token_id=IMAGE,
    ),
    "qwen2_vl": dict(
        vision_config=_IN_QWEN | dict(hidden_size=32, patch_size=4, in_channels=3),
        text_config=_DECODER
        | dict(rope_scaling=dict(rope_type="default", mrope_section=[1, 1, 2])),
        image_token_id=IMAGE,
        video_token_id=6,
        vision_start_token_id=7,
        vision_end_token_id=8,
    ),
    "qwen2_audio": dict(
        audio_config=_AUDIO | dict(encoder_layers=2, max_source_positions=6),
        text_config=_DECODER | dict(model_type="qwen2"),
        audio_token_index=IMAGE,
    ),
    "flava": dict(
        text_config=_ENCODER,
        image_config=_VISION,
        multimodal_config=dict(_VISION, num_hidden_layers=1),
        projection_dim=16,
    ),
    "lxmert": dict(
        vocab_size=120,
        hidden_size=32,
        num_attention_heads=4,
        intermediate_size=48,
        l_layers=2,
        x_layers=1,
        r_layers=1,
        visual_feat_dim=16,
    ),
    "whisper": _SPECIAL
    | _AUDIO
    | dict(
        vocab_size=120,
        encoder_layers=2,
        decoder_layers=2,
        decoder_attention_heads=4,
        decoder_ffn_dim=48,
        max_source_positions=6,
        max_target_positions=20,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    ),
    "vit": _VISION,
    "vision-encoder-decoder": dict(encoder=_VIT, decoder=_GPT2 | _READS_ANOTHER),
    "encoder-decoder": dict(encoder=_BERT, decoder=_BERT | _READS_ANOTHER),
}
_MAKERS = {
    "whisper": AutoModelForSpeechSeq2Seq,
    "vision-encoder-decoder": VisionEncoderDecoderModel,
    "encoder-decoder": EncoderDecoderModel,
}

# What each has beside the attention of its text: kinds with their layers and their positions.
OTHERS = {
    "clip": {"vision": (2, 5)},
    "siglip": {"vision": (2, 4)},
    "llava": {"vision": (2, 5)},
    "paligemma": {"vision": (2, 4)},
    "gemma3": {"vision": (2, 4)},
    "idefics3": {"vision": (2, 4)},
    "blip-2": {"qformer": (2, 5), "qformer, cross": (1, 5), "vision": (2, 5)},
    "qwen2_vl": {"vision": (2, 4)},
    "qwen2_audio": {"audio": (2, 6)},
    "flava": {"image": (2, 5), "multimodal": (1, 11)},
    "lxmert": {
        "encoder.r_layers.attention.self": (1, 5),
        "encoder.x_layers.lang_self_att.self": (1, 5),
        "encoder.x_layers.visn_self_att.self": (1, 5),
        "cross": (2, 5),
    },
}


def build(model_type):
    config = AutoConfig.for_model(model_type, **_CONFIGS[model_type])
    torch.manual_seed(0)
    if model_type.endswith("encoder-decoder"):
        model = _MAKERS[model_type]._from_config(config, attn_implementation="eager")
    else:
        made_by = _MAKERS.get(model_type, AutoModel)
        model = made_by.from_config(config, attn_implementation="eager")
    return sharpen(model)


def inputs_of(model_type):
    """A picture or a sound, and a text in which its place is marked."""
    generator = torch.Generator().manual_seed(1)

    def drawn(*shape):
        return torch.randn(shape, generator=generator)

    def ids(*numbers):
        return torch.tensor([numbers])

    picture, five = {"pixel_values": drawn(1, 3, 8, 8)}, {"input_ids": ids(9, 10, 6, 7, 2)}
    in_text = {"input_ids": ids(*[IMAGE] * 4, 11)} | picture
    sound = {"input_features": drawn(1, 8, 12)}
    decoded = {"decoder_input_ids": ids(1, 9, 8, 7, 6)}
    inputs = {
        "clip": five | picture,
        "siglip": {"input_ids": ids(9, 10, 6, 7)} | picture,
        "llava": in_text,
        "paligemma": in_text | {"token_type_ids": ids(0, 0, 0, 0, 1)},
        "gemma3": in_text | {"token_type_ids": ids(1, 1, 1, 1, 0)},
        "idefics3": {
            "input_ids": ids(IMAGE, 11, 12, 13),
            "pixel_values": picture["pixel_values"][:, None],
        },
        "blip-2": {"input_ids": ids(*[IMAGE] * 5)} | picture,
        "qwen2_vl": {
            "input_ids": ids(7, IMAGE, 8, 11),
            "pixel_values": drawn(4, 96),
            "image_grid_thw": torch.tensor([[1, 2, 2]]),
            "mm_token_type_ids": ids(0, 1, 0, 0),
        },
        "qwen2_audio": sound
        | {
            "input_ids": ids(*[IMAGE] * 3, 11, 12, 13),
            "attention_mask": torch.ones(1, 6, dtype=torch.long),
            "feature_attention_mask": torch.ones(1, 12, dtype=torch.long),
        },
        "flava": five | picture,
        "lxmert": five | {"visual_feats": drawn(1, 5, 16), "visual_pos": drawn(1, 5, 4).abs()},
        "whisper": sound | decoded,
        "vit": picture,
        "vision-encoder-decoder": picture | decoded,
        "encoder-decoder": five | decoded,
    }
    return inputs[model_type]
