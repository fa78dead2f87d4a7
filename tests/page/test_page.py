"""The page, control by control, and what it says to what it cannot show."""

import gc
import re
import weakref

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest
from transformers import AutoConfig, AutoModel, ByT5Tokenizer

from attnviz.charts.parts.opening_pair import opening
from attnviz.charts.shares import SINK
from attnviz.heads import linking
from attnviz.page import header
from attnviz.page.service import loading, settings
from attnviz.text.errors import ModelLoadError
from attnviz.text.phrases import bound
from tests.support import tiny_models
from tests.support.places import PAGE
from tests.support.showing import charts, constants, run, said
from tests.support.tiny_models import corrupt, save_tiny

TEN = ("x_query", "q", "k", "v", "scores", "scaled", "masked", "weights", "updated", "output")
DEFAULT = "time flies like an arrow"


def furthest(values):
    """Along the last axis, the value furthest from zero."""
    at = np.abs(values).argmax(axis=-1)[..., None]
    return np.take_along_axis(values, at, axis=-1)[..., 0]


# How it opens


def test_it_opens_where_the_sources_statement_is_true(page, sentence_trace):
    run(page)
    assert not page.error
    assert not page.warning
    assert page.selectbox(key="model").value == "sentence-transformers/all-MiniLM-L6-v2"
    assert page.text_area(key="text").value == DEFAULT
    assert page.selectbox(key="layer").value == 5
    assert page.selectbox(key="head").value == 11
    assert any("*flies* gives *arrow* **58.1\u00a0%**" in m.value for m in page.markdown)
    assert page.subheader[0].value == "Layer 5, head 11"
    described = page.main.caption[0].value
    for fact in (
        "all\\-MiniLM\\-L6\\-v2",
        "6 layers × 12 heads",
        "d_model 384",
        "d_head 32",
        "7 tokens",
    ):
        assert fact in described
    assert "are not comparable across models" in described


def test_all_ten_matrices_are_on_the_page_with_the_traces_own_values(page, sentence_trace):
    page.query_params["all_steps"] = "true"
    for popover in ("more_x_query", "more_output", "more_updated"):
        page.session_state[popover] = True
    sent = constants(run(page))
    head = sentence_trace.head(5, 11)
    # The head at a glance, nine matrices, three W, a row of x and of the output, and the shares.
    assert len(charts(page)) == 16
    for name in set(TEN[1:-1]) - {"masked"}:
        np.testing.assert_allclose(np.float32(sent[name]), getattr(head, name), atol=1e-5)
    for name in ("x_query", "output"):
        array = getattr(head, name)
        blocks = furthest(array.reshape(7, 64, 6))
        np.testing.assert_allclose(np.float32(sent[name]), blocks, atol=1e-5)
        row = np.float32([value for line in sent[f"{name}_row"] for value in line])
        np.testing.assert_allclose(row, array[2], atol=1e-5)


def test_only_the_open_view_is_computed(page):
    page.session_state["view"] = "Neurons"
    run(page)
    assert len(charts(page)) == 1
    assert "Q" in constants(page)


def test_the_check_line_says_what_was_measured(page, sentence_trace):
    line = header.check_line(sentence_trace.head(5, 11))
    assert line in run(page).main.caption[1].value
    assert bound(sentence_trace.head(5, 11).weights_error) in line


def test_the_check_line_is_an_error_when_the_replay_is_off(page, monkeypatch):
    monkeypatch.setattr("attnviz.attention.maths.scale", lambda scores, scaling: scores)
    run(page)
    assert len(said(page)) == 1
    assert said(page)[0].startswith("Recomputed weights differ from the model's own by up to")
    assert "counts as exact in float32" in said(page)[0]


# Controls


