"""What a model says, compared with the softmax of its own logits."""

import pytest
import torch
from transformers import AutoModel

from attnviz import effect
from attnviz.capture.calls import Answering
from attnviz.text.errors import InputError
from tests.support.saying import FAMILIES, saying, tokenizer
from tests.support.tiny_models import build

TEXT = "time flies like an arrow"


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "bert", "bart", "bert, classes"])
def test_probabilities_are_the_softmax_of_the_models_own_logits(family):
    model, reader = saying(family), tokenizer()
    kind = FAMILIES[family][0]
    text = TEXT.replace("like", "[MASK]") if kind == "masked" else TEXT
    more = dict(target="an arrow") if kind == "target" else {}
    rows = []
    handle = model.register_forward_hook(lambda *given: rows.append(given[-1]["logits"]))
    found = effect.prediction(model, reader, text, **more)
    handle.remove()
    own = rows[-1] if kind == "class" else rows[-1][:, 0]
    expected = own[0].softmax(-1)
    torch.testing.assert_close(
        torch.tensor(found["probability"].to_numpy()).float(),
        expected[found["id"].to_list()],
        atol=1e-5,
        rtol=0,
    )
    assert found["probability"][0] == pytest.approx(float(expected.max()), abs=1e-5)
    assert len(found) == (3 if kind == "class" else 10)
    if kind != "class":
        assert rows[-1].shape[1] == 1, "logits of the position that was asked for alone"


def test_a_head_that_was_told_to_leave_logits_out_gives_the_same_ones():
    model, reader = saying("bert"), tokenizer()
    text = "time [MASK] like an arrow"
    with torch.no_grad():
        own = model(**reader(text, return_tensors="pt")).logits[0, 2]
    found = effect.prediction(model, reader, text)
    assert found.attrs == {"what": "masked token", "position": 2}
    torch.testing.assert_close(
        torch.tensor(found["logit"].to_numpy()), own.sort(descending=True).values[:10]
    )
    untouched = torch.zeros(1, 5, 4)
    assert Answering(torch.nn.Identity(), [1], 7).only((untouched,)) == (untouched,)


def test_a_token_may_be_named_as_text_with_or_without_a_space():
    model, reader = saying("llama"), tokenizer()
    by_text = effect.without(model, reader, TEXT, [(0, 0)], token="banana")
    by_id = effect.without(
        model, reader, TEXT, [(0, 0)], token=reader.convert_tokens_to_ids("banana")
    )
    assert by_text.token == by_id.token == "banana"
    assert by_text.change == by_id.change


def test_a_model_that_says_nothing_is_refused_with_what_to_load():
    reader = tokenizer()
    base = build("bert", vocab_size=len(reader))
    with pytest.raises(InputError, match="makes embeddings and says nothing"):
        effect.prediction(base, reader, TEXT)
    assert isinstance(base, type(AutoModel.from_config(base.config)))


def test_a_masked_model_asks_for_a_mask_or_a_position():
    model, reader = saying("bert"), tokenizer()
    with pytest.raises(InputError, match=r"write \[MASK\] in place of a word"):
        effect.prediction(model, reader, TEXT)
    assert effect.prediction(model, reader, TEXT, position=3).attrs["position"] == 3


def test_a_class_is_said_of_the_whole_text():
    model, reader = saying("bert, classes"), tokenizer()
    assert effect.prediction(model, reader, TEXT)["token"].str.startswith("LABEL_").all()
    with pytest.raises(InputError, match="of the whole text; received position 2"):
        effect.prediction(model, reader, TEXT, position=2)
