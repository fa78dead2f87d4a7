"""The page in a process of its own, with models to be had from a Hub; visited by one visitor.

Run as a program it offers the models given; it reads the name of one from each line of its input,
opens it, downloads it where the page offers that, and prints what is then to be seen.
"""

import json
import os
import sys
import time

from tests.support.hub_processes import _Process, loading_from
from tests.support.places import PAGE


class Page(_Process):
    """The page, offering these models beside the bundled one."""

    def __init__(self, address, home, models, patient=False, **environment):
        impatience = 1 if patient else 10
        environment |= loading_from(address, home, impatience)
        super().__init__("hub_page", impatience, *models, **environment)

    def open(self, model):
        """What is to be seen of a model.

        The button that was `offered`, what was `said` in the end with its `hint`, how many
        `charts` there are, how many once the visitor is `back` at the bundled model, the `text`
        that had been typed before, the `exceptions`, and the `seconds` until then.
        """
        print(model, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


def _visit(page, model):
    from attnviz.models.bundled import BUNDLED

    begun = time.monotonic()
    page.selectbox(key="model").select(model).run()
    offered = None
    _come_to_rest(page, model)
    if _button(page, "download"):
        offered = _button(page, "download").label
        _button(page, "download").click().run()
        _come_to_rest(page, model)
    error, _, hint = "".join(e.value for e in page.error).replace("\\", "").partition("\n\n")
    seen = {
        "offered": offered,
        "said": error,
        "hint": hint,
        "charts": len(page.get("vega_lite_chart")),
        "seconds": time.monotonic() - begun,
        "exceptions": [element.value for element in page.exception],
        "text": page.text_input(key="text").value,
    }
    page.selectbox(key="model").select(BUNDLED).run()
    return seen | {"back": len(page.get("vega_lite_chart"))}


def _come_to_rest(page, model):
    """Until nothing is asked of the Hub any more, as the page sees by looking again and again."""
    from attnviz.page.service import downloading

    download = downloading.known(model)
    if download is not None and download.is_under_way:
        download.wait(100)
        page.run()


def _button(page, key):
    return next((button for button in page.button if button.key == key), None)


if __name__ == "__main__":
    from streamlit.testing.v1 import AppTest

    from attnviz.models import retry
    from attnviz.models.bundled import BUNDLED

    retry.LONGEST_SILENCE /= int(sys.argv[1])
    os.environ["ATTNVIZ_MODELS"] = ",".join([BUNDLED, *sys.argv[2:]])
    page = AppTest.from_file(str(PAGE), default_timeout=120).run()
    page.text_input(key="text").set_value("kept whatever happens").run()
    for line in sys.stdin:
        print(json.dumps(_visit(page, line.strip())), flush=True)
