"""How much memory ten long texts take, on a model as large as BERT-base.

    python -m tests.memory
    python -m tests.memory --texts 10 --budget 1500 --trace-cache 512,256,128

The model is random: 12 layers, 12 heads, 768 dimensions, the bundled tokenizer's vocabulary. One
visitor asks the page for one text of 512 tokens after another; memory is that of the page's own
process, as the system counts it. Exits with 1 where it was ever above the budget, in MB.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.models import BASE, save
from tests.benchmarks.texts import texts_of
from tests.load import WATCHED
from tests.support.serving import serving
from tests.support.visitors import visiting
from tests.support.watched_page import Diary, memory_of

N_TOKENS = 512


async def peaks(folder: Path, model: Path, n_texts: int, **settings: str) -> list[float]:
    """The process's largest memory in MB, after each text; prints what it is made of."""
    folder.mkdir()
    diary = Diary(folder / "diary")
    settings |= {"ATTNVIZ_DIARY": str(diary.path), "ATTNVIZ_MODELS": str(model)}
    after = []
    with serving(folder, program=WATCHED, **settings) as server:
        print(f"started, everything imported: {memory_of(server.pid)['now']:.0f} MB")
        async with visiting(server.address, text="hello") as (visitor, shown):
            for text in texts_of(N_TOKENS, n_texts):
                shown = await visitor.choose(text=text)
                if shown.errors:
                    raise RuntimeError(shown.errors)
                after.append(memory_of(server.pid)["peak"])
        (load,), passes = diary.read("load"), diary.read("pass")
        print(f"the model loaded: {load['now']:.0f} MB, on the way {load['peak']:.0f} MB at most")
        for number, entry in enumerate(passes[1:], 1):
            print(
                f"text {number:2}: {entry['before']:.0f} MB before its forward pass, "
                f"{entry['now']:.0f} after, {after[number - 1]:.0f} at most so far"
            )
    return after


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--texts", type=int, default=10)
    parser.add_argument("--budget", type=float, default=1500, help="MB")
    parser.add_argument("--trace-cache", help="values of ATTNVIZ_TRACE_CACHE_MB; else its default")
    options = parser.parse_args()
    largest = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = save(folder / "bert-base", **BASE)
        for value in (options.trace_cache or "").split(","):
            settings = {"ATTNVIZ_TRACE_CACHE_MB": value} if value else {}
            print(f"\n{' '.join(f'{k}={v}' for k, v in settings.items()) or 'as delivered'}")
            measured = asyncio.run(peaks(folder / f"page{value}", model, options.texts, **settings))
            print(f"at most {measured[-1]:.0f} MB; the budget is {options.budget:.0f} MB")
            largest = max(largest, measured[-1])
    return 0 if largest < options.budget else 1


if __name__ == "__main__":
    sys.exit(main())
