"""Every text architecture of transformers: which they are, and a tiny random model of each.

A model type reads text alone where

1. AutoModel, or AutoModelForSeq2SeqLM, -CausalLM or -MaskedLM, has a class for it,
2. the class's main input is `input_ids`, its forward requires nothing else, and text is among
   the modalities that it says it takes,
3. neither its forward's parameters (labels apart) nor its parts' configurations speak of another
   modality.

`NOT_TEXT` names the types that pass these three and read something else than text after all.
"""

import inspect
import re
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tests.support.tiny_models import CONFIGS, UNUSUAL, VOCABULARY, random_ids, sharpen

# Which of a type's classes is built: the first that it has.
_MAPPINGS = (
    modeling_auto.MODEL_MAPPING,
    modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING,
    modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    modeling_auto.MODEL_FOR_MASKED_LM_MAPPING,
)
_OTHER_INPUT = re.compile(
    "pixel|image|video|audio|speech|spectrogram|input_features|visual_(bbox|feats|attention)"
)
_OTHER_PART = re.compile(
    "vision|image|video|audio|speech|codec|vocoder|acoustic|protein|backbone|vq_"
)

NOT_TEXT = {
    "dia": "its decoder reads audio codes",
    "gemma4_assistant": "continues another model's states and ignores the ids",
    "gemma4_unified_assistant": "continues another model's states and ignores the ids",
}


def class_of(model_type: str) -> type[PreTrainedModel] | None:
    """The class that is built for a type, or None where transformers has none, or lacks a part."""
    config_class = CONFIG_MAPPING[model_type]
    for mapping in _MAPPINGS:
        try:
            found = mapping.get(config_class, None)
            if found is not None:
                first = found[0] if isinstance(found, tuple) else found
                _ = first.main_input_name  # raises ImportError where a package is missing
                return first
        except (ValueError, ImportError):
            continue
    return None


def is_text_alone(model_type: str) -> bool:
    """Whether the rule above holds for a type; another name of a type does not count."""
    if CONFIG_MAPPING[model_type].model_type != model_type or model_type in NOT_TEXT:
        return False
    model_class = class_of(model_type)
    if model_class is None or model_class.main_input_name != "input_ids":
        return False
    modalities = model_class.input_modalities
    if "text" not in ((modalities,) if isinstance(modalities, str) else modalities):
        return False
    parameters = dict(inspect.signature(model_class.forward).parameters)
    del parameters["self"]
    required = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    return (
        "input_ids" in parameters
        and set(required) <= {"input_ids", "attention_mask"}
        and not any(_OTHER_INPUT.search(name) for name in parameters if "labels" not in name)
        and not any(_OTHER_PART.search(name) for name in CONFIG_MAPPING[model_type].sub_configs)
    )


def text_types() -> list[str]:
    """Every model type that reads text alone, by the rule above."""
    return [model_type for model_type in CONFIG_MAPPING if is_text_alone(model_type)]


# Tiny configurations

N_LAYERS, N_HEADS, D_MODEL, D_HEAD, N_POSITIONS = 4, 4, 32, 8, 64

