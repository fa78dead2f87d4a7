"""What this deployment offers, set by whoever runs it, in the environment.

Top-level entries of `.streamlit/secrets.toml` become environment variables, so the same names
can be set there.
"""

import os
from dataclasses import dataclass

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Offer:
    """A model on the page's list."""

    name: str
    size: str  # of what is downloaded once


# Sizes of model.safetensors as the Hub lists them, in decimal megabytes.
OFFERS = (
    Offer("sentence-transformers/all-MiniLM-L6-v2", "installed with attnviz, no download"),
    Offer("bert-base-uncased", "440 MB to download, once"),
    Offer("distilbert-base-uncased", "268 MB to download, once"),
    Offer("roberta-base", "499 MB to download, once"),
    Offer("gpt2", "548 MB to download, once"),
    Offer("distilgpt2", "353 MB to download, once"),
    Offer("HuggingFaceTB/SmolLM2-135M", "269 MB to download, once"),
    Offer("google/flan-t5-small", "308 MB to download, once"),
)


def offers() -> tuple[Offer, ...]:
    """The models to choose from: ATTNVIZ_MODELS (comma-separated names or folders), or the list."""
    listed = {offer.name: offer for offer in OFFERS}
    names = [name.strip() for name in os.environ.get("ATTNVIZ_MODELS", "").split(",")]
    chosen = tuple(listed.get(name, Offer(name, "")) for name in names if name)
    return chosen or OFFERS


def max_tokens() -> int:
    """The most tokens a text may have: ATTNVIZ_MAX_TOKENS. What a trace holds grows with n²."""
    return int(os.environ.get("ATTNVIZ_MAX_TOKENS", "512"))


def model_cache_bytes() -> int:
    """How much memory loaded models may take: ATTNVIZ_MODEL_CACHE_MB."""
    return int(os.environ.get("ATTNVIZ_MODEL_CACHE_MB", "1200")) * MEBIBYTE


def trace_cache_bytes() -> int:
    """How much memory traces of recent texts may take: ATTNVIZ_TRACE_CACHE_MB."""
    return int(os.environ.get("ATTNVIZ_TRACE_CACHE_MB", "512")) * MEBIBYTE
