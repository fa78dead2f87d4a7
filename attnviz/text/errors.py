"""What can go wrong for a user, each as a sentence that says what to do next."""


class AttnvizError(Exception):
    """Base of every error a user can meet; its message is shown to them as it is."""


class InputError(AttnvizError):
    """The text, or the position asked for, cannot be shown."""


class ModelLoadError(AttnvizError):
    """The model cannot be loaded."""


class UnsupportedModelError(AttnvizError):
    """The model computes attention in a way that attnviz cannot observe."""


class NoAttentionError(UnsupportedModelError):
    """The model has no softmax attention: there is nothing to show."""


def gist(error: BaseException) -> str:
    """What another library's error says first, without the paths of this machine."""
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    words = [word for word in line.split() if "/" not in word and "\\" not in word]
    return " ".join(words)[:160].rstrip(".")
