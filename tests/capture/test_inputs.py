"""What a model is given, and the sentence for what it cannot take."""

import json

import pytest
import torch
from transformers import AutoConfig, AutoModel, ByT5Tokenizer, FSMTTokenizer

import attnviz
from attnviz.capture import inputs
from attnviz.capture.inputs import from_text, n_positions
from attnviz.text import tokenizing
from tests.support import tiny_models, tokenizers


@pytest.fixture(scope="module")
def tiny_t5():
    """An encoder-decoder with a tokenizer that has no fast version."""
    return tiny_models.build("t5", vocab_size=384), ByT5Tokenizer()


@pytest.mark.parametrize("text", ["", "   ", "\n\t "])
def test_a_blank_text_is_refused(minilm, text):
    with pytest.raises(attnviz.InputError, match="Enter a text"):
        attnviz.trace(*minilm, text)


def test_something_else_than_a_text_is_refused(minilm):
    with pytest.raises(attnviz.InputError, match="must be a string; received list"):
        attnviz.trace(*minilm, ["two", "texts"])


def test_a_text_longer_than_the_model_says_how_many_of_how_many(minilm):
    with pytest.raises(
        attnviz.InputError, match=r"has 602 tokens, and .*MiniLM.* has 512 positions"
    ):
        attnviz.trace(*minilm, "a " * 600)
    assert len(attnviz.trace(*minilm, "a " * 510).tokens) == 512


def test_a_page_may_set_a_smaller_bound(minilm):
    with pytest.raises(attnviz.InputError, match="has 22 tokens, and at most 16 are shown"):
        attnviz.trace(*minilm, "a " * 20, max_tokens=16)


@pytest.mark.parametrize(
    "text",
    [
        "😀 🏳️‍🌈 flags",
        "שלום עולם",
        "‮reversed‬ text",
        "tab\tand\x00null\x1b[31m",
        "<script>alert(1)</script> {{7*7}} ${x}",
        "datum.value[0] + 'x' \"y\" \\u0041",
        "w" * 5_000,
    ],
)
def test_unusual_text_is_traced_exactly(minilm, text):
    trace = attnviz.trace(*minilm, text)
    assert trace.head(0, 8).is_exact
    assert len(trace.tokens) == trace.head(0, 8).weights.shape[0]


def test_a_text_of_nothing_the_tokenizer_knows_is_refused(minilm):
    with pytest.raises(attnviz.InputError, match=r"finds nothing it knows.*<U\+0000><U\+200B>"):
        attnviz.trace(*minilm, "\x00​")


def test_half_a_surrogate_pair_is_refused(minilm):
    with pytest.raises(attnviz.InputError, match=r"character 3 is half of a pair \(U\+D83D\)"):
        attnviz.trace(*minilm, "ab\ud83d")


@pytest.mark.parametrize(
    ("model_type", "positions"),
    [("bert", 64), ("gpt2", 64), ("llama", 64), ("bart", 64), ("roberta", 63), ("t5", None)],
)
def test_positions_are_counted_as_the_model_uses_them(model_type, positions):
    # roberta's table of 64 rows keeps one for padding; bart's has two more than it offers
    model = tiny_models.build(model_type)
    assert n_positions(model) == positions
    if positions is None:
        return
    inputs = {"input_ids": tiny_models.random_ids(positions)}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = tiny_models.random_ids(4)
    assert attnviz.trace_inputs(model, inputs).head(0, 0).is_exact
    with pytest.raises(attnviz.InputError, match=f"{positions + 1} tokens"):
        attnviz.trace_inputs(model, inputs | {"input_ids": tiny_models.random_ids(positions + 1)})


def test_segments_of_a_pair_are_known(minilm):
    trace = attnviz.trace(*minilm, "the cat", pair="a dog")
    assert trace.tokens == ("[CLS]", "the", "cat", "[SEP]", "a", "dog", "[SEP]")
    assert tuple(token.segment for token in trace.source) == (None, 0, 0, None, 1, 1, None)
    assert [i for i, token in enumerate(trace.source) if token.is_special] == [0, 3, 6]


