"""Which package something failed without, by what it says."""

import pytest

from attnviz.text.packages import missing

RJIEBA = """
CpmAntTokenizer requires the rjieba library but it was not found in your environment. You can
install it with pip: `pip install
rjieba`. Please note that you may need to restart your runtime after installation.
"""


@pytest.mark.parametrize(
    ("error", "package"),
    [
        (ModuleNotFoundError("No module named 'fugashi'", name="fugashi"), "fugashi"),
        (ModuleNotFoundError("No module named", name="google.protobuf"), "protobuf"),
        (ModuleNotFoundError("No module named 'Mykytea'", name="Mykytea"), "kytea"),
        (ImportError("You need to install sudachipy>=0.6.8 to specify it"), "sudachipy"),
        (ImportError("You need to install rhoknp to use JumanppTokenizer."), "rhoknp"),
        (ImportError("The unidic_lite dictionary is not installed."), "unidic_lite"),
        (ImportError("X requires the SentencePiece library but it was not found"), "sentencepiece"),
        (ImportError(RJIEBA), "rjieba"),
        (ValueError("Install it with `pip install tiktoken`."), "tiktoken"),
        (ImportError("`pip install --upgrade transformers[audio]`"), "transformers[audio]"),
        (ImportError("cannot import name 'x' from 'y'"), None),
        (ValueError("requires the moon library"), None),
    ],
)
def test_the_package_is_the_one_that_is_named(error, package):
    assert missing(error) == package


def test_the_cause_of_an_error_is_asked_too():
    error = ImportError("no tokenizer")
    error.__context__ = ModuleNotFoundError("No module named 'fugashi'", name="fugashi")
    assert missing(error) == "fugashi"
