"""Effect on the page: what a model says with a head and without it, and without each in turn."""

import threading
import time
from types import SimpleNamespace

import pytest
from transformers import AutoTokenizer

import attnviz
from attnviz import effect
from attnviz.models import bundled
from attnviz.page.service import effects
from tests.support.saying import saying
from tests.support.showing import charts, constants, run, said

TEXT = "time flies like an arrow"


def save(folder, family):
    saying(family).save_pretrained(folder)
    AutoTokenizer.from_pretrained(bundled.folder()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A decoder, a masked model and an encoder-decoder, each a tiny random one."""
    root = tmp_path_factory.mktemp("saying")
    return {name: save(root / name.partition(",")[0], name) for name in ("gpt2", "bert", "t5")}


@pytest.fixture
def opened(offering, folders):
    """The page at a link, with one of these models."""

    def open_at(family, **parameters):
        page = offering(folders[family])
        page.query_params.update({"view": "Effect", **parameters})
        return run(page)

    yield open_at
    with effects._sweeps_lock:
        effects._sweeps.clear()


@pytest.fixture(scope="module")
def model_of(folders):
    return lambda family: attnviz.load(str(folders[family]))


def words(page):
    return " ".join(element.value for kind in ("markdown", "caption") for element in page.get(kind))


def swept(page):
    """The page once a sweep that was begun is at its end."""
    for one in [*effects._sweeps.values()]:
        one.wait(60)
        assert not one.is_under_way
    return run(page)


def test_it_says_what_the_model_says_with_the_head_and_without_it(opened, model_of):
    page = opened("gpt2", layer="1", head="2")
    found = effect.without(*model_of("gpt2"), TEXT, [(1, 2)])
    sent = constants(page)
    assert sent["tokens"] == found.both["token"].tolist()
    assert sent["before"] == pytest.approx(found.both["before"].tolist(), abs=1e-5)
    assert sent["after"] == pytest.approx(found.both["after"].tolist(), abs=1e-5)
    said = f"Without layer 1, head 2, *{found.token}*"
    assert said.replace("#", r"\#") in words(page)
    assert "total effect" in words(page)
    assert not page.error


def test_the_masked_token_answers_and_a_text_without_one_is_told(opened, model_of):
    page = opened("bert", text="time [MASK] like an arrow")
    assert page.selectbox(key="position").value == 2
    assert "At *\\[MASK\\]* the model says" in words(page)
    page.text_area(key="text").set_value(TEXT)
    run(page)
    assert "The text has no masked token" in words(page)
    assert not page.error


def test_the_token_position_and_text_to_patch_with_of_a_link_are_followed(opened, model_of):
    link = {"token": "arrow", "position": "3", "patch": "time flew like an arrow"}
    page = opened("gpt2", layer="2", head="0", **link)
    found = effect.without(
        *model_of("gpt2"), TEXT, [(2, 0)], how=link["patch"], token="arrow", position=3
    )
    sent = constants(page)
    assert sent["after"] == pytest.approx(found.both["after"].tolist(), abs=1e-5)
    assert sent["tokens"][sent["followed"]] == "arrow"
    assert len(sent["tokens"]) in (10, 11)
    assert "With the update that layer 2, head 0 has in “time flew like an arrow”" in words(page)
    assert page.query_params["token"] == "arrow"


def test_what_cannot_be_followed_or_patched_is_said_and_the_controls_stay(opened):
    page = opened("gpt2", token="antidisestablishmentarianism")
    assert "not one token" in said(page)[0]
    assert page.selectbox(key="token")
    page.selectbox(key="token").set_value(None)
    page.text_area(key="patch").set_value("short")
    run(page)
    assert "as many tokens" in said(page)[0]
    assert page.text_area(key="patch").value == "short"


def test_another_text_has_its_own_first_choice_unless_one_was_chosen(opened, model_of):
    page = opened("gpt2")
    page.text_area(key="text").set_value("the cat sat on the mat")
    run(page)
    found = effect.without(*model_of("gpt2"), "the cat sat on the mat", [(0, 0)])
    assert page.selectbox(key="token").value == found.token
    assert "token" not in page.query_params


def test_a_sweep_colours_every_head_and_lists_those_that_push_most(opened, model_of):
    page = opened("gpt2")
    page.button(key="sweep").click()
    page = swept(run(page))
    table = effect.sweep(*model_of("gpt2"), TEXT)
    sent = constants(page)
    assert sent["tile_change"] == pytest.approx(table["change"].tolist(), abs=1e-4)
    assert page.query_params["all_heads"] == "true"
    up = page.dataframe[0].value
    strongest = table.loc[table["change"].idxmin()]
    assert (up["layer"][0], up["head"][0]) == (strongest["layer"], strongest["head"])
    n_before = len(effects._sweeps)
    page.selectbox(key="layer").select(2)
    run(page)
    assert constants(page)["tile_change"] == sent["tile_change"]
    assert len(effects._sweeps) == n_before


def test_a_sweep_that_is_stopped_keeps_what_it_has(opened, monkeypatch):
    monkeypatch.setattr("attnviz.effect.sweeping.BATCH_TOKENS", 1)
    has_some, may_go_on = threading.Event(), threading.Event()

    def aside(seconds):
        has_some.set()
        assert may_go_on.wait(60)

    monkeypatch.setattr(effects, "time", SimpleNamespace(monotonic=time.monotonic, sleep=aside))
    page = opened("gpt2")
    page.button(key="sweep").click()
    run(page)
    [sweep] = effects._sweeps.values()
    assert has_some.wait(60)
    sweep.stop()
    may_go_on.set()
    page = swept(page)
    n = len(sweep.table)
    assert n < 12
    assert f"Stopped after {n} of 12 heads." in words(page)
    known = [one for one in constants(page)["tile_change"] if one is not None]
    assert len(known) == n


def test_a_sweep_ends_when_nobody_looks_at_it_any_more(opened, monkeypatch):
    monkeypatch.setattr("attnviz.effect.sweeping.BATCH_TOKENS", 1)
    monkeypatch.setattr(effects, "_LEFT_AFTER", 0.1)
    monkeypatch.setattr(effects, "_ASIDE", 0.05)
    page = opened("gpt2")
    page.button(key="sweep").click()
    run(page)
    [sweep] = effects._sweeps.values()
    sweep.wait(30)
    assert len(sweep.table) < 12


def test_a_visitor_has_a_trace_while_another_ones_sweep_goes_on(opened, monkeypatch):
    monkeypatch.setattr("attnviz.effect.sweeping.BATCH_TOKENS", 1)
    monkeypatch.setattr(effects, "_ASIDE", 0.2)
    page = opened("gpt2")
    alone = constants(page)["before"]
    page.button(key="sweep").click()
    run(page)
    [sweep] = effects._sweeps.values()
    page.text_area(key="text").set_value("an arrow flies")
    run(page)
    page.text_area(key="text").set_value(TEXT)
    with effects._sweeps_lock:
        assert sweep.is_under_way
    assert constants(run(page))["before"] == alone  # with all heads, whatever the sweep does
    sweep.stop()


def test_two_who_ask_at_once_have_their_own_answers(model_of):
    model, tokenizer = model_of("gpt2")
    alone = {at: effect.without(model, tokenizer, TEXT, [at]).logits_after for at in HEADS}
    answers = {}

    def ask(at):
        answers[at] = [effect.without(model, tokenizer, TEXT, [at]) for _ in range(5)]

    threads = [threading.Thread(target=ask, args=(at,)) for at in HEADS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for at in HEADS:
        assert all((one.logits_after == alone[at]).all() for one in answers[at])


HEADS = ((0, 1), (2, 3))


def test_a_model_that_only_embeds_says_so_and_shows_the_way_to_one_that_speaks(offering, folders):
    page = offering(bundled.BUNDLED, folders["gpt2"])
    page.query_params["view"] = "Effect"
    run(page)
    assert "makes embeddings and says nothing of tokens or classes" in words(page)
    assert not page.error
    assert not charts(page)
    page.button(key=f"open_{folders['gpt2']}").click()
    run(page)
    assert len(constants(page)["tokens"]) == 10


def test_a_gguf_file_is_known_to_say_something_without_being_read(monkeypatch, tmp_path):
    monkeypatch.setenv("ATTNVIZ_MODELS", f"{bundled.BUNDLED},{tmp_path / 'a.gguf'}")
    (tmp_path / "a.gguf").touch()
    assert effects.speaking() == [str(tmp_path / "a.gguf")]


def test_an_encoder_decoder_answers_in_its_target_and_a_head_of_another_kind_opens(opened):
    page = opened("t5", target="an arrow flies", all_heads="true")
    page = swept(page)
    assert "in the target, the model says" in words(page)
    kinds = {p["value"][0] for c in charts(page) for p in c["params"] if p["name"] == "row_kinds"}
    assert kinds == {"encoder"}


def test_the_last_step_leads_here(opened):
    page = opened("gpt2", view="Steps", step="output")
    page.button(key="to_effect").click()
    page = run(page)
    assert len(constants(page)["tokens"]) == 10


def test_seven_tokens_and_all_heads_are_sent_in_less_than_100_kb(opened):
    page = swept(opened("gpt2", all_heads="true"))
    sent = [len(element.proto.SerializeToString()) for element in page.get("vega_lite_chart")]
    assert len(sent) == 3
    assert sum(sent) < 100_000