# The first pattern that a field's whole name matches says its size. No two of tokens, experts,
# heads and positions are as many as the keys of a text, so that a softmax over one of them is
# not taken for one over keys.
_SIZES: tuple[tuple[str, Any], ...] = (
    (r"type_vocab_size", 2),
    (r"query_pre_attn_scalar", D_HEAD),
    (r"vocab_size|vocab_size_per_layer_input|.*_vocab_size", VOCABULARY),
    (r"(max_position_embeddings|n_positions|n_ctx|max_seq_len|max_sequence_length)", N_POSITIONS),
    (r"(max_(encoder|decoder|target|source)_(positions|position_embeddings|seq_len))", N_POSITIONS),
    (
        r"hidden_size(_global)?|d_model|n_embd|dim|embed_dim|emb_dim|model_dim|word_embed_proj_dim",
        D_MODEL,
    ),
    (r"embedding_size", 16),
    (r"num_(encoder|hidden)_layers|encoder_layers|n_layers?|num_layers", 3),
    (r"num_decoder_layers|decoder_layers", 2),
    (r"num_key_value_heads|n_kv_heads|num_kv_heads|.*_num_key_value_heads", 2),
    (r"(encoder_|decoder_)?(num_)?attention_heads|n_heads?|num_heads", N_HEADS),
    (r".*_num_attention_heads", N_HEADS),
    (r"(.*_)?head_dim|d_kv|attention_head_size|d_head|kv_channels", D_HEAD),
    (r"(q|kv|o)_lora_rank|lora_rank", 16),
    (r"(moe_|shared_expert_|expert_).*(intermediate|ffn|hidden)_(size|dim)", 16),
    (r".*(intermediate_size|ffn_dim|hidden_dim|intermediate_dim|ffn_hidden_size)", 48),
    (r"d_ff|d_inner|n_inner|ffn_size|dim_feedforward", 48),
    (r"num_experts_per_tok|num_experts_per_token|moe_topk|moe_k|top_k_experts|moe_top_k", 2),
    (r"num_(local_)?experts|n_routed_experts|moe_num_experts|num_routed_experts", 4),
    (r"n_group|topk_group|n_shared_experts|num_expert_group", 1),
    (r"index_n_heads", 2),
    (r"index_topk", 4),
    (r"sliding_window|window_size|attention_window|local_attention|attention_window_size", 4),
    (r"linear_num_key_heads", 2),
    (r"linear_num_value_heads", 4),
    (r"linear_(key|value)_head_dim", 8),
    (r"(mamba_|ssm_)?(state_size|d_state|ssm_state_size)", 8),
    (r"(mamba_)?(d_)?(chunk_size)", 4),
)
_LATENT = dict(
    qk_rope_head_dim=4, qk_nope_head_dim=8, qk_head_dim=12, v_head_dim=6, num_key_value_heads=4
)
_MAMBA = dict(
    mamba_n_heads=4,
    mamba_d_head=16,
    mamba_expand=2,
    mamba_n_groups=1,
    linear_head_dim=8,
    linear_num_heads=4,
)

_ROPE_OF_PICTURES = dict(
    rope_parameters=dict(
        rope_type="default", rope_theta=10000.0, mrope_section=[2, 1, 1], partial_rotary_factor=1.0
    )
)
_LINEAR_AND_FULL = ["linear_attention", "full_attention", "linear_attention", "full_attention"]

