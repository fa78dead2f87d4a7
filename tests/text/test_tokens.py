"""Tokens as people read them."""

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from attnviz.text.characters import shown
from attnviz.text.errors import InputError
from attnviz.text.tokenizing import encode, of_ids, takes_pair
from attnviz.text.tokens import plain
from tests.support.tiny_models import byte_level_tokenizer


@pytest.fixture(scope="module")
def byte_level():
    """A tokenizer of the kind that GPT-2 introduced, on a small vocabulary."""
    return byte_level_tokenizer("the flies fly like the arrow flies")


@pytest.fixture(scope="module")
def sentence_piece():
    """A tokenizer that marks a word's start with ▁ and spells what it does not know in bytes."""
    vocabulary = ["<unk>", "<s>", "▁", "▁the", "▁cat", *(f"<0x{b:02X}>" for b in range(256))]
    scores = [(token, -float(place)) for place, token in enumerate(vocabulary)]
    backend = Tokenizer(models.Unigram(scores, unk_id=0, byte_fallback=True))
    backend.normalizer = normalizers.Prepend("▁")
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>")


def test_byte_level_tokens_read_as_text_with_visible_spaces(byte_level):
    _, read = encode(byte_level, "the flies")
    assert "".join(read.labels) == "the␣flies"
    assert not any(token.is_special for token in read)


def test_a_piece_of_a_character_is_shown_as_its_bytes(byte_level):
    _, read = encode(byte_level, "é😀")
    spelled = "".join(label for label in read.labels if label.startswith("<0x"))
    assert spelled == "".join(f"<0x{byte:02X}>" for byte in "é😀".encode())


def test_a_token_added_as_plain_text_reads_as_that_text(byte_level):
    byte_level.add_tokens(["日本", "  "])
    _, read = encode(byte_level, "the日本  ")
    assert read.labels[-2:] == ("日本", "␣␣")


def test_an_id_without_a_token_is_named_by_its_number(byte_level):
    assert of_ids(byte_level, [10_000]).labels == ("<id 10000>",)


def test_a_special_token_that_is_also_the_unknown_one_stays_special(byte_level):
    _, read = encode(byte_level, "the<end>")
    assert read.labels[-1] == "<end>"
    assert read[-1].is_special


def test_sentence_piece_tokens_keep_their_bytes_and_show_their_space(sentence_piece):
    _, read = encode(sentence_piece, "the cat")
    assert read.labels == ("␣the", "␣cat")
    _, read = encode(sentence_piece, "é")
    assert read.labels[-2:] == ("<0xC3>", "<0xA9>")


def test_an_unknown_word_is_a_word_of_the_text(minilm):
    _, read = encode(minilm[1], "a " + "w" * 300)
    assert read.labels == ("[CLS]", "a", "[UNK]", "[SEP]")
    assert [token.is_special for token in read] == [True, False, False, True]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text", "plain text"),
        ("a\nb\tc\x00", "a↵b⇥c<U+0000>"),
        ("\u202egnp.exe", "<U+202E>gnp.exe"),
        ("no\u00a0break", "no<U+00A0>break"),
        ("\ud83d", "<U+D83D>"),
        ("a\u3164b\u2800", "a<U+3164>b<U+2800>"),
        ("soft\u00adhyphen\u034fjoined", "soft<U+00AD>hyphen<U+034F>joined"),
        ("\u0301a\u0301 \u0301", "<U+0301>a\u0301 <U+0301>"),
        ("\ufe0f❤\ufe0f\u0378\ue000", "<U+FE0F>❤\ufe0f<U+0378><U+E000>"),
        ("देवनागरी 🫨 1\ufe0f\u20e3", "देवनागरी 🫨 1\ufe0f\u20e3"),
        ("été 日本 😀", "été 日本 😀"),
    ],
)
def test_what_draws_nothing_is_named(text, expected):
    assert shown(text) == expected


def test_a_long_text_is_quoted_by_its_beginning(minilm):
    with pytest.raises(InputError, match=r"in this text: '(<U\+0000>){80}…'\.") as refused:
        encode(minilm[1], "\x00" * 100_000)
    assert len(str(refused.value)) < 1_000


def test_only_a_tokenizer_with_separators_takes_a_pair(minilm, byte_level):
    assert takes_pair(minilm[1])
    assert not takes_pair(byte_level)


# Words


def words_of(read):
    return read.in_words().labels


def test_pieces_of_a_word_are_merged_and_special_tokens_stand_alone(minilm):
    _, tokenizer = minilm
    _, read = encode(tokenizer, "unbelievable dragonflies don't", "flies.")
    assert words_of(read) == (
        *("[CLS]", "unbelievable", "dragonflies", "don", "'", "t", "[SEP]"),
        *("flies", ".", "[SEP]"),
    )
    assert read.in_words()[2].positions == (2, 3)
    segments = [None, 0, 0, 0, 0, 0, None, 1, 1, None]
    assert [word.segment for word in read.in_words()] == segments
    assert read.in_words()[0].is_special


def test_a_visible_space_begins_a_word(byte_level):
    _, read = encode(byte_level, "the arrowfly, fly")
    assert words_of(read) == ("the", "arrowfly", ",", "fly")


def test_the_bytes_of_a_character_are_one_word(byte_level):
    _, read = encode(byte_level, "the 😀 fly")
    assert words_of(read) == ("the", "😀", "fly")


def test_words_of_sentence_pieces_begin_at_their_marks(sentence_piece):
    _, read = encode(sentence_piece, "the cat catthe")
    assert words_of(read)[:2] == ("the", "cat")
    assert "".join(words_of(read)[2:]) == "catthe"


def test_words_of_ids_without_an_encoding_go_by_their_marks(minilm, byte_level):
    _, tokenizer = minilm
    read = of_ids(tokenizer, tokenizer("unbelievable dragonflies")["input_ids"])
    assert words_of(read) == ("[CLS]", "unbelievable", "dragonflies", "[SEP]")
    read = of_ids(byte_level, byte_level("the arrowfly")["input_ids"])
    assert words_of(read) == ("the", "arrowfly")


def test_names_that_a_caller_gives_are_words_unless_they_are_marked():
    assert plain(["time", "flies"]).words() == ((0,), (1,))
    assert plain(["dragon", "##flies"]).words() == ((0, 1),)


def test_some_of_the_tokens_remember_where_they_stood():
    some = plain("abcd").only([1, 3])
    assert some.labels == ("b", "d")
    assert [some.place_of(position) for position in range(4)] == [None, 0, None, 1]


def test_padding_is_special_of_no_text_and_no_piece_of_a_word():
    read = plain(["dragon", "##fly", "##x", "##x"]).padded([False, False, True, True])
    is_padding = [False, False, True, True]
    assert [token.is_padding for token in read] == is_padding
    assert [token.is_special for token in read] == is_padding
    assert [token.segment for token in read] == [0, 0, None, None]
    assert read.words() == ((0, 1), (2,), (3,))
    assert [token.is_padding for token in read.only([1, 2])] == [False, True]
    assert [word.is_padding for word in read.in_words()] == [False, True, True]
