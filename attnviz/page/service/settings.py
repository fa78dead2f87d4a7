"""What this deployment offers and allows, set by whoever runs it, in the environment.

Top-level entries of `.streamlit/secrets.toml` become environment variables, so the same names
can be set there, as numbers or text (Streamlit passes on no true and false). A page cannot know
whether it is public: it is closed unless it is opened.
"""

import os
from dataclasses import dataclass

from attnviz.models.bundled import BUNDLED, DECODER
from attnviz.text.characters import shown
from attnviz.text.errors import AttnvizError, ModelLoadError

MEGABYTE = 10**6


class SettingsError(AttnvizError):
    """A setting of this deployment cannot be read."""


@dataclass(frozen=True)
class Offer:
    """A model on the page's list."""

    name: str
    n_bytes: int | None = None  # of its weights on the Hub, where that is known


# Sizes of model.safetensors as the Hub lists them.
OFFERS = (
    Offer(BUNDLED, 91 * MEGABYTE),
    Offer(DECODER),  # of a package, where that is installed; the Hub has its weights in full
    Offer("bert-base-uncased", 440 * MEGABYTE),
    Offer("distilbert-base-uncased", 268 * MEGABYTE),
    Offer("roberta-base", 499 * MEGABYTE),
    Offer("gpt2", 548 * MEGABYTE),
    Offer("distilgpt2", 353 * MEGABYTE),
    Offer("HuggingFaceTB/SmolLM2-135M-Instruct", 269 * MEGABYTE),
    Offer("google/flan-t5-small", 308 * MEGABYTE),
)


def offers() -> tuple[Offer, ...]:
    """The models to choose from: ATTNVIZ_MODELS (comma-separated names or folders), or the list."""
    listed = {offer.name: offer for offer in OFFERS}
    names = [name.strip() for name in os.environ.get("ATTNVIZ_MODELS", "").split(",")]
    chosen = tuple(listed.get(name, Offer(name)) for name in dict.fromkeys(names) if name)
    return chosen or OFFERS


def takes_any_hub_model() -> bool:
    """Whether visitors may ask for every model on the Hub: ATTNVIZ_ANY_HUB_MODEL."""
    return _is_set("ATTNVIZ_ANY_HUB_MODEL")


def takes_any_folder() -> bool:
    """Whether visitors may name folders of this machine: ATTNVIZ_ANY_FOLDER."""
    return _is_set("ATTNVIZ_ANY_FOLDER")


def takes_any() -> bool:
    """Whether visitors may ask for models that are not on the list."""
    return takes_any_hub_model() or takes_any_folder()


def may_be_folder(name: str) -> bool:
    """Whether this name may be looked for among the folders of this machine.

    Raises ModelLoadError for a model that is not on the list of a page that offers only those.
    """
    if takes_any_folder() or _is_listed(name):
        return True
    if takes_any_hub_model():
        return False
    raise not_offered(name)


def may_be_of_hub(name: str) -> bool:
    """Whether this name may be looked for on the Hub and in its cache."""
    return takes_any_hub_model() or _is_listed(name)


def not_offered(name: str) -> ModelLoadError:
    return ModelLoadError(
        f"This page does not offer the model {shown(name[:80])!r}."
        "\n\nHint: choose one of its list, or run attnviz on a machine of your own, where it can "
        "be opened to any model."
    )


def _is_listed(name: str) -> bool:
    return name in [offer.name for offer in offers()]


def max_tokens() -> int:
    """The most tokens a text may have: ATTNVIZ_MAX_TOKENS. What a trace holds grows with n²."""
    return _number("ATTNVIZ_MAX_TOKENS", 512)


def max_model_bytes() -> int:
    """The most memory that one model may take: ATTNVIZ_MAX_MODEL_MB, or all that is for models."""
    return _number("ATTNVIZ_MAX_MODEL_MB", model_cache_bytes() // MEGABYTE) * MEGABYTE


def max_models() -> int:
    """How many models are kept loaded: ATTNVIZ_MAX_MODELS, as long as their memory allows it."""
    return _number("ATTNVIZ_MAX_MODELS", 8)


def model_cache_bytes() -> int:
    """How much memory loaded models may take together: ATTNVIZ_MODEL_CACHE_MB."""
    return _number("ATTNVIZ_MODEL_CACHE_MB", 1200) * MEGABYTE


def trace_cache_bytes() -> int:
    """How much memory traces of recent texts may take together: ATTNVIZ_TRACE_CACHE_MB."""
    return _number("ATTNVIZ_TRACE_CACHE_MB", 256) * MEGABYTE


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "").strip() or str(default)
    if not value.isascii() or not value.isdigit() or not int(value):
        raise _wrong(name, "a whole number above 0", value)
    return int(value)


def _is_set(name: str) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if value not in ("", "0", "1", "false", "true"):
        raise _wrong(name, "0 or 1", value)
    return value in ("1", "true")


def _wrong(name: str, what: str, value: str) -> SettingsError:
    return SettingsError(
        f"The setting {name} must be {what}; it is {shown(value[:80])!r}."
        "\n\nHint: change it where this page is run: in its environment or its secrets.toml."
    )
