"""What a model writes is greedy and one sequence, whatever its checkpoint says of generation."""

import copy

import pytest
import torch
from transformers import ByT5Tokenizer, GenerationConfig

import attnviz
from attnviz.capture.writing import greedily
from tests.support import tiny_models

SOURCE = {"input_ids": torch.tensor([[80, 81, 82, 83, 1]])}

SETTINGS = {
    "nothing": {},
    "sampling": dict(do_sample=True, temperature=3.0, top_k=9, top_p=0.5),
    "beams": dict(num_beams=4, length_penalty=2.0, early_stopping=True),
    "several": dict(num_beams=4, num_return_sequences=3),
    "several samples": dict(do_sample=True, num_return_sequences=2),
    "words that stop": dict(stop_strings=["a"]),
    "a dict": dict(return_dict_in_generate=True, output_scores=True, output_attentions=True),
    "lengths": dict(min_length=30, max_length=3, min_new_tokens=20),
    "penalties": dict(
        repetition_penalty=1.8, no_repeat_ngram_size=1, encoder_repetition_penalty=2.0
    ),
    "look-up": dict(prompt_lookup_num_tokens=3),
    "guidance": dict(guidance_scale=2.0),
    "time": dict(max_time=0.0),
    "cache": dict(use_cache=False),
    "static": dict(cache_implementation="static"),
}


def by_hand(model, start, n, suppressed=(), first=None):
    ids = [start]
    for place in range(n):
        with torch.no_grad():
            logits = model(**SOURCE, decoder_input_ids=torch.tensor([ids])).logits[0, -1]
        logits[list(suppressed)] = -torch.inf
        ids.append(first if place == 0 and first is not None else int(logits.argmax()))
        if ids[-1] == model.generation_config.eos_token_id:
            break
    return ids


def build(model_type):
    return tiny_models.build(model_type, vocab_size=384, forced_eos_token_id=None)


@pytest.mark.parametrize("model_type", ["t5", "bart"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_a_checkpoints_settings_change_nothing(model_type, settings):
    model = build(model_type)
    expected = by_hand(model, model.generation_config.decoder_start_token_id, 9)
    model.generation_config = GenerationConfig(
        **model.generation_config.to_diff_dict() | SETTINGS[settings]
    )
    before = copy.deepcopy(model.generation_config.to_dict())
    assert greedily(model, SOURCE, 9).tolist() == [expected]
    assert model.generation_config.to_dict() == before
    trace = attnviz.trace(model, ByT5Tokenizer(), "time")
    assert trace.target_is_decoded
    assert trace.head(0, 0, "decoder").is_exact


def test_start_forced_and_suppressed_tokens_stay_the_models():
    model = build("bart")
    own = model.generation_config
    plain = by_hand(model, own.decoder_start_token_id, 9)
    own.suppress_tokens, own.forced_bos_token_id = [plain[2]], 77
    own.decoder_start_token_id = 5
    expected = by_hand(model, 5, 9, suppressed=[plain[2]], first=77)
    assert greedily(model, SOURCE, 9).tolist() == [expected]
    assert plain[2] not in expected
