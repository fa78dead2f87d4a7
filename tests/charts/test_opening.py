"""Where attnviz opens a text: which head, and which two of its tokens."""

from dataclasses import replace

import numpy as np
import pytest

import attnviz
from attnviz.charts.parts.opening_pair import opening
from tests.conftest import SENTENCE
from tests.support import tiny_models

LONG = "a long text in which the words are many " * 8


@pytest.fixture(scope="module")
def writing(minilm):
    """A decoder that reads what the bundled model's tokenizer gives it."""
    return tiny_models.build("gpt2", vocab_size=minilm[0].config.vocab_size), minilm[1]


def weights_of(trace, query):
    """What every head gives from one query: (layer and head, key)."""
    heads = [(layer, n) for layer in trace.layers() for n in range(trace.n_heads(layer))]
    return heads, np.stack([trace.head(*head).own_weights[query] for head in heads])


def test_the_bundled_model_opens_where_the_sources_statement_is_true(sentence_trace):
    start = opening(sentence_trace)
    assert (start.layer, start.head, start.query, start.key) == (5, 11, 2, 5)
    assert sentence_trace.head(5, 11).weights[2, 5] == pytest.approx(0.581, abs=5e-4)


def test_the_model_of_the_sources_picture_opens_at_the_pictures_head(sentence_trace):
    for name in ("bert-base-uncased", "google-bert/bert-base-uncased"):
        start = opening(replace(sentence_trace, model_name=name))
        assert (start.layer, start.head, start.query) == (0, 8, 2)
    other = opening(replace(sentence_trace, model_name="bert-base-uncased-finetuned"))
    assert (other.layer, other.head) == (5, 11)


@pytest.mark.parametrize("text", [SENTENCE, "The cat, they say, sat on the mat.", LONG])
def test_no_other_head_gives_more_to_a_word_that_may_be_followed(minilm, text):
    trace = attnviz.trace(*minilm, text)
    start, tokens = opening(trace), trace.source
    offered = [
        place
        for place, token in enumerate(tokens[:40])
        if not token.is_special and not token.is_punctuation and abs(place - start.query) > 1
    ]
    heads, weights = weights_of(trace, start.query)
    assert tokens[start.query].starts_word
    assert start.key in offered
    here = weights[heads.index((start.layer, start.head)), start.key]
    assert here == weights[:, offered].max()


@pytest.mark.parametrize("text", [SENTENCE, LONG[:240]])
def test_a_model_that_writes_opens_at_its_last_token_beside_the_sink(writing, text):
    trace = attnviz.trace(*writing, text)
    start, n = opening(trace), len(trace.tokens)
    assert start.query == n - 2  # before [SEP], which is no word of the text
    offered = range(1, n - 3)
    heads, weights = weights_of(trace, start.query)
    assert start.key in offered
    here = weights[heads.index((start.layer, start.head)), start.key]
    assert here == weights[:, offered].max()


@pytest.mark.parametrize(
    ("text", "query", "key"),
    [("time flies", 2, 1), ("time", 1, 1), ("?!", 2, 1), ("dragonflies like", 3, None)],
)
def test_a_text_of_few_words_opens_with_what_it_has(minilm, text, query, key):
    trace = attnviz.trace(*minilm, text)
    start = opening(trace)
    names = trace.tokens
    if key is None:
        assert names[start.query] == "like"
        assert start.key != start.query
    else:
        assert (start.query, start.key) == (query, key)


def test_a_text_of_special_tokens_alone_opens_somewhere(writing):
    trace = attnviz.trace_inputs(writing[0], {"input_ids": [[101, 102]]}, tokens=["[CLS]", "[SEP]"])
    assert trace.head(opening(trace).layer, opening(trace).head).weights.shape == (2, 2)


def test_keys_of_another_text_may_stand_beside_the_query(minilm):
    model = tiny_models.build("t5", vocab_size=minilm[0].config.vocab_size)
    trace = attnviz.trace(model, minilm[1], "time flies", target="zwei Worte mehr")
    start = opening(trace, "cross")
    queries, keys = trace.tokens_of(0, "cross")
    assert queries.labels[start.query] == "wort" or queries[start.query].starts_word
    assert not keys[start.key].is_special
