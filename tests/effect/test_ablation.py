"""What a model says without heads, compared with a hook of somebody else's on W_O's input."""

import inspect
import threading

import numpy as np
import pytest
import torch

import attnviz
from attnviz import effect
from attnviz.text.errors import InputError
from tests.support.saying import FAMILIES, output_projection, saying, tokenizer

TEXT, OTHER = "time flies like an arrow", "fruit flies like a banana"
LAYER, HEAD, D_HEAD = 1, 2, 8


@pytest.fixture(scope="module")
def reader():
    return tokenizer()


def asked_of(family):
    """What is asked of a family beside the text."""
    kind = FAMILIES[family][0]
    text = TEXT.replace("like", "[MASK]") if kind == "masked" else TEXT
    return text, (dict(target="an arrow flies") if kind == "target" else {})


def own_logits(model, reader, family, text, more):
    """The row that answers, of a plain forward pass."""
    given = dict(reader(text, return_tensors="pt"))
    named = inspect.signature(model.forward).parameters
    given = {name: one for name, one in given.items() if name in named}
    position = -1
    if "target" in more:
        ids = reader(text_target=more["target"], return_tensors="pt")["input_ids"]
        given["decoder_input_ids"] = model.prepare_decoder_input_ids_from_labels(labels=ids)
        position = 0
    if FAMILIES[family][0] == "masked":
        position = given["input_ids"][0].tolist().index(reader.mask_token_id)
    with torch.no_grad():
        logits = model(**given).logits
    return (logits if logits.ndim == 2 else logits[:, position])[0].numpy()


