"""Small tokenizers of many kinds, slow and fast, that know the letters of one sentence."""

import functools
import json
from tempfile import mkdtemp

import sentencepiece
import transformers
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

from tests.support.tiny_models import byte_level_tokenizer

SENTENCE = "time flies, café!"
_LETTERS = "abcdefghijklmnopqrstuvwxyz,!é"
_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_MERGES = [("t", "i"), ("ti", "m"), ("tim", "e</w>"), ("f", "l"), ("fl", "i"), ("fli", "e")]
_MERGES += [("flie", "s</w>")]


def _numbered(*tokens):
    return {token: place for place, token in enumerate(dict.fromkeys(tokens))}


_MARKED_ENDS = _numbered(
    *(*_SPECIAL, "<special0>", "<special1>", "<mask>"),
    *(letter + end for letter in _LETTERS for end in ("", "</w>")),
    *("".join(pair) for pair in _MERGES),
)
_MARKED_PIECES = _numbered(
    *(*_SPECIAL, "[QUESTION]", ".", "time", "fl", "##ies"),
    *(mark + letter for letter in _LETTERS for mark in ("", "##")),
)
_GOING_ON = _numbered(
    *(*_SPECIAL, "<mask>", "time", "flies", "fl@@", "fli@@", "flie@@"),
    *(letter + mark for letter in _LETTERS for mark in ("", "@@")),
)
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


@functools.cache
def _folder():
    """The files that slow tokenizers read."""
    folder = mkdtemp(prefix="tokenizers-")

    def write(name, content):
        with open(f"{folder}/{name}", "w") as file:
            file.write(content)

    write("text", f"{SENTENCE}\nlike an arrow\n" * 40)
    for kind, more in (("unigram", {}), ("bpe", dict(byte_fallback=True))):
        sentencepiece.SentencePieceTrainer.train(
            input=f"{folder}/text",
            model_prefix=f"{folder}/{kind}",
            model_type=kind,
            vocab_size=300 if more else 40,
            hard_vocab_limit=False,
            minloglevel=2,
            **more,
        )
    write(
        "unigram.json", json.dumps(_numbered(*_SPECIAL, *(piece for piece, _ in _unigram(folder))))
    )
    write("ends.json", json.dumps(_MARKED_ENDS))
    write("pieces.txt", "\n".join(_MARKED_PIECES))
    write("pieces.json", json.dumps(_MARKED_PIECES))
    write("going_on.json", json.dumps(_GOING_ON))
    write("going_on.txt", "".join(f"{token} 1\n" for token in _GOING_ON if token not in _SPECIAL))
    write("merges", "".join(f"{a} {b} 1\n" for a, b in _MERGES))
    return folder


def _unigram(folder):
    model = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/unigram.model")
    return [(model.id_to_piece(place), model.get_score(place)) for place in range(len(model))]


def of_files(kind, *names, **more):
    """A slow tokenizer of these files of the folder."""
    files = {key: f"{_folder()}/{name}" for key, name in more.pop("files", {}).items()}
    return getattr(transformers, kind)(*(f"{_folder()}/{name}" for name in names), **files, **more)


_FSMT = dict(src_vocab_file="ends.json", tgt_vocab_file="ends.json", merges_file="merges")
_SMALL = _numbered("<unk>", "<s>", "</s>", "<pad>", "<eos>", "<bos>", *_BYTES, "▁", *_LETTERS[:-1])
_BYTE_LETTERS = [*map(chr, range(0x21, 0x7F)), "Ã", "©", "Ġ"]
_CLIP = _numbered(
    *("<|startoftext|>", "<|endoftext|>"),
    *(letter + end for letter in _BYTE_LETTERS for end in ("", "</w>")),
)

# Each writes marks, spaces or bytes in a way of its own.
MADE = {
    # The end of a word
    "xlm": lambda: of_files("XLMTokenizer", "ends.json", "merges"),
    "flaubert": lambda: of_files("FlaubertTokenizer", "ends.json", "merges"),
    "fsmt": lambda: of_files("FSMTTokenizer", langs=["en", "de"], files=_FSMT),
    "biogpt": lambda: of_files("BioGptTokenizer", "ends.json", "merges"),
    "herbert": lambda: transformers.HerbertTokenizer(vocab=_MARKED_ENDS, merges=_MERGES),
    "openai": lambda: transformers.OpenAIGPTTokenizer(vocab=_MARKED_ENDS, merges=_MERGES),
    "clip": lambda: transformers.CLIPTokenizer(vocab=_CLIP, merges=[]),
    # That it goes on
    "ctrl": lambda: of_files("CTRLTokenizer", "going_on.json", "merges"),
    "phobert": lambda: of_files("PhobertTokenizer", "going_on.txt", "merges"),
    "bertweet": lambda: of_files("BertweetTokenizer", "going_on.txt", "merges"),
    "blenderbot_small": lambda: of_files("BlenderbotSmallTokenizer", "going_on.json", "merges"),
    # That it goes on, in what follows
    "bert": lambda: transformers.BertTokenizer(vocab=_MARKED_PIECES),
    "bert_legacy": lambda: BertTokenizerLegacy(f"{_folder()}/pieces.txt"),
    "bert_japanese": lambda: of_files(
        "BertJapaneseTokenizer", "pieces.txt", word_tokenizer_type="basic"
    ),
    "prophetnet": lambda: of_files("ProphetNetTokenizer", "pieces.txt"),
    "roc_bert": lambda: of_files("RoCBertTokenizer", "pieces.txt", "pieces.json", "pieces.json"),
    "splinter": lambda: transformers.SplinterTokenizer(vocab=_MARKED_PIECES),
    # Spaces
    "m2m_100": lambda: of_files("M2M100Tokenizer", "unigram.json", "unigram.model", src_lang="en"),
    "speech_to_text": lambda: of_files("Speech2TextTokenizer", "unigram.json", "unigram.model"),
    "gpt_sw3": lambda: of_files("GPTSw3Tokenizer", "bpe.model"),
    "plbart": lambda: of_files("PLBartTokenizer", "unigram.model", src_lang="python"),
    "xlnet": lambda: transformers.XLNetTokenizer(vocab=_unigram(_folder())),
    "t5": lambda: transformers.T5Tokenizer(vocab=_unigram(_folder())),
    "mbart": lambda: transformers.MBartTokenizer(vocab=_unigram(_folder())),
    "llama": lambda: transformers.LlamaTokenizer(vocab=_SMALL, merges=[]),
    "gemma": lambda: transformers.GemmaTokenizer(vocab=_SMALL, merges=[]),
    "gpt2": lambda: byte_level_tokenizer(SENTENCE),
    # Bytes and characters
    "byt5": transformers.ByT5Tokenizer,
    "perceiver": transformers.PerceiverTokenizer,
    "dia": transformers.DiaTokenizer,
    "canine": transformers.CanineTokenizer,
}


@functools.cache
def tokenizer(kind):
    """One of them; not to be changed."""
    return MADE[kind]()