# What a type needs beyond that.
CHANGES: dict[str, dict[str, Any]] = {
    "bamba": dict(attn_layer_indices=[1, 3]),
    "bros": dict(hidden_size=64),  # a sinus of each side of a box needs two dimensions
    "blt": dict(encoder_hash_byte_group_vocab=64, encoder_hash_byte_group_size=[3, 4]),
    "canine": dict(num_hash_buckets=64, local_transformer_stride=16),
    "codegen": dict(rotary_dim=4),
    "cohere_compass_text": dict(
        layer_types=["full_attention", "sliding_attention"] * 2,
        rope_parameters={
            kind: dict(rope_type="default", rope_theta=10000.0)
            for kind in ("full_attention", "sliding_attention")
        },
        num_hidden_layers=4,
    ),
    "ctrl": dict(dff=48),
    "cpmant": dict(dim_head=8, prompt_length=4, prompt_types=4, segment_types=4),
    "dbrx": dict(
        attn_config=dict(kv_n_heads=2, clip_qkv=8.0, rope_theta=10000.0),
        ffn_config=dict(hidden_size=32, ffn_hidden_size=48, moe_num_experts=4, moe_top_k=2),
    ),
    "deberta": dict(relative_attention=True, pos_att_type=["c2p", "p2c"], pooler_hidden_size=32),
    "deberta-v2": dict(relative_attention=True, pos_att_type=["c2p", "p2c"], pooler_hidden_size=32),
    "deepseek_v2": dict(num_experts_per_tok=2),
    "deepseek_v4": dict(
        compress_rates=dict(compressed_sparse_attention=2, heavily_compressed_attention=4),
        o_groups=2,
        num_key_value_heads=1,
    ),
    "dots1": dict(n_routed_experts=4, n_shared_experts=1, num_experts_per_tok=2),
    "dots3_note_text": dict(
        shared_experts_intermediate_size=16,
        swa_num_attention_heads=2,
        swa_num_key_value_heads=2,
        swa_q_lora_rank=16,
        swa_kv_lora_rank=16,
        swa_head_dim=12,
        swa_qk_nope_head_dim=8,
        swa_v_head_dim=6,
    ),
    "esm": dict(
        vocab_size=VOCABULARY, position_embedding_type="rotary", mask_token_id=3, pad_token_id=0
    ),
    "esmc": dict(num_key_value_heads=4),
    "falcon_h1": dict(mamba_d_ssm=64),
    "funnel": dict(block_sizes=[2, 2], block_repeats=[1, 1]),
    "gemma3n_text": dict(
        intermediate_size=[48] * 4,
        num_kv_shared_layers=1,
        hidden_size_per_layer_input=8,
        laurel_rank=8,
    ),
    "gemma4_text": dict(hidden_size_per_layer_input=8),
    "glm4v_moe_text": _ROPE_OF_PICTURES | dict(head_dim=8),
    "glm4v_text": _ROPE_OF_PICTURES,
    "glm5_next_text": dict(
        index_kpool=2, linear_head_dim=8, linear_num_heads=4, qk_rope_head_dim=0, head_dim=0
    ),
    "glm_image_text": _ROPE_OF_PICTURES,
    "glm_ocr_text": _ROPE_OF_PICTURES,
    "gptj": dict(rotary_dim=4),
    "granitemoehybrid": dict(num_hidden_layers=4, layer_types=_LINEAR_AND_FULL),
    "hunyuan_vl_text": _ROPE_OF_PICTURES,
    "jamba": dict(attn_layer_period=2, attn_layer_offset=1, mamba_dt_rank=4),
    "lfm2": dict(num_hidden_layers=3, layer_types=["conv", "full_attention", "full_attention"]),
    "lfm2_moe": dict(
        num_hidden_layers=3,
        layer_types=["conv", "full_attention", "full_attention"],
        num_dense_layers=1,
    ),
    "lilt": dict(hidden_size=48),
    "longcat_flash": dict(zero_expert_num=2),
    "longt5": dict(local_radius=3, global_block_size=4),
    "mamba2": dict(num_heads=8, head_dim=8, n_groups=2),
    "mistral4": dict(qk_nope_head_dim=4, qk_head_dim=8, head_dim=8),
    # Without norms random weights make scores beyond what float32 can tell apart.
    "mobilebert": dict(normalization_type="layer_norm"),
    "mpt": dict(expansion_ratio=2),
    "markuplm": dict(xpath_unit_hidden_size=8, max_depth=4),
    "nemotron_h": dict(mamba_num_heads=4, mamba_head_dim=16, n_groups=2),
    "pegasus_x": dict(block_size=4, num_global_tokens=3),
    "qwen2_5_vl_text": _ROPE_OF_PICTURES,
    "qwen2_vl_text": _ROPE_OF_PICTURES,
    "qwen4_exp_text": dict(
        indexer_n_heads=2,
        indexer_kv_heads=1,
        indexer_head_dim=8,
        indexer_budget=4,
        indexer_compress_ratio=2,
    ),
    "qwen2": dict(
        use_sliding_window=True,
        sliding_window=4,
        num_hidden_layers=4,
        layer_types=["full_attention", "sliding_attention"] * 2,
    ),
    "recurrent_gemma": dict(lru_width=32, num_hidden_layers=3),
    "reformer": dict(
        axial_pos_shape=(8, 8),
        axial_pos_embds_dim=(16, 16),
        local_attn_chunk_length=4,
        lsh_attn_chunk_length=4,
        feed_forward_size=48,
        attn_layers=["local", "lsh", "local"],
        num_buckets=2,
        num_hidden_layers=3,
    ),
    "roc_bert": dict(pronunciation_embed_dim=8, shape_embed_dim=8),
    "squeezebert": dict(embedding_size=32),
    "vits": dict(
        flow_size=8,
        spectrogram_bins=17,
        upsample_initial_channel=8,
        upsample_rates=[2, 2],
        upsample_kernel_sizes=[4, 4],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1]],
        duration_predictor_filter_channels=8,
        duration_predictor_num_flows=2,
        prior_encoder_num_flows=2,
        prior_encoder_num_wavenet_layers=2,
        posterior_encoder_num_wavenet_layers=2,
    ),
    "xlstm": dict(embedding_dim=32, num_blocks=3, chunk_size=4),
    "xmod": dict(default_language="en_XX"),
    "zamba": dict(
        num_hidden_layers=4,
        layers_block_type=["linear_attention", "hybrid"] * 2,
        attention_hidden_size=64,
        attention_head_dim=16,
        mamba_dt_rank=4,
    ),
    "zamba2": dict(
        num_hidden_layers=4,
        layers_block_type=["linear_attention", "hybrid"] * 2,
        attention_hidden_size=64,
        attention_head_dim=16,
        n_mamba_heads=4,
        mamba_headdim=16,
        adapter_rank=8,
        hybrid_layer_ids=[1, 3],
    ),
    "zaya": dict(num_experts_per_tok=1, router_hidden_size=16),
}


