"""A visitor of the page who asks for models that are to be had from a Hub."""

import time

from attnviz.models.bundled import BUNDLED


def offered(*models):
    """The setting under which the page offers the bundled model and these."""
    return "ATTNVIZ_MODELS", ",".join([BUNDLED, *models])


def visit(page, model):
    """What is to be seen of a model, downloaded where the page offers that.

    The button that was `offered`, what was `said` in the end with its `hint`, how many `charts`
    there are, how many once the visitor is `back` at the bundled model, the `text` that had been
    typed before, the `exceptions`, and the `seconds` until then.
    """
    begun = time.monotonic()
    page.selectbox(key="model").select(model).run()
    offered = None
    _come_to_rest(page, model)
    if button := _button(page, "download"):
        offered = button.label
        button.click().run()
        _come_to_rest(page, model)
    error, _, hint = "".join(e.value for e in page.error).replace("\\", "").partition("\n\n")
    seen = {
        "offered": offered,
        "said": error,
        "hint": hint,
        "charts": len(page.get("vega_lite_chart")),
        "seconds": time.monotonic() - begun,
        "exceptions": [element.value for element in page.exception],
        "text": page.text_area(key="text").value,
    }
    page.selectbox(key="model").select(BUNDLED).run()
    return seen | {"back": len(page.get("vega_lite_chart"))}


def _come_to_rest(page, model):
    """Until nothing is asked of the Hub any more, as the page sees by looking again and again."""
    from attnviz.page.service import downloading

    download = downloading.known(model)
    if download is not None:  # it may have ended since the page looked
        download.wait(600)
        page.run()


def _button(page, key):
    return next((button for button in page.button if button.key == key), None)
