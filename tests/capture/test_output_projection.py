"""Each head's share of the module's output, and where there is none, the reason."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import attnviz
from attnviz.capture.joining import Joining
from attnviz.capture.output_projection import follow
from tests.support import tiny_models
from tests.support.tracing import all_heads, tiny_inputs

WITHOUT_SHARES = {"bitnet": "BitNetRMSNorm", "diffllama": "cat"}
GATED = {"qwen3_next"}


@pytest.mark.parametrize("model_type", [*tiny_models.CONFIGS, *GATED])
def test_the_heads_shares_and_the_bias_are_the_modules_own_output(model_type):
    model = tiny_models.build(model_type)
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    for (kind, layer), call in trace.calls.items():
        heads = [trace.head(layer, head, kind) for head in range(call.n_heads)]
        total = sum(head.output.astype(np.float64) for head in heads)
        if call.projection.bias is not None:
            total = total + call.projection.bias
        own = call.projection.own_output
        assert np.abs(total - own).max() < 1e-5 * np.abs(own).max()
        assert call.output_error < 1e-5
        assert (call.projection.gate is not None) == (model_type in GATED)
        # A share is not nothing, and no two heads' shares are alike.
        assert all(np.abs(head.output).max() > 1e-2 * np.abs(own).max() for head in heads)


@pytest.mark.parametrize(
    ("model_type", "output_projection"),
    [
        ("bert", "encoder.layer.1.attention.output.dense"),
        ("gpt2", "h.1.attn.c_proj"),
        ("llama", "layers.1.self_attn.o_proj"),
    ],
)
def test_the_own_output_is_what_the_models_projection_returned(model_type, output_projection):
    model = tiny_models.build(model_type)
    returned = []
    hook = model.get_submodule(output_projection).register_forward_hook(
        lambda module, args, output: returned.append(output[0].numpy().copy())
    )
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    hook.remove()
    np.testing.assert_array_equal(trace.layer(1).projection.own_output, returned[0])


@pytest.mark.parametrize(("model_type", "obstacle"), WITHOUT_SHARES.items())
def test_where_something_stands_before_the_projection_there_is_no_share(model_type, obstacle):
    model = tiny_models.build(model_type)
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    for head in all_heads(trace):
        assert head.output is None
        assert "output" not in [step.name for step in head.steps]
        assert obstacle in head.no_output_because
    assert trace.layer(0).output_error is None


def test_a_gate_is_applied_to_each_value_of_each_head():
    model = tiny_models.build("qwen3_next")
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    head = trace.head(trace.layers()[0], 1)
    assert head.output_gate.shape == head.updated.shape
    np.testing.assert_allclose(
        head.output, (head.updated * head.output_gate) @ head.output_weight, rtol=1e-5, atol=1e-6
    )
    assert not np.allclose(head.output, head.updated @ head.output_weight, rtol=1e-2)


# Unusual ways to the projection, made up here

N_QUERIES, N_HEADS, D_VALUE, D_MODEL = 3, 2, 4, 5
SHAPE = N_QUERIES, N_HEADS, D_VALUE


@pytest.fixture
def updated():
    return torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def w_o():
    torch.manual_seed(1)
    return nn.Linear(N_HEADS * D_VALUE, D_MODEL)


def shares(joining, updated):
    """The sum over heads of what the joining says each adds."""
    rows, gate = joining.weight_rows(*SHAPE), joining.gate(*SHAPE)
    gate = torch.ones(SHAPE) if gate is None else gate[:, rows]
    parts = [(updated[0, :, h] * gate[:, h]) @ joining.weight[rows[h]] for h in range(N_HEADS)]
    return sum(parts) + joining.bias


@torch.no_grad()
def test_values_may_stand_before_heads_and_scalars_and_gates_may_multiply(updated, w_o):
    joining = Joining()
    gate = torch.rand(1, N_QUERIES, D_VALUE, N_HEADS)
    on_its_way = follow(updated, joining).transpose(2, 3) * gate
    result = w_o((2 * on_its_way).flatten(2).contiguous())
    assert type(result) is torch.Tensor
    assert joining.weight_rows(*SHAPE)[0].tolist() == [0, 2, 4, 6]
    torch.testing.assert_close(shares(joining, updated), result[0])


@torch.no_grad()
@pytest.mark.parametrize(
    ("detour", "obstacle"),
    [
        (lambda x: torch.relu(x), "an operation (relu)"),
        (lambda x: x + 1, "an operation (add)"),
        (lambda x: x * torch.sigmoid(x), "an operation (mul)"),
        (lambda x: x * x.pow(2).mean(-1, keepdim=True).rsqrt(), "an operation (mul)"),
        (lambda x: torch.cat([x[:, :1], x[:, 1:]], dim=1), "an operation (getitem)"),
        (lambda x: torch.cat([x], dim=1), "an operation (cat)"),
        (lambda x: x.flip(2), "an operation (flip)"),
        (lambda x: functional.dropout(x, 0.5, training=True), "an operation (dropout)"),
        (lambda x: x.mul_(2), "mul_"),
        (lambda x: (x.__setitem__((slice(None), 0), 0), x)[1], "__setitem__"),
    ],
)
def test_whatever_is_not_linear_or_mixes_tokens_is_an_obstacle(updated, w_o, detour, obstacle):
    joining = Joining()
    w_o(detour(follow(updated, joining)).reshape(1, N_QUERIES, -1))
    assert joining.obstacle == obstacle


@torch.no_grad()
def test_a_second_use_of_the_updates_is_an_obstacle(updated, w_o):
    joining = Joining()
    joined = follow(updated, joining).reshape(1, N_QUERIES, -1)
    w_o(joined)
    assert joining.obstacle is None
    w_o(joined)
    assert joining.obstacle.startswith("a second projection")


@torch.no_grad()
def test_looking_at_the_updates_is_no_obstacle(updated, w_o):
    joining = Joining()
    followed = follow(updated, joining)
    assert float(followed.norm()) > 0
    assert followed.detach().mean() != 2
    gate = torch.rand(N_QUERIES * N_HEADS * D_VALUE).view_as(followed)
    w_o((followed * gate).reshape(1, N_QUERIES, -1))
    assert joining.obstacle is None
    assert joining.gate(*SHAPE) is not None


@torch.no_grad()
@pytest.mark.parametrize(
    "project",
    [
        lambda x, w, b: functional.linear(x, weight=w, bias=b),
        lambda x, w, b: functional.linear(x, w, b),
        lambda x, w, b: torch.addmm(b, x[0] if x.ndim == 3 else x, w.T),
    ],
)
def test_a_projection_is_known_in_all_its_spellings(updated, w_o, project):
    joining = Joining()
    joined = follow(updated, joining).transpose(2, 3).contiguous().view(N_QUERIES, -1)
    result = project(joined, w_o.weight, w_o.bias)
    assert joining.obstacle is None
    torch.testing.assert_close(shares(joining, updated), result)


@torch.no_grad()
def test_a_scaled_sum_is_no_projection_that_can_be_shared(updated, w_o):
    joining = Joining()
    joined = follow(updated, joining).view(N_QUERIES, -1)
    torch.addmm(w_o.bias, joined, w_o.weight.T, beta=0.5)
    assert joining.output is None


@torch.no_grad()
def test_tokens_that_change_places_have_no_rows(updated):
    joining = Joining()
    n = N_HEADS * D_VALUE
    mixed = follow(updated, joining).view(1, 1, N_QUERIES, n).transpose(1, 2)
    mixed = mixed.flatten(0, 1).transpose(0, 1).reshape(1, N_QUERIES, n)
    nn.Linear(n, D_MODEL)(mixed)
    assert joining.weight_rows(*SHAPE) is not None
    flipped = follow(updated, joining := Joining()).transpose(0, 1).reshape(1, n, N_QUERIES)
    nn.Linear(n, D_MODEL)(flipped.transpose(1, 2).contiguous())
    assert joining.weight_rows(*SHAPE) is None


class Wrapped(nn.Module):
    """Something around a model's own output projection."""

    def __init__(self, base, forward):
        super().__init__()
        self.base, self.way = base, forward

    def forward(self, x):
        return self.way(self.base, x)


