"""Tokens as their tokenizer means them: every way to mark words, spaces, bytes and additions."""

import pytest
import transformers
from transformers import AddedToken

from attnviz.text.errors import InputError
from attnviz.text.tokenizing import encode, of_ids, of_names, target_ids
from tests.support import tokenizers
from tests.support.tiny_models import byte_level_tokenizer


def read(tokenizer, text):
    return encode(tokenizer, text)[1]


@pytest.mark.parametrize("kind", tokenizers.MADE)
def test_words_are_joined_and_found_and_counted_whatever_marks_them(kind):
    tokenizer = tokenizers.tokenizer(kind)
    tokens = read(tokenizer, tokenizers.SENTENCE)
    words = tokens.in_words()
    plain = [word.label for word in words if not word.is_special]
    assert plain in (["time", "flies", ",", "café", "!"], ["time", "flies", ",", "cafe", "!"])
    assert [word.label for word in words if word.is_punctuation] == [",", "!"]
    assert len(words.called("flies")) == 1
    assert sum(tokens.is_punctuation) == 2
    written = "".join(tokens.labels)
    assert not any(mark in written for mark in ("</w>", "@@", "▁", "Ġ", "Ã", "<U+"))
    added = tokenizer.num_special_tokens_to_add()
    assert sum(tokens.is_special) == added
    again = of_ids(tokenizer, tokenizer(tokenizers.SENTENCE)["input_ids"])
    assert (again.labels, again.is_special) == (tokens.labels, tokens.is_special)


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        ("openai", "time␣ flies␣ c a f e␣"),
        ("blenderbot_small", "t i m e f l i e s c a f é"),
        ("bert", "[CLS] time fl ##ies c ##a ##f ##e [SEP]"),
        ("gpt2", "time ␣flies ␣café"),
        ("byt5", "t i m e ␣ f l i e s ␣ c a f <0xC3> <0xA9> </s>"),
    ],
)
def test_a_space_is_shown_and_a_mark_read(kind, labels):
    assert " ".join(read(tokenizers.tokenizer(kind), "time flies café").labels) == labels


ADDED = ("café", "đem", "kuća", "Łódź", "®", "<ä>", "日本", "na ïve", "C##", "</w>", "@@")


@pytest.mark.parametrize("kind", ["gpt2", "bert", "t5", "byt5", "xlm", "ctrl"])
@pytest.mark.parametrize("is_special", [False, True])
def test_a_word_that_was_added_is_the_text_that_it_is(kind, is_special):
    tokenizer = tokenizers.MADE[kind]()
    added = [AddedToken(word, special=is_special, normalized=False) for word in ADDED]
    tokenizer.add_tokens(added, special_tokens=is_special)
    for word in ADDED:
        tokens = read(tokenizer, f"time {word}")
        at = [place for place, token in enumerate(tokens) if token.text == word]
        assert len(at) == 1
        assert tokens[at[0]].label == word.replace(" ", "␣")
        assert tokens.called(word) == at
        assert tokens[at[0]].is_special == is_special


def test_a_byte_with_the_name_of_a_word_that_was_added_stays_a_byte():
    tokenizer = byte_level_tokenizer("time")
    tokenizer.add_tokens(["®"])  # as GPT-2's alphabet writes the second byte of "î"
    assert read(tokenizer, "î®").labels == ("<0xC3>", "<0xAE>", "®")
    assert read(tokenizer, "î®").in_words().labels == ("î", "®")


def test_what_a_tokenizer_declares_special_is_special_though_it_has_no_name():
    tokenizer = byte_level_tokenizer("user the flies")
    markers = [AddedToken(name, special=True) for name in ("<|header|>", "<|end|>")]
    tokenizer.backend_tokenizer.add_special_tokens(markers)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    tokens = read(fast, "<|header|>user<|end|>the flies")
    assert tokens.labels == ("<|header|>", "user", "<|end|>", "the", "␣flies")
    assert tokens.is_special == (True, False, True, False, False)
    assert [token.segment for token in tokens] == [None, 0, None, 0, 0]
    assert read(fast, "<|end|>").labels == ("<|end|>",)  # which somebody typed


@pytest.mark.parametrize(
    ("names", "labels", "special"),
    [
        (["the", "Ġflies", "Ã", "©", "<end>"], "the|␣flies|<0xC3>|<0xA9>|<end>", [4]),
        (["▁the", "<0x41>", "cat", "</s>"], "␣the|A|cat|</s>", [3]),
        (["[CLS]", "fl", "##ies", "[UNK]", "[SEP]"], "[CLS]|fl|##ies|[UNK]|[SEP]", [0, 4]),
        (["time</w>", "fl", "ies</w>"], "time␣|fl|ies␣", []),
        (["fl@@", "ies", "a\n"], "fl|ies|a↵", []),
        (["##", "@@", "<unk>", "< s>", "a <b>"], "##|@@|<unk>|<␣s>|a␣<b>", []),
    ],
)
def test_names_that_are_given_are_read_by_their_marks(names, labels, special):
    tokens = of_names(names)
    assert "|".join(tokens.labels) == labels
    assert [place for place, token in enumerate(tokens) if token.is_special] == special


def test_ids_that_a_vocabulary_does_not_have_are_called_by_their_number():
    assert of_ids(tokenizers.tokenizer("gpt_sw3"), [5_000]).labels == ("<id 5000>",)


def test_a_target_is_read_in_its_own_language_and_vocabulary():
    tokenizer = tokenizers.MADE["mbart"]()
    ids = target_ids(tokenizer, "time")
    assert of_ids(tokenizer, ids, of_target=True).labels[-2:] == ("</s>", "en_XX")
    assert tokenizer.tgt_lang is None  # as it was
    tokenizer.tgt_lang = "de_DE"
    assert of_ids(tokenizer, target_ids(tokenizer, "time")).labels[-1] == "de_DE"
    assert read(tokenizer, "time").labels[-1] == "en_XX"


def test_a_target_without_a_language_is_refused_with_the_line_that_names_one():
    with pytest.raises(InputError, match="language of the target.*\n\n.*tgt_lang = 'de'"):
        target_ids(tokenizers.tokenizer("m2m_100"), "time")
    assert read(tokenizers.tokenizer("m2m_100"), "time").labels[0] == "__en__"
