"""The page on tiny saved models of many families, from folders that the deployment allows."""

import pytest
from transformers import AutoTokenizer

from attnviz.models import bundled
from tests.support import architectures
from tests.support.serving import serving

BIAS = "3a · Add a bias"
ROTARY = "1b · Rotate each query and key by its position"

# A family, and what its page must show beside the steps that every head has.
FAMILIES = {
    "albert": [],
    "bart": ["written by the model"],
    "bloom": [BIAS],
    "deberta-v2": [BIAS],
    "falcon": [],
    "gemma2": ["A soft-cap presses every score"],
    "gpt2": [],
    "gpt_oss": [ROTARY, "The sink, "],
    "gptj": [ROTARY],
    "llama": [ROTARY, "2 key/value heads"],
    "modernbert": [ROTARY],
    "qwen3": [ROTARY],
    "t5": [BIAS, "written by the model"],
    "xlnet": [BIAS],
    "led": ["LEDEncoderSelfAttention (3 layers)"],
}


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    """The page with these models on its list, and where each of them is."""
    tokenizer = AutoTokenizer.from_pretrained(bundled.folder())
    folder = tmp_path_factory.mktemp("families")
    for name in [*FAMILIES, "mamba", "longformer"]:
        architectures.build(name, vocab_size=len(tokenizer)).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    listed = ",".join(str(folder / name) for name in [*FAMILIES, "mamba", "longformer"])
    with serving(tmp_path_factory.mktemp("page"), ATTNVIZ_MODELS=listed) as server:
        yield server.address


@pytest.mark.parametrize("name", FAMILIES)
def test_every_step_is_drawn_and_equals_the_models_own(families, visit, name):
    page = visit(f"?model={name}&layer=1&head=1", at=families)
    page.get_by_text("Replayed weights equal the model's own").first.wait_for(timeout=30_000)
    assert page.get_by_test_id("stException").count() == 0
    said = page.get_by_test_id("stMain").inner_text()
    assert "Layer 1, head 1" in said
    for words in FAMILIES[name]:
        assert words in said, words
    pictures = page.locator("[class*='st-key-matrix_'] .marks")
    assert pictures.count() >= 8


@pytest.mark.parametrize(
    ("name", "beat", "matrix"),
    [
        ("llama", "rotate", "q"),
        ("gemma2", "soft-cap", "capped"),
        ("bloom", "bias", "bias"),
        ("gpt_oss", "softmax", "weights"),
    ],
)
def test_a_beat_that_only_some_models_have_fits_a_projector(families, visit, name, beat, matrix):
    query = f"?model={name}&layer=1&head=1&talk={beat}&embed=true"
    page = visit(query, at=families, height=720)
    assert page.locator(f"[class*='st-key-matrix_{matrix}'] .marks").count() == 1
    bottom = page.evaluate(
        "document.querySelector('.st-key-talk_step').getBoundingClientRect().bottom"
    )
    assert bottom <= 720


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mamba", "has no softmax attention"),
        ("longformer", "LongformerSelfAttention (3 layers) is sparse, or written"),
    ],
)
def test_what_has_no_matrix_of_weights_is_told_so(families, visit, name, sentence):
    page = visit(f"?model={name}", at=families)
    page.get_by_text(sentence).wait_for(timeout=30_000)
    assert page.get_by_test_id("stException").count() == 0