def heads_of(family):
    if family == "t5":
        return [("cross", LAYER, HEAD)]
    return [("cross", LAYER, 1)] if family == "bart" else [(LAYER, HEAD)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_is_off_as_if_its_part_of_the_input_of_w_o_were_zero(family, reader):
    model = saying(family)
    text, more = asked_of(family)
    (*_, head), d_head = heads_of(family)[0], 16 if family == "bart" else D_HEAD

    def hook(module, args):
        given = args[0].clone()
        given[..., head * d_head : (head + 1) * d_head] = 0
        return (given, *args[1:])

    before = own_logits(model, reader, family, text, more)
    handle = output_projection(model, family, LAYER).register_forward_pre_hook(hook)
    after = own_logits(model, reader, family, text, more)
    handle.remove()
    found = effect.without(model, reader, text, heads_of(family), **more)
    tolerance = 1e-5 * np.abs(before).max()
    np.testing.assert_allclose(found.logits_before, before, atol=tolerance)
    np.testing.assert_allclose(found.logits_after, after, atol=tolerance)
    assert np.abs(after - before).max() > 100 * tolerance
    p, q = (torch.tensor(one).double().log_softmax(-1) for one in (before, after))
    assert found.token_id == before.argmax()
    assert found.change == pytest.approx(float((q - p)[found.token_id]), abs=1e-4)
    assert found.kl == pytest.approx(float((p.exp() * (p - q)).sum()), abs=1e-4)
    assert found.before["probability"][0] == pytest.approx(float(p.exp().max()), abs=1e-5)


def test_without_no_head_the_model_says_the_same_bits(reader):
    model = saying("llama")
    found = effect.without(model, reader, TEXT, [])
    assert (found.logits_before == found.logits_after).all()
    assert found.change == found.kl == 0


def test_without_all_heads_of_a_layer_its_module_returns_its_bias(reader):
    model, returned = saying("gpt2"), []
    module = model.transformer.h[LAYER].attn
    handle = module.register_forward_hook(lambda *given: returned.append(given[-1][0]))
    effect.without(model, reader, TEXT, [(LAYER, head) for head in range(4)])
    handle.remove()
    assert torch.equal(returned[-1], module.c_proj.bias.expand_as(returned[-1]))


def test_updates_of_another_text_and_means_are_put_in_place(reader):
    model, put = saying("llama"), []
    module = output_projection(model, "llama", LAYER)
    heads = [(LAYER, HEAD)]
    handle = module.register_forward_pre_hook(lambda _, args: put.append(args[0].clone()))
    effect.without(model, reader, TEXT, heads, how=OTHER)
    own, others, patched = put
    is_of_head = torch.arange(32) // D_HEAD == HEAD
    assert torch.equal(patched[0], torch.where(is_of_head, others[0], own[0]))
    put.clear()
    means = effect.means(model, reader, [TEXT, OTHER])
    both = torch.cat([one[0] for one in put])
    put.clear()
    effect.without(model, reader, TEXT, heads, how=means)
    handle.remove()
    torch.testing.assert_close(
        put[-1][0][:, is_of_head], both.mean(0)[is_of_head].expand(len(own[0]), -1)
    )
    assert means.n_texts == 2
    assert means.n_tokens == len(both)


@pytest.mark.parametrize("renormalise", [False, True])
def test_a_weight_is_off_as_if_the_update_were_a_sum_without_it(renormalise, reader):
    model, put = saying("llama"), []
    query, key = 5, 2
    handle = output_projection(model, "llama", LAYER).register_forward_pre_hook(
        lambda _, args: put.append(args[0].clone())
    )
    effect.without_weight(model, reader, TEXT, LAYER, HEAD, query, key, renormalise)
    handle.remove()
    one = attnviz.trace(model, reader, TEXT).head(LAYER, HEAD)
    weights = one.weights[query].copy()
    weights[key] = 0
    if renormalise:
        weights /= weights.sum()
    expected = put[0].clone()
    expected[0, query, HEAD * D_HEAD : (HEAD + 1) * D_HEAD] = torch.tensor(weights @ one.v)
    torch.testing.assert_close(put[1], expected)


def test_the_model_is_as_it_was_for_others_at_once_and_after_an_error(reader, monkeypatch):
    model = saying("llama")
    text, more = asked_of("llama")
    before = own_logits(model, reader, "llama", text, more)
    namespace = {module: dict(vars(module)) for module in model.modules()}
    seen = []

    def another():
        seen.append(own_logits(model, reader, "llama", text, more))

    def in_the_middle(updated, values):
        thread = threading.Thread(target=another)
        thread.start()
        thread.join()
        raise RuntimeError("of the test")

    monkeypatch.setattr("attnviz.effect.ablation.putting", lambda *given: in_the_middle)
    with pytest.raises(Exception, match="of the test"):
        effect.without(model, reader, text, [(LAYER, HEAD)])
    assert (seen[0] == before).all()
    assert (own_logits(model, reader, "llama", text, more) == before).all()
    assert {module: dict(vars(module)) for module in model.modules()} == namespace


def test_what_cannot_be_switched_off_is_refused(reader):
    model = saying("llama")
    for given, words in (
        (dict(heads=[(9, 0)]), "no self attention in layer 9"),
        (dict(heads=[(0, 9)]), "has no head 9"),
        (dict(heads=[3]), r"is \(layer, head\)"),
        (dict(heads=[(0, 0)], how="no text of that many tokens at all"), "as many tokens"),
        (dict(heads=[(0, 0)], token="antidisestablishmentarianism"), "not one token"),
        (dict(heads=[(0, 0)], position=70), "positions run from 0 to 6"),
    ):
        with pytest.raises(InputError, match=words):
            effect.without(model, reader, TEXT, **given)


def _noting(counted):
    return lambda *given: counted.append(given)


def test_a_sweep_has_what_each_head_alone_has(reader):
    for family in ("llama", "t5"):
        model = saying(family)
        text, more = asked_of(family)
        counted = []
        found = effect.sweep(model, reader, text, **more, on_progress=_noting(counted))
        assert counted[-1] == (len(found), len(found))
        for row in found.sample(5, random_state=0).itertuples():
            head = [(row.kind, row.layer, row.head)]
            alone = effect.without(model, reader, text, head, token=found.attrs["id"], **more)
            assert row.change == pytest.approx(alone.change, abs=1e-4)
            assert row.kl == pytest.approx(alone.kl, abs=1e-4)
        shares = effect.attribution(model, reader, text, token=found.attrs["id"], **more)
        of_heads = shares[shares["component"] == "head"]
        both = found.merge(of_heads, on=["kind", "layer", "head"])
        assert len(both) == len(of_heads) > 0
        assert (both["direct"] == both["share"]).all()


def test_a_sweep_says_why_it_has_no_direct_effects(reader):
    text, _ = asked_of("bert")
    found = effect.sweep(saying("bert"), reader, text)
    assert found["direct"].isna().all()
    assert "no sum" in found.attrs["no_direct_because"]


def test_a_sweep_that_is_stopped_keeps_what_it_has(reader, monkeypatch):
    monkeypatch.setattr("attnviz.effect.sweeping.BATCH_TOKENS", 20)
    found = effect.sweep(saying("gpt2"), reader, TEXT, on_progress=lambda done, n: done < 4)
    assert len(found) == 5
    assert not found.attrs["is_whole"]
