"""Tiny random models in GGUF files, written as llama.cpp's converter writes them."""

import json

import gguf
import numpy as np

from tests.support.tiny_models import CONFIGS, build, byte_level_tokenizer

TEXT = "time flies like an arrow; fruit flies like a banana"
_SHAPE = {
    "llama": dict(intermediate_size=64),  # a multiple of what is quantised together
    "qwen2": CONFIGS["llama"] | dict(intermediate_size=64),  # with biases
    "gpt2": dict(n_positions=1024),  # transformers reads no other from a file
}
_OF_CONVERTER = {"gpt2": ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")}  # transposed


def save_gguf(path, model_type="llama", stored="F32", *, seed=0, without=(), **said):
    """A tiny model in a file, and the model; `said` are further numbers of the file's header."""
    tokenizer = byte_level_tokenizer(TEXT)
    special = dict(bos_token_id=0, eos_token_id=0, pad_token_id=0)
    shape = _SHAPE[model_type] | special | dict(vocab_size=len(tokenizer))
    model = build(model_type, seed=seed, **shape)
    config = model.config
    writer = gguf.GGUFWriter(path, said.pop("architecture", model_type))
    writer.add_name("tiny")
    writer.add_context_length(64)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(64 if model_type != "gpt2" else 4 * config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    if model_type == "gpt2":
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_freq_base(10000.0)
        writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
        writer.add_vocab_size(config.vocab_size)
    if stored is not None:
        writer.add_file_type(
            gguf.LlamaFileType[f"{'ALL' if stored == 'F32' else 'MOSTLY'}_{stored}"]
        )
    for key, value in said.items():
        writer.add_uint16(key.replace("__", "."), value)
    _add_tokenizer(writer, tokenizer)
    for name, array in _tensors(model, model_type).items():
        if not any(part in name for part in without):
            _add(writer, name, array, stored or "F32")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def _add_tokenizer(writer, tokenizer):
    ids = tokenizer.get_vocab()
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(sorted(ids, key=ids.__getitem__))
    normal, control = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
    writer.add_token_types([control, *[normal] * (len(ids) - 1)])
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)


def _tensors(model, model_type):
    """The arrays of a model by the names that llama.cpp has for them."""
    architecture = {of: kind for kind, of in gguf.MODEL_ARCH_NAMES.items()}[model_type]
    names = gguf.get_tensor_name_map(architecture, model.config.num_hidden_layers)
    prefix = "transformer." if model_type == "gpt2" else "model."
    named = {}
    for name, tensor in model.state_dict().items():
        module, _, kind = name.rpartition(".")
        array = tensor.numpy()
        if kind == "weight" and module.endswith(_OF_CONVERTER.get(model_type, ())):
            array = array.T
        if model_type == "llama" and module.endswith(("q_proj", "k_proj")):
            heads = "num_attention_heads" if module.endswith("q_proj") else "num_key_value_heads"
            array = _interleaved(array, getattr(model.config, heads))
        named[f"{names.get_name(prefix + module)}.{kind}"] = array
    return named


def _interleaved(array, n_heads):
    """Its halves of each head one by one, as llama.cpp rotates them."""
    parted = array.reshape(n_heads, 2, array.shape[0] // n_heads // 2, *array.shape[1:])
    return parted.swapaxes(1, 2).reshape(array.shape)


def _add(writer, name, array, stored):
    kind = gguf.GGMLQuantizationType[stored if array.ndim > 1 else "F32"]
    array = np.ascontiguousarray(array, dtype=np.float32)
    writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