def test_layer_head_and_text_change_what_is_shown(page, minilm):
    import attnviz

    run(page)
    page.text_area(key="text").set_value("the cat sat")
    page.selectbox(key="layer").select(4)
    page.selectbox(key="head").select(3)
    sent = constants(run(page))
    head = attnviz.trace(*minilm, "the cat sat").head(4, 3)
    np.testing.assert_allclose(np.float32(sent["weights"]), head.weights, atol=1e-5)
    assert sent["weights_rows"] == ["[CLS]", "the", "cat", "sat", "[SEP]"]


def test_previous_and_next_step_through_the_heads(page):
    page.query_params.update({"layer": "0", "head": "8"})
    run(page)
    page.button(key="head_next").click()
    assert run(page).subheader[0].value == "Layer 0, head 9"
    page.button(key="layer_next").click()
    page.run()
    page.button(key="head_previous").click()
    assert run(page).subheader[0].value == "Layer 1, head 8"
    page.selectbox(key="layer").select(0)
    page.selectbox(key="head").select(11)
    run(page)
    assert page.button(key="layer_previous").disabled
    assert page.button(key="head_next").disabled


def test_another_text_leaves_the_head_that_is_shown(page, minilm):
    import attnviz

    run(page)
    other = "fruit flies like a banana"
    start = opening(attnviz.trace(*minilm, other))
    assert (start.layer, start.head) != (5, 11)
    page.text_area(key="text").set_value(other)
    assert run(page).subheader[0].value == "Layer 5, head 11"
    assert page.query_params["head"] == "11"  # which is no default any more


def test_another_model_opens_where_it_would_unless_a_head_was_chosen(offering, tmp_path):
    folder = save_tiny(
        tmp_path / "tiny", num_hidden_layers=6, num_attention_heads=12, hidden_size=48
    )
    page = run(offering(settings.OFFERS[0].name, folder))
    page.selectbox(key="model").select(str(folder))
    opened = run(page).subheader[0].value
    alone = AppTest.from_file(PAGE, default_timeout=60)
    alone.query_params["model"] = str(folder)
    assert run(alone).subheader[0].value == opened != "Layer 5, head 11"


def test_what_ends_a_line_is_what_a_browser_shows(page):
    page.query_params.update({"text": "time flies\r\nlike\ran\tarrow", "pair": "one\r\ntwo"})
    run(page)
    assert page.text_area(key="text").value == "time flies\nlike\nan\tarrow"
    assert page.text_area(key="pair").value == "one\ntwo"
    said = [warning.value for warning in page.warning]
    assert [
        one.startswith(f"The {what} of the link")
        for one, what in zip(said, ("text", "second text"), strict=True)
    ] == [True, True]


def test_a_new_line_and_a_tab_are_tokens_that_can_be_seen(offering, tmp_path):
    folder = save_tiny(tmp_path / "t5", "t5", ByT5Tokenizer(), vocab_size=384)
    page = offering(folder)
    page.query_params["text"] = "a\n\tb"
    assert constants(run(page))["weights_rows"] == ["a", "↵", "⇥", "b", "</s>"]


def test_a_second_text_makes_a_pair(page):
    run(page)
    page.text_area(key="pair").set_value("fruit flies like a banana")
    assert "13 tokens" in run(page).main.caption[0].value


def test_one_click_opens_the_head_that_links_the_pair_most(page, sentence_trace):
    page.query_params.update({"layer": "0", "head": "8"})
    run(page)
    best = linking(sentence_trace, 2, 5).iloc[0]
    assert (best["layer"], best["head"], round(best["weight"], 2)) == (5, 11, 0.58)
    button = page.button(key="open_strongest")
    assert button.label == ("Strongest head for this pair: layer 5, head 11, 58.1\u00a0%")
    assert any(
        "In this head *flies* gives *arrow* **3.9\u00a0%**" in m.value for m in page.markdown
    )
    button.click()
    assert run(page).subheader[0].value == "Layer 5, head 11"
    assert any("no other head gives it more" in m.value for m in page.markdown)


