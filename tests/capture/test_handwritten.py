"""Attention that a model writes by hand: what is read from its operations."""

import numpy as np
import pytest
import torch
from torch import nn

import attnviz
from attnviz.capture import products
from attnviz.capture.calls import Recording
from attnviz.capture.handwritten import Tracing
from attnviz.capture.modules import modules_of
from attnviz.capture.recording import recording
from tests.support import architectures, tiny_models


def traced(name, **inputs):
    model_type, changes = architectures.VARIANTS.get(name, (name, {}))
    model = architectures.build(model_type, **changes)
    return model, attnviz.trace_inputs(model, architectures.inputs_of(model) | inputs)


def test_a_bias_that_grows_with_the_distance_is_measured():
    _, trace = traced("bloom")
    assert trace.layer(0).captured == "traced"
    for number in range(4):
        head = trace.head(1, number)
        slope = 2.0 ** -(2 * number + 2)  # ALiBi, Press et al. 2022, for 4 heads
        expected = np.where(head.is_masked, 0, slope * np.arange(9))
        np.testing.assert_allclose(head.bias, expected, atol=1e-6)
        assert head.scaling == pytest.approx(8**-0.5)
        np.testing.assert_array_equal(head.is_masked, np.triu(np.ones((9, 9), bool), k=1))


def test_a_bias_that_depends_on_the_words_is_measured_and_there_is_none_without_it():
    model, trace = traced("deberta-v2")
    head, other = trace.head(1, 0), trace.head(1, 1)
    assert np.abs(head.bias).max() > 0.1
    assert not np.allclose(head.bias, other.bias)
    assert head.scaling == pytest.approx((3 * head.q.shape[1]) ** -0.5)
    ids = tiny_models.random_ids(9, seed=5)
    elsewhere = attnviz.trace_inputs(model, {"input_ids": ids}).head(1, 0)
    assert not np.allclose(elsewhere.bias, head.bias, atol=0.01)
    _, absolute = traced("deberta-v2, absolute")
    assert absolute.head(1, 0).bias is None
    assert absolute.head(1, 0).scaling == pytest.approx(8**-0.5)


def test_query_and_key_are_those_before_the_module_scaled_them():
    model, trace = traced("mvp")  # multiplies its queries by 1/√d_head
    layer = model.model.encoder.layers[0].self_attn
    head = trace.head(0, 1, "encoder")
    rows = slice(8, 16)
    projected = head.x_query @ layer.q_proj.weight[rows].T.detach().numpy()
    projected += layer.q_proj.bias[rows].detach().numpy()
    np.testing.assert_allclose(head.q, projected, atol=1e-5)
    assert head.scaling == pytest.approx(8**-0.5)


def test_the_heads_shares_add_up_where_the_projection_is_an_einsum_or_adds_the_residual():
    for name in ("xlnet", "bloom", "luke", "falcon"):
        _, trace = traced(name)
        for layer in trace.layers():
            assert trace.layer(layer).output_error < 1e-5, name


def test_x_is_by_position_wherever_a_model_keeps_its_positions():
    for name in ("xlnet", "squeezebert", "bloom"):
        _, trace = traced(name)
        assert trace.head(0, 0).x_query.shape == (9, 32), name
    _, trace = traced("funnel")
    shapes = [trace.head(layer, 0).weights.shape for layer in trace.layers()]
    assert any(n_queries < n_keys for n_queries, n_keys in shapes)
    for layer, shape in zip(trace.layers(), shapes, strict=True):
        head = trace.head(layer, 0)
        assert (len(head.x_query), len(head.x_key)) == shape


def test_windows_of_a_text_are_not_called_layers():
    _, trace = traced("canine")
    assert trace.not_shown == ()
    _, trace = traced("canine, long")
    assert trace.not_shown == ("CanineSelfAttention (1 layer)",)
    assert all(head.is_exact for head in (trace.head(layer, 0) for layer in trace.layers()))