@pytest.mark.parametrize(
    "way",
    [
        lambda base, x: 3 * base(x),
        lambda base, x: base(x) + base(x).tanh(),
        lambda base, x: base(base(x)),
        lambda base, x: x.mean() * base(x),
    ],
)
def test_what_comes_after_or_beside_the_projection_is_noticed(way):
    model = tiny_models.build("llama")
    attention = model.layers[1].self_attn
    attention.o_proj = Wrapped(attention.o_proj, way).eval()
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    assert trace.head(1, 0).output is None
    assert trace.head(1, 0).no_output_because
    assert trace.layer(1).output_error is None
    assert trace.head(0, 0).output is not None


def test_a_model_that_is_changed_later_takes_its_shares_away_and_nothing_else():
    model = tiny_models.build("llama")
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    before = trace.head(1, 0).weights.copy()
    with torch.no_grad():
        model.layers[1].self_attn.o_proj.weight.mul_(7)
    head = trace.head(1, 0)
    assert head.output is None
    assert head.no_output_because == "the model was changed after the trace"
    np.testing.assert_array_equal(head.weights, before)
    assert trace.layer(1).output_error is None
    assert trace.head(0, 0).output is not None


@torch.no_grad()
def test_heads_that_are_not_joined_token_by_token_have_no_rows(updated):
    joining = Joining()
    mixed = follow(updated, joining).transpose(1, 2).reshape(1, N_QUERIES, -1)
    nn.Linear(N_HEADS * D_VALUE, D_MODEL)(mixed)
    assert joining.obstacle is None
    assert joining.weight_rows(*SHAPE) is None