def test_reset_brings_back_how_it_opened(page):
    page.query_params["text"] = "the cat sat"
    page.query_params["layer"] = "3"
    page.query_params["query"] = "1 the"
    assert run(page).subheader[0].value.startswith("Layer 3, ")
    next(button for button in page.button if button.label == "Reset").click()
    run(page)
    assert page.subheader[0].value == "Layer 5, head 11"
    assert page.text_area(key="text").value == DEFAULT
    assert page.selectbox(key="query").value == 2


def test_a_shorter_text_moves_the_pair_inside_it(page):
    page.query_params.update({"query": "6 [SEP]", "view": "Neurons"})
    run(page)
    assert page.selectbox(key="query").value == 6
    page.text_area(key="text").set_value("one two")
    run(page)
    assert page.selectbox(key="query").value == 2  # "two"; "one" and the ends are 1, 0 and 3
    assert page.selectbox(key="key").value == 1


# Links


def test_a_link_brings_back_what_it_was_made_from(page):
    for name, value in {
        "text": "the cat sat",
        "pair": "on the mat",
        "layer": "2",
        "head": "5",
        "query": "3 sat",
        "key": "1 the",
        "view": "Neurons",
    }.items():
        page.query_params[name] = value
    run(page)
    assert not page.warning
    assert page.subheader[0].value == "Layer 2, head 5"
    assert page.text_area(key="pair").value == "on the mat"
    assert (page.selectbox(key="query").value, page.selectbox(key="key").value) == (3, 1)
    assert "Q" in constants(page)


def test_a_new_text_keeps_the_pair_only_where_the_tokens_are_the_same(page, minilm):
    import attnviz

    page.session_state["view"] = "Heads"
    run(page)
    page.text_area(key="text").set_value("fruit flies like a banana")
    run(page)
    assert page.selectbox(key="query").value == 2  # still "flies"
    assert page.selectbox(key="key").value == 5  # no longer "arrow": what it opens with
    longer = "they say that fruit flies like a ripe banana"
    page.text_area(key="text").set_value(longer)
    run(page)
    start = opening(attnviz.trace(*minilm, longer))
    assert page.selectbox(key="key").value == start.key != 5  # not what took the place of it
    page.session_state["view"] = "Neurons"
    run(page)
    assert (page.selectbox(key="query").value, page.selectbox(key="key").value) == (2, start.key)


def test_a_blank_second_text_is_no_second_text(page):
    run(page)
    page.text_area(key="pair").set_value("  ")
    assert not run(page).error


def test_a_link_that_asks_for_what_is_not_there_gets_a_note_for_each(page):
    wrong = {
        "layer": "99",
        "head": "-1",
        "model": "nope",
        "query": "7 x",
        "kind": "cross",
        "view": "Z",
    }
    for name, value in wrong.items():
        page.query_params[name] = value
    run(page)
    notes = [warning.value for warning in page.warning]
    assert len(notes) == len(wrong)
    for value in ("99", "\\-1", "nope", "7 x", "cross", "Z"):
        assert sum(f"“{value}”" in note for note in notes) == 1
    assert page.subheader[0].value == "Layer 5, head 11"
    page.selectbox(key="layer").select(1)
    run(page)
    assert len(page.warning) == len(wrong) - 1  # chosen now: no note on the layer


def test_a_link_to_a_what_if_that_is_not_there_gets_a_note_for_each(page):
    wrong = {
        "what_if": "maybe",
        "if_unscaled": "2",
        "if_factor": "nan",
        "if_temperature": "1e999",
        "if_causal": "zz",
        "if_hidden": ["1 time", "99 x"],
        "if_zeroed": ["3", "32"],
    }
    page.session_state["what_if"] = True
    for name, value in wrong.items():
        page.query_params[name] = value
    run(page)
    notes = [warning.value for warning in page.warning]
    for value in ("maybe", "2", "nan", "1e999", "zz", "99 x", "32"):
        assert sum(f"“{value}”" in note for note in notes) == 1
    assert len(notes) == len(wrong)
    assert page.multiselect(key="if_hidden").value == ["1 time"]
    assert page.multiselect(key="if_zeroed").value == [3]