@pytest.mark.parametrize("named", ["text", "target"])
def test_a_text_far_too_long_is_refused_before_it_is_split(tiny_t5, named):
    def no_tokenizer(*texts, **more):
        raise AssertionError

    texts = {"text": "a", named: "w" * 1_601}
    with pytest.raises(attnviz.InputError, match="has 1,601 characters, and at most 1,600 are"):
        from_text(tiny_t5[0], no_tokenizer, texts["text"], None, texts.get("target"), 16)


def test_a_pair_needs_a_tokenizer_that_makes_pairs(tiny_t5):
    class NoSeparator(ByT5Tokenizer):
        def num_special_tokens_to_add(self, pair=False):
            return 0

    with pytest.raises(attnviz.InputError, match="takes one text, not a sentence pair.*'other'"):
        attnviz.trace(tiny_t5[0], NoSeparator(), "one", pair="other")


def test_a_blank_pair_is_refused_by_its_name(minilm):
    with pytest.raises(attnviz.InputError, match="Enter a second text"):
        attnviz.trace(*minilm, "one", pair="  ")


def test_a_target_needs_a_decoder(minilm):
    with pytest.raises(attnviz.InputError, match="takes no target text.*'Ziel'"):
        attnviz.trace(*minilm, "source", target="Ziel")


def test_a_target_stands_behind_the_start_token(tiny_t5):
    trace = attnviz.trace(*tiny_t5, "time", target="Zeit")
    assert trace.tokens == ("t", "i", "m", "e", "</s>")
    assert trace.target_tokens == ("<pad>", "Z", "e", "i", "t")
    assert not trace.target_is_decoded
    cross = trace.head(0, 0, "cross")
    assert (cross.query_tokens, cross.key_tokens) == (trace.target_tokens, trace.tokens)
    assert cross.weights.shape == (5, 5)
    assert trace.head(0, 0).query_tokens == trace.tokens


_SHIFTED = {
    "t5": "t5",
    "bart": "gpt2",
    "mbart": "mbart",
    "plbart": "plbart",
    "m2m_100": "m2m_100",
    "marian": "t5",
    "pegasus": "t5",
    "fsmt": "fsmt",
    "prophetnet": "bert",
}


@pytest.mark.parametrize("model_type", _SHIFTED)
@pytest.mark.parametrize("has_head", [True, False])
def test_the_decoder_is_given_what_the_model_makes_of_its_labels(model_type, has_head):
    tokenizer = tokenizers.MADE[_SHIFTED[model_type]]()
    if hasattr(tokenizer, "tgt_lang"):
        tokenizer.tgt_lang = {"mbart": "de_DE", "m2m_100": "de", "plbart": "en_XX"}.get(
            model_type, tokenizer.tgt_lang
        )
    model = tiny_models.build(model_type, **_seq2seq(model_type, 500))
    labels = tokenizer(text_target="café, flies", return_tensors="pt")["input_ids"]
    shift = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    start = torch.tensor([[model.config.decoder_start_token_id]])
    own = torch.cat([start, labels[:, :-1]], 1) if shift is None else shift(labels)
    if not has_head:
        model = AutoModel.from_config(model.config, attn_implementation="eager").eval()
    given = from_text(model, tokenizer, "time", None, "café, flies", None)
    assert given.tensors["decoder_input_ids"].tolist() == own.tolist()
    assert len(given.target) == own.shape[1]


def _seq2seq(model_type, n_tokens):
    small = dict(d_model=32, encoder_layers=1, decoder_layers=1, max_position_embeddings=64)
    small |= dict(encoder_attention_heads=4, decoder_attention_heads=4)
    small |= dict(encoder_ffn_dim=48, decoder_ffn_dim=48, vocab_size=n_tokens)
    small |= dict(pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2)
    if model_type == "fsmt":
        del small["vocab_size"]
        small |= dict(src_vocab_size=n_tokens, tgt_vocab_size=n_tokens, langs=["en", "de"])
    if model_type == "prophetnet":
        small = dict(hidden_size=32, vocab_size=n_tokens, num_encoder_layers=1) | dict(
            num_decoder_layers=1, num_encoder_attention_heads=4, num_decoder_attention_heads=4
        )
        small |= dict(encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=64)
    return {"t5": dict(vocab_size=n_tokens), "bart": dict(vocab_size=n_tokens)}.get(
        model_type, small
    )