# With its own block size, 64, a big bird attends to all keys in texts of up to 704 tokens.
_SPARSE_FROM_15_TOKENS = dict(block_size=2, num_random_blocks=1)

# A type whose attention depends on its configuration, once more with another one.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "big_bird, long": ("big_bird", _SPARSE_FROM_15_TOKENS),
    "canine, long": ("canine", dict(local_transformer_stride=4)),
    "bigbird_pegasus, long": ("bigbird_pegasus", _SPARSE_FROM_15_TOKENS),
    "deberta, absolute": ("deberta", dict(relative_attention=False, pos_att_type=[])),
    "deberta-v2, absolute": ("deberta-v2", dict(relative_attention=False, pos_att_type=[])),
    "esm, absolute": ("esm", dict(position_embedding_type="absolute")),
    "falcon, ALiBi": ("falcon", dict(alibi=True)),
    "falcon, new": ("falcon", dict(new_decoder_architecture=True)),
    "funnel, factorized": ("funnel", dict(attention_type="factorized")),
    "gpt_bigcode, multi-head": ("gpt_bigcode", dict(multi_query=False)),
    "longt5, global": ("longt5", dict(encoder_attention_type="transient-global")),
    "mpt, no ALiBi": ("mpt", dict(attn_config=dict(alibi=False))),
}


def config_of(model_type: str, **changes: Any) -> PretrainedConfig:
    """A tiny configuration of a type."""
    if model_type in CONFIGS | UNUSUAL:
        fields = (CONFIGS | UNUSUAL)[model_type]
    else:
        fields = _shrunk(CONFIG_MAPPING[model_type])
    return AutoConfig.for_model(model_type, **{**fields, **CHANGES.get(model_type, {}), **changes})


def _shrunk(config_class: type[PretrainedConfig]) -> dict[str, Any]:
    """The fields of a type's own default configuration that must be smaller, and how small."""
    default = config_class()
    fields = {name: value for name, value in vars(default).items() if not name.startswith("_")}
    small = {}
    for name, value in fields.items():
        size = _size_of(name, value)
        if size is not None:
            small[name] = size
    small |= _small_lists(fields, default)
    if "kv_lora_rank" in fields:
        small |= {name: size for name, size in _LATENT.items() if name in fields}
        if "head_dim" in fields:
            is_of_rotary = fields["head_dim"] == fields.get("qk_rope_head_dim")
            small["head_dim"] = _LATENT["qk_rope_head_dim" if is_of_rotary else "qk_head_dim"]
    small |= {name: size for name, size in _MAMBA.items() if name in fields}
    for name, value in fields.items():
        if name.endswith("_token_id"):
            small |= _small_id(name, value)
        if name in ("rope_parameters", "rope_scaling") and isinstance(value, dict):
            small[name] = _small_rope(value, fields)
        if isinstance(value, PretrainedConfig):
            small[name] = _shrunk(type(value)) | CHANGES.get(value.model_type, {})
            if value.model_type:
                small[name]["model_type"] = value.model_type
    return small