@torch.no_grad()
def test_the_output_is_kept_though_the_model_adds_to_it_in_place(updated, w_o):
    joining = Joining()
    result = w_o(follow(updated, joining).reshape(1, N_QUERIES, -1))
    before = result.clone()
    result += 1
    torch.testing.assert_close(joining.output, before)


class Quantised(torch.Tensor):
    """A weight in whole numbers, which multiplies by itself, as those of torchao do."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is functional.linear:
            x, weight, *bias = (*args, *(kwargs or {}).values())
            assert type(x) in (torch.Tensor, nn.Parameter)
            return functional.linear(x, weight.as_subclass(torch.Tensor) / 100, *bias)
        return super().__torch_function__(func, types, args, kwargs)


@pytest.mark.parametrize("layer", ["q_proj", "o_proj"])
def test_quantised_weights_compute_themselves_and_are_no_plain_projection(layer):
    model, plain = tiny_models.build("llama"), tiny_models.build("llama")
    for one, other in zip(model.layers, plain.layers, strict=True):
        attention, rounded = one.self_attn, getattr(other.self_attn, layer).weight
        with torch.no_grad():
            rounded.copy_((rounded * 100).round() / 100)
        weight = (rounded.detach() * 100).round().as_subclass(Quantised)
        getattr(attention, layer).weight = nn.Parameter(weight, requires_grad=False)
    inputs = tiny_inputs(model)
    trace, expected = attnviz.trace_inputs(model, inputs), attnviz.trace_inputs(plain, inputs)
    for head, other in zip(all_heads(trace), all_heads(expected), strict=True):
        np.testing.assert_allclose(head.weights, other.weights, atol=1e-6)
        np.testing.assert_allclose(head.updated, other.updated, atol=1e-5)
    head = trace.head(1, 0)
    assert ("q" in head.origins) == (layer != "q_proj")
    reason = {"q": "its projection has quantised weights"} if layer == "q_proj" else {}
    assert head.no_w_because == reason
    assert (head.output is None) == (layer == "o_proj")
    if layer == "o_proj":
        assert "quantised" in head.no_output_because
