"""Which dimensions decide a score: its products, the largest share first."""

import numpy as np
import pandas as pd
from jaxtyping import Int

from attnviz.attention.explained.arithmetic import DECIMALS
from attnviz.attention.head import HeadTrace
from attnviz.text.phrases import added, fixed, percent, rounded_together, token_at

ENOUGH = 0.8  # of a score


def dimension_shares(head: HeadTrace, query: int, key: int) -> pd.DataFrame:
    """The d_head products qᵢ·kᵢ of one pair, the largest share of their sum first.

    One row a dimension: `dimension`, `q`, `k`, `product`, `share` (product over the score, so
    that all shares add up to 1; negative where a dimension pulls the other way) and `running`
    (the shares so far). Shares are NaN where the score is 0.
    """
    q, k = head.q[query].astype(np.float64), head.k[key].astype(np.float64)
    product = q * k
    score = product.sum()
    share = product / score if score else np.full(len(product), np.nan)
    order = np.argsort(-share if score else -np.abs(product), kind="stable")
    table = pd.DataFrame(
        {"dimension": np.arange(len(q)), "q": q, "k": k, "product": product, "share": share}
    )
    table = table.iloc[order].reset_index(drop=True)
    return table.assign(running=table["share"].cumsum())


def order_of(head: HeadTrace, query: int, key: int) -> Int[np.ndarray, " d_head"]:
    """The dimensions, the largest share of the pair's score first."""
    return dimension_shares(head, query, key)["dimension"].to_numpy()


def n_enough(shares: pd.DataFrame) -> int | None:
    """How many of the first dimensions give 80 % of the score; None where the score is 0."""
    reached = np.flatnonzero(shares["running"] >= ENOUGH)
    return int(reached[0]) + 1 if len(reached) else None


def dimensions_sentence(head: HeadTrace, query: int, key: int) -> str:
    """How few dimensions decide the pair's score, as Markdown."""
    shares = dimension_shares(head, query, key)
    n, enough = len(shares), n_enough(shares)
    pair = f"{token_at(head.query_tokens, query)} and {token_at(head.key_tokens, key)}"
    if enough is None:
        return f"The products q × k of {pair} add up to 0: no dimension decides."
    give = "is enough" if enough == 1 else "are enough"
    together = "it gives" if enough == 1 else "they give"
    first = f"**{enough} of {n} dimensions** {give} for {100 * ENOUGH:.0f}\u00a0% of"
    reached = f"{together} {percent(shares['running'][enough - 1])}."
    product = shares["product"]
    n_raising, n_lowering = int((product > 0).sum()), int((product < 0).sum())
    if not (n_raising and n_lowering):
        return f"{first} q · k of {pair} ({fixed(product.sum(), DECIMALS)}): {reached}"
    raised, lowered = rounded_together(
        [float(product[product > 0].sum()), float(product[product < 0].sum())], DECIMALS
    )
    return (
        f"Positive and negative products cancel in q · k of {pair}: {n_raising} "
        f"{'raises' if n_raising == 1 else 'raise'} the score and {n_lowering} "
        f"{'lowers' if n_lowering == 1 else 'lower'} it, {added([raised, lowered])} = "
        f"{fixed(product.sum(), DECIMALS)}. So shares of the score can exceed 100\u00a0%. "
        f"{first} the score: {reached}"
    )