def test_a_list_of_axes_is_understood_on_the_way_to_the_output():
    class Listed(Attention):
        def forward(self, hidden_states):
            q, k, v = self.project(hidden_states).view(1, -1, 3, 2, 2).permute(2, 0, 3, 1, 4)
            updated = (q @ k.mT).softmax(-1) @ v
            return torch.nn.functional.linear(
                updated.permute(dims=[0, 2, 1, 3]).flatten(2), torch.ones(3, 4)
            )

    (call,) = recorded(Listed()).calls
    assert call.joining.weight_rows(5, 2, 2) is not None


def test_an_interrupt_leaves_nothing_behind():
    def interrupt(scores):
        raise KeyboardInterrupt

    before = torch.overrides._get_current_function_mode_stack()
    with pytest.raises(KeyboardInterrupt):
        recorded(Attention(interrupt))
    assert torch.overrides._get_current_function_mode_stack() == before


def test_what_may_call_an_eager_function_is_observed_and_traced_where_it_does_not(monkeypatch):
    plain = architectures.build("gpt2")
    by_hand = architectures.build("gpt2", reorder_and_upcast_attn=True)
    by_hand.load_state_dict(plain.state_dict())
    inputs = architectures.inputs_of(plain)
    # Its product is written into memory that was not set, which may hold anything.
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size, **of: empty(*size, **of).fill_(torch.nan))
    expected, got = (attnviz.trace_inputs(model, inputs) for model in (plain, by_hand))
    assert expected.layer(0).captured == "observed"
    assert got.layer(0).captured == "traced"
    assert got.layers() == expected.layers() == (0, 1, 2)
    head = got.head(2, 3)
    assert head.is_exact
    np.testing.assert_allclose(head.weights, expected.head(2, 3).weights, atol=1e-5)
    assert head.scaling == pytest.approx(8**-0.5)


def test_a_key_that_is_hidden_by_a_product_with_zero_is_hidden():
    _, trace = traced("openai-gpt")
    head = trace.head(0, 0)
    assert head.bias is None
    np.testing.assert_array_equal(head.is_masked, np.triu(np.ones((9, 9), bool), k=1))


def test_a_module_with_two_attentions_has_two_kinds():
    _, trace = traced("lilt")
    assert trace.kinds == ("self", "self, second")
    text, layout = trace.head(0, 0), trace.head(0, 0, "self, second")
    assert text.q.shape[1] > layout.q.shape[1]
    assert trace.layers() == trace.layers("self, second") == (0, 1, 2)
    _, trace = traced("prophetnet")
    assert trace.kinds == ("encoder", "decoder", "predict", "predict, stream 2", "cross")
    assert trace.n_heads(0, "predict, stream 2") == trace.n_heads(0, "decoder") == 16


# What cannot be read


@pytest.mark.parametrize("name", ["led", "longt5", "pegasus_x", "bigbird_pegasus, long"])
def test_sparse_attention_beside_dense_is_named(name):
    model_type, changes = architectures.VARIANTS.get(name, (name, {}))
    model = architectures.build(model_type, **changes)
    trace = attnviz.trace_inputs(model, architectures.inputs_of(model))
    assert trace.kinds == ("decoder", "cross")
    (sentence,) = trace.not_shown
    assert sentence.endswith("(3 layers)")


@pytest.mark.parametrize("name", ["longformer", "big_bird, long"])
def test_sparse_attention_alone_is_refused_by_its_name(name):
    with pytest.raises(attnviz.UnsupportedModelError, match=r"SelfAttention|BlockSparseAttention"):
        traced(name)


class Attention(nn.Module):
    """Attention by hand, which does something of its own to scores or weights."""

    def __init__(self, scores=lambda x: x, weights=lambda x: x, values=lambda w, x: x):
        super().__init__()
        self.project = nn.Linear(4, 12)
        self.scores, self.weights, self.values = scores, weights, values

    def forward(self, hidden_states):
        q, k, v = self.project(hidden_states).view(1, -1, 3, 2, 2).permute(2, 0, 3, 1, 4)
        weights = self.weights(self.scores(q @ k.mT).softmax(-1))
        return (weights @ self.values(weights, v)).transpose(1, 2).flatten(2)