def test_source_and_target_have_each_the_words_of_their_own_vocabulary(tmp_path):
    words = {"source": ("time</w>", "flies</w>"), "target": ("die</w>", "zeit</w>", "fliegt</w>")}
    for name, own in words.items():
        known = ["<s>", "<pad>", "</s>", "<unk>", *own]
        (tmp_path / name).write_text(json.dumps({word: i for i, word in enumerate(known)}))
    merges = ["t i", "ti m", "tim e</w>", "d i", "di e</w>", "z e", "ze i", "zei t</w>"]
    (tmp_path / "merges").write_text("".join(f"{pair} 1\n" for pair in merges))
    tokenizer = FSMTTokenizer(
        langs=["en", "de"],
        src_vocab_file=tmp_path / "source",
        tgt_vocab_file=tmp_path / "target",
        merges_file=tmp_path / "merges",
    )
    sizes = dict(src_vocab_size=6, tgt_vocab_size=7)
    model = tiny_models.build("fsmt", **_seq2seq("fsmt", 0) | sizes)
    trace = attnviz.trace(model, tokenizer, "time", target="die zeit")
    assert trace.source.labels == ("time␣", "</s>")
    assert trace.target.labels == ("</s>", "die␣", "zeit␣")
    inputs = {"input_ids": torch.tensor([[4, 5]]), "decoder_input_ids": torch.tensor([[2, 6]])}
    named = attnviz.trace_inputs(model, inputs, tokenizer=tokenizer)
    assert (named.tokens, named.target_tokens) == (("time␣", "flies␣"), ("</s>", "fliegt␣"))
    with pytest.raises(
        attnviz.InputError, match="ids of the decoder of .* 0 to 6; received 2 to 7"
    ):
        attnviz.trace_inputs(model, inputs | {"decoder_input_ids": torch.tensor([[2, 7]])})
    with pytest.raises(attnviz.InputError, match="Token ids of FSMT.* 0 to 5; received 4 to 6"):
        attnviz.trace_inputs(model, inputs | {"input_ids": torch.tensor([[4, 6]])})


def test_without_a_target_the_model_writes_it(tiny_t5):
    trace = attnviz.trace(*tiny_t5, "time")
    assert trace.target_is_decoded
    assert 1 <= len(trace.target_tokens) <= 33
    with torch.no_grad():
        ids = torch.tensor([tiny_t5[1]("time")["input_ids"]])
        written = tiny_t5[0].generate(input_ids=ids, max_new_tokens=32, do_sample=False)
    assert written.shape[1] - len(trace.target_tokens) in (0, 1)  # 1: the end token
    assert trace.head(0, 0, "decoder").is_exact


def test_an_encoder_decoder_without_its_head_cannot_write(tiny_t5):
    model = AutoModel.from_config(tiny_t5[0].config, attn_implementation="eager").eval()
    with pytest.raises(attnviz.InputError, match="without the language-model head"):
        attnviz.trace(model, tiny_t5[1], "time")
    assert attnviz.trace(model, tiny_t5[1], "time", target="Zeit").kinds[-1] == "cross"


def test_a_batch_is_refused_with_the_line_that_takes_one_row():
    model = tiny_models.build("bert")
    inputs = {"input_ids": torch.ones(3, 5, dtype=torch.long)}
    with pytest.raises(attnviz.InputError, match=r"batch of 3.*\n\n.*input_ids\[:1\]"):
        attnviz.trace_inputs(model, inputs)


def test_inputs_without_ids_are_refused():
    model = tiny_models.build("bert")
    with pytest.raises(attnviz.InputError, match="BertModel takes no pixels; received pixels"):
        attnviz.trace_inputs(model, {"pixels": torch.ones(1, 2)})


def test_an_encoder_decoder_needs_the_decoders_ids():
    model = tiny_models.build("bart")
    with pytest.raises(attnviz.InputError, match="reads decoder_input_ids or .*hold input_ids"):
        attnviz.trace_inputs(model, {"input_ids": tiny_models.random_ids()})


@pytest.mark.parametrize("ids", [[[120]], [[-1, 3]], [[]]])
def test_ids_that_the_model_does_not_have_are_refused(ids):
    model = tiny_models.build("bert")
    with pytest.raises(attnviz.InputError, match="run from 0 to 119; received"):
        attnviz.trace_inputs(model, {"input_ids": torch.tensor(ids, dtype=torch.long)})