def test_a_link_that_leaves_a_control_empty_gets_no_note(page):
    page.query_params["view"] = "Heads"
    for name in ("heads", "hidden", "hide_special", "layer"):
        page.query_params[name] = ""
    assert not run(page).warning


def test_a_switch_in_a_link_is_on_or_off(page):
    for name in ("columns", "if_unscaled", "what_if", "why_scale"):
        page.query_params[name] = "True"
    assert not run(page).warning
    assert page.toggle(key="columns").value
    assert page.toggle(key="if_unscaled").value


# What it cannot show


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Enter a text."),
        ("   ", "Enter a text: received 3 blank characters."),
        ("word " * 600, "The text has 602 tokens, and .* has 512\\s+positions"),
        ("\x00​", "finds nothing it knows"),
    ],
)
def test_a_text_it_cannot_show_is_one_sentence_and_is_kept(page, text, sentence):
    run(page)
    page.text_area(key="text").set_value(text)
    run(page)
    assert len(said(page)) == 1
    plain = said(page)[0].replace("\\", "")
    assert re.search(sentence, plain)
    assert "**What to do:**" in plain
    assert page.text_area(key="text").value == text
    page.text_area(key="text").set_value(DEFAULT)
    assert not run(page).error


@pytest.mark.parametrize(
    "text",
    [
        "emoji 😀 🏳️‍🌈",
        "שלום עולם",
        "tab\tnull\x00 escape\x1b[31m",
        "<script>alert(1)</script> <b>bold</b>",
        "**bold** $x^2$ :red[red] ![i](http://x/y.png) `code`",
        "datum.value[0] + 'x' \"y\" {{7*7}}",
        "w" * 5_000,
    ],
)
def test_unusual_text_is_shown_and_kept(page, text):
    page.session_state["text"] = text
    run(page)
    assert not page.error
    assert page.text_area(key="text").value == text
    assert len(charts(page)) == 2


def test_a_model_that_cannot_be_loaded_leaves_the_page_usable(page):
    run(page)
    page.text_area(key="text").set_value("kept")
    page.selectbox(key="model").select("bert-base-uncased")
    run(page)
    assert len(said(page)) == 1
    assert "is not on this machine, and the Hub cannot be reached" in said(page)[0].replace(
        "\\", ""
    )
    assert page.text_area(key="text").value == "kept"
    page.selectbox(key="model").select("sentence-transformers/all-MiniLM-L6-v2")
    assert not run(page).error


def test_folders_that_cannot_be_shown_are_one_sentence_each(offering, tmp_path):
    good = save_tiny(tmp_path / "good")
    (tmp_path / "empty").mkdir()
    corrupt(save_tiny(tmp_path / "corrupt"))
    no_attention = save_tiny(tmp_path / "mamba")
    config = AutoConfig.for_model("mamba", vocab_size=30522, hidden_size=16, num_hidden_layers=2)
    AutoModel.from_config(config).save_pretrained(no_attention)
    sentences = {
        "empty": "The folder 'empty' is not a model: it holds no config.json.",
        "corrupt": "The weights file of corrupt is damaged",
        "mamba": "mamba (model type 'mamba') has no softmax attention",
    }
    page = offering(good, *(tmp_path / name for name in sentences))
    page.session_state["view"] = "Model"
    run(page)
    assert not page.error
    for name, sentence in sentences.items():
        page.selectbox(key="model").select(str(tmp_path / name))
        run(page)
        assert len(said(page)) == 1
        assert sentence in said(page)[0].replace("\\", "")
        assert str(tmp_path) not in said(page)[0].replace("\\", "")
    page.selectbox(key="model").select(str(good))
    assert not run(page).error


# What may be opened


def opened_by_link(name):
    page = AppTest.from_file(PAGE, default_timeout=60)
    page.query_params.update({"model": name, "view": "Model"})
    return run(page)