def recorded(module):
    torch.manual_seed(0)
    made = Recording(around=Tracing())
    with recording(modules_of(module), made):
        module(torch.randn(1, 5, 4))
    return made


def masked(scores):
    return scores.masked_fill(torch.ones(5, 5).triu(1).bool(), float("-inf"))


def test_whatever_is_done_cell_by_cell_is_read():
    (call,) = recorded(Attention(lambda s: masked((s + torch.arange(5)) / 4).clamp(min=-1e9))).calls
    torch.testing.assert_close(call.bias[0, 0, -1], torch.arange(5) / 4)
    assert call.scaling == 0.25
    assert (call.mask < -1e8).sum() == 10
    (call,) = recorded(Attention(lambda s: s.mul_(0.5).add_(1))).calls
    assert call.scaling == 0.5
    assert (call.bias == 1).all()
    (call,) = recorded(Attention()).calls
    assert (call.mask, call.bias, call.scaling) == (None, None, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"scores": lambda s: s.flip(-1)},  # cells move
        {"scores": lambda s: (s.permute(0, 2, 3, 1) @ torch.ones(2, 2)).permute(0, 3, 1, 2)},
        {"scores": lambda s: torch.randn_like(s)},  # no scores at all
        {"weights": lambda w: w.flip(-1)},
        {"values": lambda w, v: w @ v},  # values of weights
    ],
)
def test_whatever_mixes_cells_is_not_guessed(change):
    made = recorded(Attention(**change))
    assert made.calls == []
    assert [type(module) for module in made.unread] == [Attention]


def test_a_module_that_fails_leaves_nothing_behind():
    def fail(scores):
        raise ValueError("no scores")

    before = torch.overrides._get_current_function_mode_stack()
    with pytest.raises(ValueError, match="no scores"):
        recorded(Attention(fail))
    assert torch.overrides._get_current_function_mode_stack() == before
    assert len(recorded(Attention()).calls) == 1


def test_outside_a_trace_nothing_is_noted():
    module, made = Attention(), Recording(around=Tracing())
    with torch.no_grad():
        before = module(torch.ones(1, 5, 4))
        with recording(modules_of(module), made):
            during = module(torch.ones(1, 5, 4))
        torch.testing.assert_close(module(torch.ones(1, 5, 4)), before, rtol=0, atol=0)
    torch.testing.assert_close(during.as_subclass(torch.Tensor), before, rtol=0, atol=0)
    assert len(made.calls) == 1


# Products


@pytest.mark.parametrize(
    ("equation", "left", "right"),
    [
        ("ibnd,jbnd->bnij", (5, 1, 2, 3), (7, 1, 2, 3)),
        ("bnij,jbnd->ibnd", (1, 2, 5, 7), (7, 1, 2, 3)),
        ("bind,bjnd->bnij", (1, 5, 2, 3), (1, 7, 2, 3)),
    ],
)
def test_an_einsum_is_a_batch_of_matrix_products(equation, left, right):
    left, right = torch.randn(left), torch.randn(right)
    result = torch.einsum(equation, left, right)
    product = products.product_of("einsum", (equation, left, right), {}, left, right, result)
    torch.testing.assert_close(product.left @ product.right, product.out)
    back = product.out
    for operation in product.from_out:
        back = operation.on(back)
    torch.testing.assert_close(back, result, rtol=0, atol=0)


@pytest.mark.parametrize("equation", ["bhld,lrd->bhlr", "...qd,...kd->...qk", "ab,ab->ab"])
def test_another_einsum_is_none(equation):
    left = right = torch.ones(2, 2, 2, 2)
    assert products.product_of("einsum", (equation, left, right), {}, left, right, left) is None
