"""Names of transformers' tokenizers that their reference does not promise."""

from attnviz.text import compat
from tests.support import tokenizers


def test_a_tokenizer_that_is_switched_to_targets_is_known():
    assert compat.has_target_mode(tokenizers.tokenizer("mbart"))
    assert not compat.has_target_mode(tokenizers.tokenizer("fsmt"))
