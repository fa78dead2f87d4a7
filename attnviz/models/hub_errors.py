"""What is said when the Hub, or the way to it, fails: a sentence and a hint, never a secret."""

import errno
import re

from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from attnviz.models import bundled, compat, http_client
from attnviz.models.retry import AskedToWait, Silent
from attnviz.text.errors import ModelLoadError


def said(error: Exception, name: str, revision: str | None) -> ModelLoadError:
    """The sentence and the hint for what huggingface_hub or its HTTP client raised."""
    name = _scrubbed(name)
    failure = http_client.failure(error)
    answer = http_client.answer(error)
    status = None if answer is None else answer.status_code
    match error:
        case ModelLoadError():
            return error
        case AskedToWait():
            statement = (
                f"The Hub is busy: it asks to wait {error.seconds} seconds before it sends {name}."
            )
            hint = "try again then; with HF_TOKEN set to a token of yours it allows more."
        case GatedRepoError():
            statement = f"{name} is gated: its owners give access on request."
            hint = (
                "ask for access on its page on the Hub; HF_TOKEN must hold a token that has it, "
                "where attnviz runs."
            )
        case RevisionNotFoundError():
            return no_revision(name, revision)
        case RepositoryNotFoundError():
            statement = f"The Hub has no public model called {name!r}."
            hint = (
                "check the spelling; for a private model HF_TOKEN must hold a token that may read "
                "it, where attnviz runs."
            )
        case _ if status == 401:
            statement = f"The Hub does not send {name}: it does not accept this machine's token."
            hint = "set HF_TOKEN to a valid token, or to none for a public model."
        case DisabledRepoError():
            statement = f"The Hub has disabled {name}."
            hint = "choose another model."
        case _ if status == 403:
            statement = f"The Hub does not let this machine read {name}."
            hint = "set HF_TOKEN to a token that may read it."
        case _ if status is not None:
            statement = f"The Hub refused to send {name} (HTTP {status})."
            hint = "try again in a minute."
        case OfflineModeIsEnabled():
            statement = (
                f"{name} is not on this machine, and the Hub cannot be reached: HF_HUB_OFFLINE is "
                "set."
            )
            hint = f"choose a model that is here{_such_as()}."
        case _ if isinstance(error, Silent | TimeoutError) or failure == "silent":
            statement = f"The Hub stopped answering while {name} was asked of it."
            hint = "try again; files that have arrived whole are kept."
        # Of hf_xet the first, which raises a RuntimeError for all else.
        case _ if isinstance(error, ConnectionError | RuntimeError) or failure == "broken":
            statement = f"The connection to the Hub broke off again and again while it sent {name}."
            hint = "try again; files that have arrived whole are kept."
        case _ if isinstance(error, compat.not_here()) or failure == "unreachable":
            statement = (
                f"{name} is not on this machine, and the Hub cannot be reached to download it."
            )
            hint = f"connect to the network, or choose a model that is here{_such_as()}."
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
            statement = f"This machine's disk is full; {name} could not be downloaded."
            hint = "free some space, or choose a smaller model."
        case OSError() if error.errno is not None:
            statement = f"{name} cannot be kept on this machine's disk ({error.strerror})."
            hint = "set HF_HOME to a folder that can be written."
        case _:  # an answer that is no JSON, a file of another length, no header where one must be
            statement = f"What was sent of {name} is not what the Hub lists of it."
            hint = "try again; a network that asks to sign in, or a proxy, may have answered."
    if name == bundled.BUNDLED and bundled.folder() is None:
        hint = bundled.TO_INSTALL
    return ModelLoadError(f"{statement}\n\nHint: {hint}")


def _such_as() -> str:
    return "" if bundled.folder() is None else f", such as {bundled.BUNDLED}"


def no_name(name: str) -> ModelLoadError:
    return ModelLoadError(
        f"{_scrubbed(name)!r} is not the name of a model.\n\nHint: names look like 'gpt2' or "
        "'google/flan-t5-small'."
    )


def no_revision(name: str, revision: str | None) -> ModelLoadError:
    return ModelLoadError(
        f"{name} has no revision {_scrubbed(str(revision))!r}."
        "\n\nHint: leave the revision out for the newest."
    )


def incomplete(name: str) -> ModelLoadError:
    return ModelLoadError(
        f"{name} has come whole, but its list of weights does not name the files it has."
        "\n\nHint: choose another model; its owners may have left a file out."
    )


def _scrubbed(text: str) -> str:
    """A text of bounded length, without a token in it."""
    return re.sub("hf_[A-Za-z0-9]{16,}", "hf_…", text)[:100]
