"""What a head changes in what a model says, in sentences made from the numbers, as Markdown."""

from collections.abc import Mapping
from typing import Any

from attnviz.text.phrases import escaped, fixed, number, percent

SPACE = "␣"


def without_it(of: Mapping[Any, Any], layer: int, head: int, patch: str | None = None) -> str:
    """What becomes of the followed token without the head: "*Mary* falls from 92.2 % to 61.0 %."

    `of` has what `attrs` of `both` of `attnviz.effect.without` have.
    """
    before, after = of["probability_before"], of["probability_after"]
    said = share(before), share(after)
    if said[0] == said[1]:
        becomes = f"stays at **{said[0]}**"
    else:
        becomes = f"{'falls' if after < before else 'rises'} from **{said[0]}** to **{said[1]}**"
    name = f"layer {layer}, head {head}"
    how = f"With the update that {name} has in “{escaped(patch)}”," if patch else f"Without {name},"
    return f"{how} {called(of['token'])} {becomes}."


def in_numbers(of: Mapping[Any, Any]) -> str:
    """The same as Δ log p, and how far all that the model says changes."""
    return f"Δ log p {signed(of['change'])} · KL divergence {number(of['kl'])} nats"


def answering(of: Mapping[Any, Any], tokens: tuple[str, ...]) -> str:
    """How a sentence on what the model says begins: "After *to* the model says"."""
    at = of["position"]
    if at is None:
        return "Of the whole text the model says"
    name = called(tokens[at])
    return {
        "next token": f"After {name} the model says",
        "masked token": f"At {name} the model says",
        "target token": f"After {name}, in the target, the model says",
    }.get(of["what"], f"Of {name} the model says")


def strongest_of(kind: str, layer: int, head: int, way: int, change: float, name: str) -> str:
    """Which head pushes the followed token most."""
    of_kind = "" if kind == "self" else f" of the {kind} attention"
    pushes, becomes = ("up", "falls") if way > 0 else ("down", "rises")
    return (
        f"Layer {layer}, head {head}{of_kind} pushes {called(name)} {pushes} most: without it "
        f"log p {becomes} by {number(abs(change))}."
    )


def called(label: str) -> str:
    """A token of the vocabulary inside a sentence, without the space that begins it."""
    return f"*{escaped(label.removeprefix(SPACE) or label)}*"


def share(probability: float) -> str:
    """A probability as a percentage; a small one with two digits."""
    return percent(probability) if probability >= 0.001 else f"{_small(probability)}\u00a0%"


def _small(probability: float) -> str:
    return number(100 * probability, 2)


def signed(value: float) -> str:
    """A number with its sign, with two decimals, or digits enough to be seen."""
    written = fixed(value, 2) if abs(value) >= 0.095 or value == 0 else number(value, 2)
    return f"+{written}" if value > 0 else written