def test_a_closed_page_opens_no_folder_and_no_other_model(page, tmp_path):
    folder = save_tiny(tmp_path / "tiny")
    page.session_state["model"] = str(folder)  # as a visitor could send who is no browser
    page.session_state["view"] = "Model"
    run(page)
    by_link = [opened_by_link(name) for name in (str(folder), "someone/else", "tests")]
    for one in (page, *by_link):
        assert one.selectbox(key="model").value == settings.OFFERS[0].name
        assert "all\\-MiniLM\\-L6\\-v2" in one.main.caption[0].value
    assert [len(one.warning) for one in by_link] == [1, 1, 1]
    with pytest.raises(ModelLoadError, match="does not offer the model"):
        loading.model(str(folder))


def test_a_page_open_to_the_hub_takes_any_name_but_looks_at_no_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("ATTNVIZ_ANY_HUB_MODEL", "1")
    folder = save_tiny(tmp_path / "someone" / "tiny")
    monkeypatch.chdir(tmp_path)
    page = opened_by_link("someone/tiny")
    assert page.selectbox(key="model").value == "someone/tiny"
    assert not page.warning
    assert "someone/tiny is not on this machine, and the Hub cannot be reached" in seen(page)
    assert "is not the name of a model" in seen(opened_by_link(str(folder)))
    assert not opened_by_link(settings.OFFERS[0].name).error


def test_a_page_open_to_folders_takes_any_of_them(monkeypatch, tmp_path):
    monkeypatch.setenv("ATTNVIZ_ANY_FOLDER", "1")
    page = opened_by_link(f" {save_tiny(tmp_path / 'tiny')} ")
    assert not page.error
    assert page.main.caption[0].value.startswith("**tiny**")
    gone = opened_by_link(str(tmp_path / "gone"))
    assert "Folder not found: gone" in seen(gone)
    assert "does not offer the model 'someone/else'" in seen(opened_by_link("someone/else"))


def test_folders_that_were_opened_stay_in_the_list(monkeypatch, tmp_path):
    monkeypatch.setenv("ATTNVIZ_ANY_FOLDER", "1")
    folder = str(save_tiny(tmp_path / "tiny"))
    page = opened_by_link(folder)
    page.selectbox(key="model").select(settings.OFFERS[0].name)
    run(page)
    assert page.selectbox(key="model").options[-1] == folder
    page.selectbox(key="model").select(folder)
    assert run(page).main.caption[0].value.startswith("**tiny**")


def test_a_folder_of_the_list_that_is_not_there_is_nothing_to_download(offering, tmp_path):
    page = run(offering(settings.OFFERS[0].name, tmp_path / "gone"))
    assert page.selectbox(key="model").options == ["all-MiniLM-L6-v2", "gone"]
    page.selectbox(key="model").select(str(tmp_path / "gone"))
    assert "Folder not found: gone" in seen(run(page))
    assert page.sidebar.caption[-1].value == "Folder not found."


def test_a_link_made_where_a_model_was_to_come_opens_it_anywhere(monkeypatch):
    monkeypatch.setenv("ATTNVIZ_ANY_HUB_MODEL", "1")
    assert "someone/else is not on this machine" in seen(opened_by_link("someone/else ↓"))


def test_a_wrong_setting_is_a_sentence_on_the_page(page, monkeypatch):
    monkeypatch.setenv("ATTNVIZ_MAX_TOKENS", "many")
    loading.trace.cache_clear()
    run(page)
    assert "ATTNVIZ_MAX_TOKENS must be a whole number" in seen(page)


def test_a_model_larger_than_allowed_is_refused_with_the_numbers(page, monkeypatch):
    loading.model.cache_clear()
    monkeypatch.setenv("ATTNVIZ_MAX_MODEL_MB", "50")
    run(page)
    assert "takes 91 MB of memory in float32, and a model may take 50 MB here" in seen(page)


def seen(page):
    """What the page says is wrong, as a visitor reads it."""
    (one,) = said(page)
    return one.replace("\\", "").replace("\u2060", "")


