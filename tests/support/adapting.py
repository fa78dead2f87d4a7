"""Models that PEFT adapts."""

import warnings

import peft


def adapted(model, config):
    """The adapted model, in evaluation mode."""
    with warnings.catch_warnings():  # peft asks transformers for what is called otherwise now
        warnings.simplefilter("ignore", FutureWarning)
        return peft.get_peft_model(model, config).eval()
