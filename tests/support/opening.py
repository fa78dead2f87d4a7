"""What the page does when it opens in a fresh process, and when it is opened again, as JSON.

    python -m tests.support.opening

Nothing is timed: what is counted is the same on every machine.
"""

import gc
import json
import sys
from collections import Counter

from altair.utils import schemapi
from streamlit.runtime.scriptrunner import ScriptRunContext
from streamlit.testing.v1 import AppTest

from tests.support.places import PAGE


class Watch:
    """What has been done so far: what was sent and imported, in order, and how often the rest."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.counts: Counter[str] = Counter()

    def begin(self) -> None:
        """Watch this process from now on."""
        sys.meta_path.insert(0, self)  # type: ignore[arg-type]
        gc.callbacks.append(lambda phase, _: self.counts.update({"searches": phase == "start"}))
        enqueue, check = ScriptRunContext.enqueue, schemapi.validate_jsonschema
        build = schemapi.SchemaBase.__init__

        def watched_enqueue(context, message):
            element = message.delta.new_element
            if kind := element.WhichOneof("type"):
                shown = getattr(element, kind)
                self.events.append(f"{kind} {getattr(shown, 'label', getattr(shown, 'body', ''))}")
            enqueue(context, message)

        def watched_building(part, *args, **options):
            self.counts["parts of charts built"] += 1
            build(part, *args, **options)

        def watched_check(part, *args, **options):
            is_chart = isinstance(part, dict) and bool({"layer", "hconcat"} & part.keys())
            self.counts["charts checked"] += is_chart
            return check(part, *args, **options)

        ScriptRunContext.enqueue = watched_enqueue  # type: ignore[method-assign]
        schemapi.SchemaBase.__init__ = watched_building  # type: ignore[method-assign]
        schemapi.validate_jsonschema = watched_check

    def find_spec(self, name, path=None, target=None):
        """Finds nothing, for others to find it."""
        self.events.append(f"import {name}")

    def watch_models(self) -> None:
        """From when torch is there: loads, traces, and every part of a model that computes."""
        from torch.nn.modules.module import register_module_forward_pre_hook

        from attnviz.capture import forward_pass
        from attnviz.models import loader

        def counted(what, call):
            def counting(*args, **options):
                self.counts[what] += 1
                return call(*args, **options)

            return counting

        forward_pass.observed = counted("traces", forward_pass.observed)
        loader.load = counted("loads", loader.load)
        register_module_forward_pre_hook(
            lambda *_: self.counts.update(["parts of models that computed"])
        )

    def opened(self) -> dict:
        """One visitor opens the page."""
        self.events.clear()
        self.counts.clear()
        page = AppTest.from_file(PAGE, default_timeout=300).run()
        assert not page.exception
        assert not page.error
        return {
            "events": list(self.events),
            "counts": dict(self.counts),
            "charts": len(page.get("vega_lite_chart")),
            "modules": sorted(sys.modules),
        }


if __name__ == "__main__":
    watch = Watch()
    watch.begin()
    first = watch.opened()
    watch.watch_models()
    print(json.dumps({"first": first, "again": watch.opened()}))