def test_another_device_is_offered_where_there_is_one(page, monkeypatch, sentence_trace):
    from attnviz.models import loader

    monkeypatch.setattr(loader, "devices", lambda: ("cpu", "cpu:0"))  # the same under another name
    run(page)
    assert page.selectbox(key="device").options == ["CPU", "GPU", "GPU, bfloat16"]
    page.selectbox(key="device").select("GPU, bfloat16")
    run(page)
    assert "bfloat16" in page.main.caption[0].value
    weights = np.float32(constants(page)["weights"])
    assert not np.allclose(weights, sentence_trace.head(5, 11).weights, atol=1e-5)
    np.testing.assert_allclose(weights, sentence_trace.head(5, 11).weights, atol=0.05)


def test_without_a_gpu_none_is_offered_and_a_link_to_it_noted(page):
    page.query_params["device"] = "GPU, bfloat16"
    run(page)
    assert not [select for select in page.selectbox if select.key == "device"]
    assert len(page.warning) == 1


# Other families


def test_an_encoder_decoder_offers_its_kinds_and_a_target(offering, tmp_path):
    folder = save_tiny(tmp_path / "t5", "t5", ByT5Tokenizer(), vocab_size=384)
    page = run(offering(folder))
    assert not page.error
    assert page.selectbox(key="kind").options == ["encoder", "decoder", "cross"]
    assert "tokens, generated by the model" in page.main.caption[0].value
    page.text_area(key="target").set_value("Zeit")
    page.selectbox(key="kind").select("cross")
    page.session_state["all_steps"] = True
    run(page)
    assert page.subheader[0].value.endswith(", cross attention")
    sent = constants(page)
    assert np.shape(sent["weights"]) == (5, 25)
    assert sent["weights_rows"] == ["<pad>", "Z", "e", "i", "t"]
    assert {"x_query", "x_key", "biased"} <= sent.keys()


def test_of_the_first_token_of_a_causal_model_no_strongest_head_is_offered(offering, tmp_path):
    page = offering(save_tiny(tmp_path / "gpt2", "gpt2"))
    page.query_params["key"] = "0"
    run(page)
    assert any("attention sink" in m.value for m in page.markdown)
    assert not any(button.key == "open_strongest" for button in page.button)


def test_a_causal_model_opens_with_a_pair_that_is_not_hidden(offering, tmp_path):
    page = run(offering(save_tiny(tmp_path / "gpt2", "gpt2")))
    query, key = page.selectbox(key="query").value, page.selectbox(key="key").value
    assert (query, key in (1, 2, 3)) == (5, True)  # its last word, to one that is not beside it
    page.selectbox(key="query").select(2)
    page.selectbox(key="key").select(5)
    run(page)
    assert any(m.value.startswith("No head gives any weight") for m in page.markdown)
    assert any(m.value.endswith(": it is hidden.") for m in page.markdown)


def test_models_are_listed_by_short_names_that_tell_them_apart(offering, tmp_path):
    twins = [save_tiny(tmp_path / folder / "tiny") for folder in ("a", "b")]
    page = offering(settings.OFFERS[0].name, *twins)
    page.session_state["view"] = "Model"
    run(page)
    assert page.selectbox(key="model").options == ["all-MiniLM-L6-v2", "a/tiny", "b/tiny"]
    page.selectbox(key="model").select(str(twins[1]))
    run(page)
    assert not page.error
    everything = " ".join(str(element.proto) for element in (*page.main, *page.sidebar))
    assert str(tmp_path) not in everything


@pytest.mark.parametrize(
    ("model_type", "window"), [("gpt2", 99), ("llama", 99), ("gemma2", 4), ("gpt_oss", 4)]
)
def test_causal_and_sliding_masks_are_shown_as_hidden(offering, tmp_path, model_type, window):
    folder = save_tiny(tmp_path / model_type, model_type)
    page = run(offering(folder))
    assert not page.error
    weights = constants(page)["weights"]
    assert [[value is None for value in row] for row in weights] == [
        [not query - window < key <= query for key in range(7)] for query in range(7)
    ]


