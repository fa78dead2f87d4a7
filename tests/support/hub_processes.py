"""A Hub in one process and who loads from it in another: the tests themselves stay offline.

Run as a program it reads questions from its input, a line of JSON each, and answers each from a
thread of its own, as the page does for each visitor.
"""

import json
import os
import subprocess
import sys
import threading
import time
from urllib.request import Request, urlopen

from attnviz.models import retry
from tests.support.places import ROOT

_printing = threading.Lock()


class _Process:
    """A Python program of the tests; leaving its context ends it."""

    def __init__(self, program, *arguments, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"tests.support.{program}", *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | environment,
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.communicate()


class Hub(_Process):
    """`tests/support/hub.py`, serving a folder."""

    def __init__(self, root):
        super().__init__("hub", root)
        self.address = self.process.stdout.readline().strip()

    def control(self, model, **changes):
        body = json.dumps({"model": model} | changes).encode()
        urlopen(Request(f"{self.address}/control", data=body)).close()

    def requests(self, model):
        """What was asked about a model, in order: [{"method", "path", "range"}]."""
        with urlopen(f"{self.address}/log") as log:
            return [request for request in json.load(log) if f"/{model}/" in request["path"] + "/"]


def loading_from(address, home, impatience=10):
    """The environment in which the Hub is at an address and its cache in a folder."""
    seconds = str(10 // impatience)
    return {
        **{"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"},
        **{"HF_HUB_DOWNLOAD_TIMEOUT": seconds, "HF_HUB_ETAG_TIMEOUT": seconds},
        "PYTHONPATH": str(ROOT),
    }


class Loader(_Process):
    """A process that loads from the Hub at an address into the cache in a folder.

    What never answers is given up ten times as soon as attnviz does it, unless it is `patient`.
    """

    def __init__(self, address, home, patient=False, **environment):
        impatience = 1 if patient else 10
        environment |= loading_from(address, home, impatience)
        super().__init__("hub_processes", impatience, **environment)

    def ask(self, *questions):
        """The answers to questions asked at the same time: (what to call, a model, keywords).

        Each has what was `said` (the error, or what was loaded), its `value` where it is data,
        the `seconds` it took, and the `progress` of a download.
        """
        self.send(*questions)
        return self.receive(len(questions))

    def send(self, *questions):
        for number, (call, name, keywords) in enumerate(questions):
            question = {"number": number, "call": call, "name": name, "keywords": keywords}
            print(json.dumps(question), file=self.process.stdin, flush=True)

    def receive(self, n_answers):
        answers = [json.loads(self.process.stdout.readline()) for _ in range(n_answers)]
        return sorted(answers, key=lambda answer: answer["number"])

    def load(self, name, **keywords):
        """What a process says about loading a model."""
        return self.ask(("load", name, keywords))[0]["said"]


def _answer(question):
    import attnviz
    from attnviz.models import hub

    if question["call"] == "load":
        import attnviz.models.loader  # torch and transformers, which take seconds, once
    progress, value = [], None
    name, keywords = question["name"], question["keywords"]
    begun = time.monotonic()
    try:
        if question["call"] == "load":
            model, tokenizer = attnviz.load(name, **keywords)
            trace = attnviz.trace(model, tokenizer, "hello")
            said = f"LOADED {trace.model_name} {trace.revision} {trace.head(0, 0).is_exact}"
        elif question["call"] == "download":
            value = str(hub.download(name, on_progress=lambda *n: progress.append(n), **keywords))
            said = "DOWNLOADED"
        elif question["call"] == "look":
            value, said = vars(hub.look(name, **keywords)), "SEEN"
        elif question["call"] == "here":
            value, said = hub.here(name, **keywords) is not None, "LOOKED"
    except attnviz.AttnvizError as error:
        said = str(error)
    except Exception as error:
        said = f"NOT EXPECTED {error!r}"
    answer = {"number": question["number"], "said": said, "value": value, "progress": progress}
    line = json.dumps(answer | {"seconds": time.monotonic() - begun})
    with _printing:
        print(line, flush=True)


if __name__ == "__main__":
    retry.LONGEST_SILENCE /= int(sys.argv[1])
    for line in sys.stdin:
        threading.Thread(target=_answer, args=[json.loads(line)], daemon=True).start()