def _size_of(name: str, value: Any) -> Any:
    if name == "attn_logit_softcapping" and value:
        return 1.5  # below most scores, so that it is felt
    if isinstance(value, bool) or not isinstance(value, int | None) or value == 0:
        return None
    if value is None and not name.endswith(
        ("key_value_heads", "kv_heads", "head_dim", "sliding_window")
    ):
        return None
    return next((size for pattern, size in _SIZES if re.fullmatch(pattern, name)), None)


def _small_lists(fields: dict[str, Any], default: PretrainedConfig) -> dict[str, Any]:
    """Lists with an entry a layer, cut to layers that show every kind of entry."""
    n_layers = getattr(default, "num_hidden_layers", None)
    lists = {
        name: list(value)
        for name, value in fields.items()
        if isinstance(value, list | tuple) and n_layers and len(value) == n_layers > N_LAYERS
    }
    if not lists:
        return {}
    kinds = [repr(entries) for entries in zip(*lists.values(), strict=True)]
    chosen = [place for place in range(n_layers) if kinds[place] not in kinds[:place]][:N_LAYERS]
    chosen += [place for place in range(n_layers) if place not in chosen][: N_LAYERS - len(chosen)]
    places = sorted(chosen)
    small: dict[str, Any] = {name: [entries[p] for p in places] for name, entries in lists.items()}
    for name, value in fields.items():
        if value == n_layers and re.fullmatch(r"num_hidden_layers|n_layers?|num_layers", name):
            small[name] = N_LAYERS
    return small


def _small_id(name: str, value: Any) -> dict[str, Any]:
    places = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if isinstance(value, list) or (isinstance(value, int) and value >= VOCABULARY):
        return {name: places.get(name, 2)}
    return {}


def _small_rope(rope: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    small = {}
    for name, value in rope.items():
        if isinstance(value, dict):
            value = _small_rope(value, fields)
        if name == "mrope_section":
            value = [2, 1, 1]
        if name in ("long_factor", "short_factor"):
            value = [1.0] * (D_HEAD // 2)
        small[name] = value
    return small


# Models and what they are given


def build(model_type: str, *, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A tiny random model of a type: eager, in evaluation mode, float32, attending sharply."""
    config = config_of(model_type, **changes)
    model_class = class_of(model_type)
    to_sequence = modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING.get(type(config), None)
    if config.is_encoder_decoder and to_sequence is not None:
        model_class = to_sequence
    assert model_class is not None
    torch.manual_seed(seed)
    model = model_class._from_config(config, attn_implementation="eager", dtype=torch.float32)
    return sharpen(model, seed)


N_TOKENS, N_SOURCE, N_TARGET = 9, 13, 5
N_LONG = 20


def inputs_of(model: PreTrainedModel, padding: str | None = None) -> dict[str, Tensor]:
    """What the model is given: 9 tokens, or 13 and a target of 5.

    With `padding` "left" or "right" three tokens on that side are hidden by the mask.
    """
    is_encoder_decoder = model.config.is_encoder_decoder
    n_tokens = N_SOURCE if is_encoder_decoder else N_TOKENS
    is_long = getattr(model.config, "block_size", None) == _SPARSE_FROM_15_TOKENS["block_size"]
    ids = random_ids(N_LONG if is_long else n_tokens)
    mask = torch.ones_like(ids)
    if padding == "left":
        mask[:, :3] = 0
    elif padding == "right":
        mask[:, -3:] = 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    if model.config.model_type == "bros":  # its tokens stand in boxes; any will do
        inputs["bbox"] = torch.rand(1, len(ids[0]), 8)
    if is_encoder_decoder:
        inputs["decoder_input_ids"] = random_ids(N_TARGET, seed=1)
    return inputs