def test_a_sink_is_shown_in_every_view_and_table(offering, tmp_path):
    model = tiny_models.build("gpt_oss", vocab_size=30522)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("sinks"):
                parameter.fill_(1.5)
    folder = save_tiny(tmp_path / "gpt_oss", "gpt_oss")
    model.save_pretrained(folder)
    page = offering(folder)
    page.query_params.update({"layer": "0", "head": "0", "query": "2", "key": "1"})
    page.session_state["why_scale"] = page.session_state["what_if"] = True
    page.session_state["all_steps"] = page.session_state["if_unscaled"] = True
    page.session_state["table_steps"] = True
    page.session_state["table_of_steps"] = "softmax"
    sent = constants(run(page))
    assert sent["weights_columns"][-1] == "sink"
    rows = np.array([[value or 0 for value in row] for row in sent["weights"]])
    np.testing.assert_allclose(rows.sum(axis=1) + sent["weights_sink"], 1, atol=1e-5)
    assert sent["masked_sink"] == [1.5] * 7
    assert sent["share_rows"][-2] == SINK
    assert sent["strip_columns"][-1] == "sink" or len(sent["strip_columns"]) == 8
    words = [element.value for element in page.markdown]
    assert any("Heads 0 and 1 share this key: key/value head 0." in text for text in words)
    assert any("Each query sees itself and at most the 3 tokens before it." in t for t in words)
    table = next(frame.value for frame in page.dataframe if "sink" in frame.value)
    shares = table.drop(columns="query token").fillna(0).sum(axis=1)
    np.testing.assert_allclose(shares, 1, atol=1e-5)
    page.session_state["table_heads"] = page.session_state["table_neurons"] = True
    page.session_state["view"] = "Heads"
    assert constants(run(page))["key_names"][-1] == "sink (no token)"
    heads = page.dataframe[0].value
    assert heads["key token"].iloc[-1] == "sink (no token)"
    np.testing.assert_allclose(heads.drop(columns="key token").sum(), 1, atol=1e-5)
    page.session_state["view"] = "Neurons"
    assert "sink (no token)" in constants(run(page))["sum_names"]
    neurons = page.dataframe[0].value
    assert neurons["key token"].iloc[-1] == "sink (no token)"
    assert neurons["weight"].sum() == pytest.approx(1, abs=1e-5)
    page.session_state["view"] = "Model"
    assert any("the sink (no token)" in note for note in constants(run(page))["note"])


def test_another_model_moves_layer_and_head_inside_it(offering, tmp_path):
    folder = save_tiny(tmp_path / "tiny")
    page = offering(settings.OFFERS[0].name, folder)
    page.query_params["layer"] = "4"
    page.query_params["head"] = "10"
    assert run(page).subheader[0].value == "Layer 4, head 10"
    page.selectbox(key="model").select(str(folder))
    assert run(page).subheader[0].value == "Layer 2, head 3"


@pytest.mark.parametrize("view", ["Steps", "Neurons", "Heads", "Model"])
def test_a_visitor_who_only_looks_keeps_no_trace_in_memory(page, view):
    """Of fifty who have asked for long texts, the caches alone decide what stays."""
    page.session_state["view"] = view
    page.session_state["text"] = f"looked at in {view}"
    run(page)
    kept = next(t for key, t in loading._traces.items() if key[1] == f"looked at in {view}")
    kept = weakref.ref(kept)
    run(AppTest.from_file(PAGE, default_timeout=60))  # somebody else
    loading.trace.cache_clear()
    gc.collect()
    assert kept() is None


def test_a_trace_that_has_gone_is_had_again(page, sentence_trace):
    run(page)
    again = loading.again(next(iter(loading._traces.values())))
    loading.trace.cache_clear()
    assert again().tokens == sentence_trace.tokens