def test_a_short_decoder_writes_no_more_than_it_has_positions_for():
    model = tiny_models.build("bart", vocab_size=384, max_position_embeddings=16)
    trace = attnviz.trace(model, ByT5Tokenizer(), "time")
    assert len(trace.target_tokens) <= 16


def test_positions_are_named_as_given_or_by_number():
    model = tiny_models.build("bert")
    inputs = {"input_ids": tiny_models.random_ids(3)}
    assert attnviz.trace_inputs(model, inputs).tokens == ("0", "1", "2")
    assert attnviz.trace_inputs(model, inputs, tokens=["a", "b", "c"]).tokens == ("a", "b", "c")
    named = attnviz.trace_inputs(model, inputs, tokens=["a\n", "\ud800", "c"])
    assert named.tokens == ("a↵", "<U+D800>", "c")
    with pytest.raises(attnviz.InputError, match="2 names for 3 positions"):
        attnviz.trace_inputs(model, inputs, tokens=["a", "b"])


def test_positions_are_named_by_the_tokenizer_as_a_text_names_them(minilm):
    model, tokenizer = minilm
    encoding = tokenizer("the dragonflies", "a dog", return_tensors="pt")
    whole = attnviz.trace(model, tokenizer, "the dragonflies", pair="a dog").source
    assert attnviz.trace_inputs(model, encoding, tokenizer=tokenizer).source == whole
    assert attnviz.trace_inputs(model, dict(encoding), tokenizer=tokenizer).source == whole
    names = tokenizer.convert_ids_to_tokens(encoding["input_ids"][0])
    by_name = attnviz.trace_inputs(model, encoding, tokens=names).source
    assert (by_name.labels, by_name.is_special) == (whole.labels, whole.is_special)
    called = attnviz.trace_inputs(
        model, encoding, tokens="abcdefgh"[: len(names)], tokenizer=tokenizer
    )
    assert called.source.is_special == whole.is_special
    assert called.tokens == tuple("abcdefgh"[: len(names)])


# What a model was not made for


def test_a_tokenizer_with_more_tokens_than_the_model_is_told_so(minilm):
    model = tiny_models.build("bert", vocab_size=500)
    with pytest.raises(attnviz.InputError, match="Token ids of .* run from 0 to 499; received 101"):
        attnviz.trace(model, minilm[1], "time flies")


def test_a_text_whose_weights_would_not_fit_is_refused_with_the_numbers(
    minilm, tiny_t5, monkeypatch
):
    monkeypatch.setattr(inputs, "free_memory", lambda: 20_000_000)
    text = "word " * 500
    assert attnviz.trace(*minilm, text).tokens  # 24 MB, which there always are
    monkeypatch.setattr(inputs, "_ALWAYS_FREE", 1_000_000)
    assert attnviz.trace(*minilm, "short").tokens
    with pytest.raises(attnviz.InputError, match="502 tokens; .* 12 heads take 24 MB .* 20 MB"):
        attnviz.trace(*minilm, text)
    # Where they tell whose a call was, those of all layers are there at once.
    config = tiny_t5[0].config
    n_heads = config.num_layers * config.num_heads
    with pytest.raises(attnviz.InputError, match=f"1,001 tokens; .* {n_heads} heads take"):
        attnviz.trace(*tiny_t5, "w" * 1_000, target="a")


@pytest.mark.parametrize(
    ("model_type", "said"), [("vit", "reads pixel_values, not a"), ("clip", "needs pixel_values")]
)
def test_a_model_that_needs_more_than_a_text_is_one_sentence(minilm, model_type, said):
    small = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
    if model_type == "clip":
        small = dict(text_config=small | {"vocab_size": 30522}, vision_config=small)
    config = AutoConfig.for_model(model_type, **small)
    model = AutoModel.from_config(config, attn_implementation="eager").eval()
    with pytest.raises(attnviz.UnsupportedModelError, match=f"'{model_type}'. {said}") as refused:
        attnviz.trace(model, minilm[1], "time flies")
    assert "\n\nHint: " in str(refused.value)


def test_a_tokenizer_that_panics_is_one_sentence(minilm):
    class Panic(BaseException):
        pass

    def splits(*texts):
        raise Panic("regex")

    with pytest.raises(attnviz.InputError, match="tokenizer cannot split this text"):
        tokenizing._split(splits, "a" * 10)
