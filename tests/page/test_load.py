"""Several visitors of a running page at once: right answers, each text computed once.

The same measured with more of them, for longer: tests/load.py, tests/memory.py, tests/soak.py.
"""

import dataclasses

import pytest

from tests import load, soak
from tests.support.visitors import run, visiting

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def plans():
    return load.plans(n_sessions=8, n_changes=1, seed=3)


@pytest.fixture(scope="module")
def answers(server, plans):
    before = len(server.log.read_text())
    answers = run(load.visit_all(server.address, plans))
    assert "Traceback" not in server.log.read_text()[before:]
    return answers


def test_no_visitor_is_shown_anything_but_what_they_asked_for(answers, plans):
    traces = load.traces_of(plans)
    assert answers.n_requests == 8 * (1 + 3)
    assert answers.errors == []
    assert load.wrong_answers(answers, traces) == []


def test_an_answer_for_another_head_or_layer_would_be_noticed(answers, plans):
    traces = load.traces_of(plans)
    asked, shown = answers.given["redraw"][-1]
    assert load.is_right(asked, shown, traces[asked.text])
    for other in (
        dataclasses.replace(asked, head=(asked.head + 1) % load.N_HEADS),
        dataclasses.replace(asked, layer=(asked.layer + 1) % load.N_LAYERS),
    ):
        assert not load.is_right(other, shown, traces[asked.text])
        assert not load.has_weights(shown, traces[asked.text].head(other.layer, other.head))


def test_a_text_that_several_ask_for_is_computed_once(answers, plans, diary):
    texts = {load.FIRST.text, *(asked.text for plan in plans for asked in plan)}
    passes = load.passes(diary)
    assert {text: passes[text] for text in texts} == dict.fromkeys(texts, 1)
    assert len(diary.read("load")) == 1


def test_heads_are_changed_while_another_visitor_waits_for_a_forward_pass(server, answers):
    beside = run(load.beside_a_slow_pass(server.address))
    assert len(beside.meanwhile) >= 3
    assert max(beside.meanwhile) < beside.slow


def test_a_visitor_without_a_browser_reads_what_a_large_message_was_told_of_by_its_hash(server):
    async def look_twice():
        async with visiting(server.address) as (visitor, first):
            second = await visitor.run()
            return first, second

    first, second = run(look_twice())
    assert second.n_bytes < first.n_bytes
    assert second.constants == first.constants


def test_growth_is_between_the_last_two_quarters():
    steady = [{"now": 500.0 + (60 - n if n < 60 else 0)} for n in range(100)]
    assert soak.grown(steady) < 0.01
    assert soak.grown([{"now": 500.0 + n} for n in range(100)]) > 0.03
