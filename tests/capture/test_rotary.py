"""Query and key before their rotary embedding: what the model's own projections and norms gave."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import attnviz
from attnviz.attention import filters
from attnviz.attention.call import Origin
from attnviz.attention.explained.arithmetic import arithmetic
from attnviz.attention.explained.sentences import explanation, look_for, sentence
from attnviz.attention.steps import steps_of
from attnviz.attention.what_if import what_if
from attnviz.capture.rotary import Rotation, before_rotary
from attnviz.page.beats import BEATS
from tests.support import hand_made, tiny_models
from tests.support.showing import constants, run
from tests.support.tiny_models import save_tiny
from tests.support.tracing import tiny_inputs

D = tiny_models.D_HEAD
DECODER = tiny_models._DECODER
MORE = {
    "phi": DECODER | dict(rope_parameters={"partial_rotary_factor": 0.5, "rope_theta": 10000.0}),
    "gpt_neox": tiny_models._ENCODER
    | dict(rope_parameters={"partial_rotary_factor": 0.5, "rope_theta": 10000.0}),
    "glm": DECODER,
    "cohere": DECODER,
    "stablelm": DECODER,
    "olmo2": DECODER,
    "gemma3_text": DECODER | dict(query_pre_attn_scalar=8, sliding_window=4),
}
NORMED = ("qwen3", "qwen3_next", "gemma3_text", "olmo2")
TYPES = {  # the modules that make query and key, and the norms after them
    **dict.fromkeys(
        ("llama", "mistral", "gemma2", "gpt_oss", "glm", "cohere", "stablelm", "phi"),
        ("q_proj", "k_proj"),
    ),
    **dict.fromkeys(NORMED, ("q_norm", "k_norm")),
    "modernbert": ("Wqkv", "Wqkv"),
    "gpt_neox": ("query_key_value", "query_key_value"),
}


def build(model_type, **changes):
    return tiny_models.build(model_type, **(MORE.get(model_type, {}) | changes))


def outputs_of(model, inputs, *ends):
    """What the modules with these names gave, by layer, in a plain forward pass of its own."""
    given = {end: [] for end in ends}
    hooks = [
        module.register_forward_hook(lambda _m, _a, out, end=end: given[end].append(out[0].clone()))
        for name, module in model.named_modules()
        for end in set(ends)
        if name.endswith(f".{end}")
    ]
    with torch.no_grad():
        model(**inputs)
    for hook in hooks:
        hook.remove()
    return given


def by_head(rows, n_heads):
    """(position, head · d_head) or already apart → (head, position, d_head)."""
    if rows.ndim == 3:
        return rows if rows.shape[0] == n_heads else rows.transpose(0, 1)
    return rows.reshape(len(rows), n_heads, -1).transpose(0, 1)


def expected(model_type, given, names, place, n_heads):
    """Query (place 0) and key (1) of all heads as the hooked modules gave them."""
    rows = given[names[place]]
    if model_type == "modernbert":
        return by_head(rows.chunk(3, dim=-1)[place], n_heads)
    if model_type == "gpt_neox":
        return by_head(rows, n_heads).chunk(3, dim=-1)[place]
    return by_head(rows, n_heads)


@pytest.mark.parametrize("model_type", TYPES)
def test_before_rotary_is_what_the_models_own_projection_or_norm_gave(model_type):
    model = build(model_type)
    inputs = tiny_inputs(model)
    names = TYPES[model_type]
    outputs = outputs_of(model, inputs, *names)
    trace = attnviz.trace_inputs(model, inputs)
    for at, layer in enumerate(trace.layers()):
        call = trace.layer(layer)
        given = {name: outputs[name][at] for name in names}
        for place, (before, after) in enumerate(
            ((call.q_before_rotary, call.q), (call.k_before_rotary, call.k))
        ):
            own = expected(model_type, given, names, place, before.shape[0])
            np.testing.assert_array_equal(before, own.numpy())
            np.testing.assert_allclose(after[:, 0] / before[:, 0], after[0, 0, 0] / before[0, 0, 0])
            assert np.abs(after[:, 1:] - before[:, 1:]).max() > 0.1
    head = trace.head(trace.layers()[-1], 3)
    group = head.key_value_head
    np.testing.assert_array_equal(head.q_before_rotary, call.q_before_rotary[3])
    np.testing.assert_array_equal(head.k_before_rotary, call.k_before_rotary[group])


def turned(x, cos, sin, *, in_pairs=False):
    """The rotary embedding as in the paper, of the first dimensions, as many as there are cosines.

    Written out plane by plane: (d, d + width / 2), or (2d, 2d + 1).
    """
    result, width = x.copy(), cos.shape[-1]
    for plane in range(width // 2):
        a, b = (2 * plane, 2 * plane + 1) if in_pairs else (plane, plane + width // 2)
        result[..., a] = x[..., a] * cos[:, a] - x[..., b] * sin[:, a]
        result[..., b] = x[..., b] * cos[:, a] + x[..., a] * sin[:, a]
    return result


@pytest.mark.parametrize(
    ("model_type", "in_pairs"),
    [
        *((name, False) for name in ("llama", "qwen3", "mistral", "phi", "gpt_neox", "stablelm")),
        *((name, True) for name in ("cohere", "glm")),
    ],
)
def test_turning_it_by_the_models_own_angles_gives_query_and_key(model_type, in_pairs):
    model = build(model_type)
    call = attnviz.trace_inputs(model, tiny_inputs(model)).layer(1)
    with torch.no_grad():
        cos, sin = model.rotary_emb(torch.zeros(1, 9, 32), torch.arange(9)[None])
    cos, sin = cos[0].numpy(), sin[0].numpy()
    if model_type == "glm":  # has each angle once, and repeats it
        cos, sin = (np.repeat(x[:, : x.shape[1] // 2], 2, axis=1) for x in (cos, sin))
    for before, after in ((call.q_before_rotary, call.q), (call.k_before_rotary, call.k)):
        np.testing.assert_allclose(turned(before, cos, sin, in_pairs=in_pairs), after, atol=1e-5)


def test_deepseeks_turned_part_is_put_back_into_the_whole():
    """Its turned part comes last, of the key the same for all heads, and pairs become halves."""
    model = build("deepseek_v3")
    inputs = tiny_inputs(model)
    names = "q_b_proj", "kv_a_proj_with_mqa"
    outputs = outputs_of(model, inputs, *names)
    trace = attnviz.trace_inputs(model, inputs)
    pairs_to_halves = [0, 2, 1, 3]
    for layer in trace.layers():
        call = trace.layer(layer)
        q = by_head(outputs["q_b_proj"][layer], 4).numpy()
        k_turned = outputs["kv_a_proj_with_mqa"][layer][:, -4:].numpy()
        np.testing.assert_array_equal(call.q_before_rotary[..., :8], q[..., :8])
        np.testing.assert_array_equal(
            call.q_before_rotary[..., 8:], q[..., 8:][..., pairs_to_halves]
        )
        np.testing.assert_array_equal(call.k_before_rotary[..., :8], call.k[..., :8])
        for of_head in call.k_before_rotary:
            np.testing.assert_array_equal(of_head[:, 8:], k_turned[:, pairs_to_halves])
        # The first token is not turned: so this is the order the dimensions have afterwards.
        np.testing.assert_array_equal(call.q[:, 0], call.q_before_rotary[:, 0])


@pytest.mark.parametrize("model_type", [*TYPES, "deepseek_v3"])
def test_no_row_changes_its_length_but_by_one_factor(model_type):
    model = build(model_type)
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    for layer in trace.layers():
        call = trace.layer(layer)
        for before, after in ((call.q_before_rotary, call.q), (call.k_before_rotary, call.k)):
            ratios = np.linalg.norm(after, axis=-1) / np.linalg.norm(before, axis=-1)
            np.testing.assert_allclose(ratios, ratios[0, 0], rtol=1e-5)
            assert np.isclose(ratios[0, 0], 1) == (model_type != "gpt_oss")


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "t5", "bart", "albert"])
def test_models_without_a_rotary_embedding_have_no_such_step(model_type):
    model = build(model_type)
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    for call in trace.calls.values():
        assert call.q_before_rotary is None
        assert call.k_before_rotary is None
    names = [step.name for step in trace.head(0, 0).steps]
    assert names[1:5] == ["q", "k", "v", "scores"]


def test_a_norm_after_the_rotary_embedding_hides_it():
    model = build("llama4_text", **DECODER, use_qk_norm=True, num_local_experts=2)
    head = attnviz.trace_inputs(model, tiny_inputs(model)).head(0, 0)
    assert head.q_before_rotary is None
    assert head.steps[1].formula.startswith("q = f_Q(x)")


def test_layers_without_a_rotary_embedding_among_others_have_none():
    model = build("smollm3", **DECODER, no_rope_layers=[1, 0, 1])
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    assert [trace.layer(n).q_before_rotary is None for n in range(3)] == [False, True, False]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_too(dtype):
    model = build("llama", dtype=dtype)
    head = attnviz.trace_inputs(model, tiny_inputs(model)).head(1, 2)
    norms = (np.linalg.norm(x, axis=1) for x in (head.q, head.q_before_rotary))
    np.testing.assert_allclose(*norms, rtol=1e-2)


def test_a_single_token_is_not_turned():
    model = build("llama")
    head = attnviz.trace_inputs(model, tiny_inputs(model, n_tokens=1)).head(0, 0)
    np.testing.assert_array_equal(head.q, head.q_before_rotary)
    step = next(step for step in head.steps if step.number == "1b")
    assert "is not rotated" in sentence(head, step, 0, 0)


# Certainty


def rotation(before, after, **changes):
    fields = dict(
        function=rotation,
        before=before,
        after=after,
        versions=(before._version, after._version),
        others=(),
        projected=None,
    )
    return Rotation(**(fields | changes))


def quarter_turn(x):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((-b, a), dim=-1)


def test_only_what_was_turned_in_pairs_counts_as_before():
    before = torch.randn(1, 4, 9, 8)
    after = quarter_turn(before)
    assert before_rotary(after, [rotation(before, after)], {})[0] is before
    assert before_rotary(2 * after, [rotation(before, 2 * after)], {})[0] is before
    scaled = after * torch.linspace(1, 2, 9)[:, None]
    assert before_rotary(scaled, [rotation(before, scaled)], {})[0] is None
    mixed = before @ torch.linalg.qr(torch.randn(8, 8))[0]  # keeps every norm
    assert before_rotary(mixed, [rotation(before, mixed)], {})[0] is None


def test_a_query_that_was_changed_after_it_was_turned_is_not_found():
    before = torch.randn(1, 4, 9, 8)
    after = quarter_turn(before)
    known = rotation(before, after)
    assert before_rotary(after * 1.001, [known], {})[0] is None
    after.mul_(2)
    assert before_rotary(after, [known], {})[0] is None


def test_what_was_written_into_since_is_not_shown():
    before = torch.randn(1, 4, 9, 8)
    after = quarter_turn(before)
    known = rotation(before, after)
    before.zero_()
    assert before_rotary(after, [known], {})[0] is None


def test_the_last_of_several_rotations_that_gave_a_query_is_taken():
    before = torch.randn(1, 4, 9, 8)
    first = quarter_turn(before)
    second = quarter_turn(first)
    known = [rotation(before, first), rotation(first, second), rotation(before + 1, first + 1)]
    assert before_rotary(second, known, {})[0] is first
    assert before_rotary(first, known, {})[0] is before
    copied = torch.cat((first[..., :3], first[..., 3:]), dim=-1)
    known = [rotation(before, first.clone()), rotation(before + 0, first)]
    assert before_rotary(copied, known, {})[0] is known[1].before


# What q, k and v are of x


@pytest.mark.parametrize(
    ("model_type", "formulas"),
    [
        ("bert", ("q = x\\,W_Q + b_Q", "k = x\\,W_K + b_K", "v = x\\,W_V + b_V")),
        ("gpt2", ("q = x\\,W_Q + b_Q", "k = x\\,W_K + b_K", "v = x\\,W_V + b_V")),
        ("t5", ("q = x\\,W_Q", "k = x\\,W_K", "v = x\\,W_V")),
        ("llama", ("\\tilde q = x\\,W_Q", "\\tilde k = x\\,W_K", "v = x\\,W_V")),
        ("phi", ("\\tilde q = x\\,W_Q + b_Q", "\\tilde k = x\\,W_K + b_K", "v = x\\,W_V + b_V")),
        ("qwen3", (r"\tilde q = \text{norm}(x\,W_Q)", r"\tilde k = \text{norm}(x\,W_K)", "v = x")),
        ("deepseek_v3", ("\\tilde q = f_Q(x)", "\\tilde k = f_K(x)", "v = f_V(x)")),
    ],
)
def test_a_formula_says_no_more_than_is_known(model_type, formulas):
    model = build(model_type)
    head = attnviz.trace_inputs(model, tiny_inputs(model)).head(1, 1)
    own = [step.formula for step in head.steps if step.number == "1"]
    for formula, start in zip(own, formulas, strict=True):
        assert formula.startswith(f"{start} : " if start != "v = x" else start), formula
    words = explanation(head, "1")
    assert ("f stands for all that the module computes" in words) == (model_type == "deepseek_v3")
    assert ("The norm is part of the module" in words) == (model_type == "qwen3")


@pytest.mark.parametrize("model_type", ["bert", "t5", "llama", "qwen3_next", "gpt_oss", "phi"])
def test_where_a_formula_is_known_it_gives_the_numbers(model_type):
    model = build(model_type)
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    layer = trace.layers()[-1]
    head = trace.head(layer, 2)
    assert set(head.origins) == {"q", "k", "v"}
    module = next(
        module
        for name, module in reversed(list(model.named_modules()))
        if name.endswith(("self_attn.v_proj", "attention.self.value", "SelfAttention.v"))
        and (model_type != "t5" or name.startswith("encoder"))
    )
    rows = slice(head.key_value_head * D, (head.key_value_head + 1) * D)
    own = head.x_key @ module.weight[rows].detach().numpy().T
    assert head.origins["v"] == Origin(module.bias is not None, is_normed=False)
    if module.bias is not None:
        own = own + module.bias[rows].detach().numpy()
    np.testing.assert_allclose(head.v, own, atol=1e-5)


# Filters and what-ifs


def test_filters_treat_it_as_query_and_key():
    model = build("llama")
    inputs = {"input_ids": torch.tensor([[5, 17, 33, 8, 60, 41]])}
    names = ["the", "dragon", "##fly", "like", "##s", "it"]
    trace = attnviz.trace_inputs(model, inputs, names)
    whole = trace.head(1, 2)
    less = filters.hide_tokens(trace, keys=[1], queries=[0, 4]).head(1, 2)
    np.testing.assert_array_equal(less.q_before_rotary, whole.q_before_rotary[[1, 2, 3, 5]])
    np.testing.assert_array_equal(less.k_before_rotary, whole.k_before_rotary[[0, 2, 3, 4, 5]])
    words = filters.in_words(trace).head(1, 2)
    means = [whole.k_before_rotary[at].mean(axis=0) for at in ([0], [1, 2], [3, 4], [5])]
    np.testing.assert_allclose(words.k_before_rotary, means, atol=1e-6)
    assert words.q_before_rotary.shape == words.q.shape
    assert "its norm goes from" in said(words, "k", 0, 1)  # means are not only turned


def test_a_dimension_zeroed_after_the_rotary_embedding_has_no_before():
    model = build("llama")
    head = attnviz.trace_inputs(model, tiny_inputs(model)).head(0, 0)
    assert "1b" not in {step.number for step in what_if(head, zeroed_dimensions=[1]).steps}
    assert "1b" in {step.number for step in what_if(head, scaling=1.0).steps}


def test_its_arrays_count_as_memory():
    model = build("llama")
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    without = dataclasses.replace(
        trace,
        calls={
            at: dataclasses.replace(call, q_before_rotary=None, k_before_rotary=None)
            for at, call in trace.calls.items()
        },
    )
    one = trace.layer(0)
    assert trace.nbytes - without.nbytes == 3 * (one.q.nbytes + one.k.nbytes)


# Threads


def test_threads_that_trace_at_once_do_not_mix():
    models = [build("llama", seed=seed) for seed in (1, 2)] * 4
    inputs = tiny_inputs(models[0])
    alone = [attnviz.trace_inputs(model, inputs) for model in models]
    together = threading.Barrier(8)

    def trace(model):
        together.wait()
        return attnviz.trace_inputs(model, inputs)

    with ThreadPoolExecutor(8) as threads:
        traces = list(threads.map(trace, models))
    for got, wanted in zip(traces, alone, strict=True):
        for layer in range(3):
            np.testing.assert_allclose(
                got.layer(layer).q_before_rotary, wanted.layer(layer).q_before_rotary, atol=1e-5
            )


# Words


def turned_head():
    """Two tokens: the first is not turned, the second by 90 degrees in its only plane."""
    before = np.array([[3, 4], [6, 8]], np.float32)
    after = np.array([[3, 4], [-8, 6]], np.float32)
    return hand_made.head(after, after, [[1], [2]], q_before_rotary=before, k_before_rotary=before)


def said(head, name, query, key):
    return sentence(head, next(step for step in head.steps[4:] if step.name == name), query, key)


def test_a_rotation_is_said_by_its_angle_and_by_the_length_that_stays():
    head = turned_head()
    assert [(step.name, step.number) for step in head.steps[1:6]] == [
        *(("q_before_rotary", "1"), ("k_before_rotary", "1"), ("v", "1")),
        *(("q", "1b"), ("k", "1b")),
    ]
    assert (
        said(head, "q", 1, 0)
        == "The query of *q1* is rotated by 90.0° in all; its norm stays 10.0."
    )
    assert said(head, "k", 1, 0) == "The key of *k0* is not rotated; its norm stays 5.00."
    longer = head.replaced(q=head.q * np.float32(1.5))
    assert said(longer, "q", 1, 0) == (
        "The query of *q1* is rotated by 90.0° in all; its norm goes from 10.0 to 15.0."
    )


def test_what_it_does_to_the_score_of_a_pair_is_worked_out():
    head = turned_head()
    step = next(step for step in head.steps if (step.name, step.number) == ("k", "1b"))
    assert arithmetic(head, step, 1, 0) == (
        "q of *q1* · k of *k0* would be 50.0000 without the rotary embedding; with it, the "
        "score is **0.0000**."
    )


def test_every_step_has_words_and_a_beat():
    head = turned_head()
    for step in steps_of(head, "columns"):
        assert sentence(head, step, 0, 1)
        assert explanation(head, step.number)
        assert look_for(head, step)
        assert step.number in BEATS
    assert len({step.title for step in head.steps}) == len(head.steps)
    assert attnviz.steps_view(head, 0, 1).to_dict()


# The page


def test_the_page_shows_the_rotary_step(offering, tmp_path):
    folder = save_tiny(tmp_path / "llama", "llama")
    page = offering(folder)
    page.query_params |= {"all_steps": "true", "layer": "0", "head": "0"}
    run(page)
    model, tokenizer = attnviz.load(str(folder))
    head = attnviz.trace(model, tokenizer, "time flies like an arrow").head(0, 0)
    sent = constants(page)
    for name in ("q_before_rotary", "k_before_rotary", "q", "k"):
        np.testing.assert_allclose(np.float32(sent[name]), getattr(head, name), atol=1e-5)
    labels = [expander.label.strip("*").split(" · ")[0] for expander in page.expander]
    assert labels[:4] == ["Token embeddings", "1", "1b", "2"]
    words = [element.value for element in page.markdown]
    assert any("would be" in text and "without the rotary embedding" in text for text in words)
    assert any("R_i\\,\\tilde q_i" in text for text in words)


def test_a_beat_of_the_talk_is_linked_to(offering, tmp_path):
    page = offering(save_tiny(tmp_path / "llama", "llama"))
    page.query_params["talk"] = "rotate"
    run(page)
    assert page.subheader[0].value == "1b · Rotate each query and key by its position"
    assert {"q", "k"} <= constants(page).keys()
