"""Who loads from a Hub: this process, as if it had been started for that, or one of its own.

Run as a program it reads questions from its input, a line of JSON each, and answers each from a
thread of its own, as the page does for each visitor.
"""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, nullcontext
from unittest.mock import patch

import huggingface_hub.utils
from huggingface_hub import constants, file_download

from attnviz.models import retry
from attnviz.models.http_client import IS_REQUESTS
from tests.support.places import ROOT

_printing = threading.Lock()
_close = "reset_sessions" if IS_REQUESTS else "close_session"
close_session = getattr(huggingface_hub.utils, _close)


def loading_from(address, home):
    """The environment in which the Hub is at an address and its cache in a folder."""
    hub = {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}
    return hub | {"PYTHONPATH": str(ROOT)}


@contextmanager
def hub_at(address, home, token=None):
    """This process as `loading_from` would start it; afterwards it is as it was."""
    as_started = {
        "ENDPOINT": address,
        "HUGGINGFACE_CO_URL_TEMPLATE": address + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_HUB_OFFLINE": False,
    }
    # Older versions have some of it twice.
    copied = {name: as_started[name] for name in as_started if name in vars(file_download)}
    close_session()
    with (
        patch.multiple(constants, **as_started),
        patch.multiple(file_download, **copied) if copied else nullcontext(),
        patch.dict(os.environ, {} if token is None else {"HF_TOKEN": token}),
    ):
        yield
    close_session()


@contextmanager
def impatient(timeout, silence):
    """This process waits so many seconds for an answer, and for one that is asked for again."""
    soon = {"HF_HUB_DOWNLOAD_TIMEOUT": timeout, "HF_HUB_ETAG_TIMEOUT": timeout}
    with patch.multiple(constants, **soon), patch.object(retry, "LONGEST_SILENCE", silence):
        yield


@contextmanager
def hurrying(times=20):
    """This process makes so much shorter pauses."""
    sleep = time.sleep
    with patch.object(time, "sleep", lambda seconds: sleep(seconds / times)):
        yield


class Downloader:
    """A process that downloads from the Hub at an address into the cache in a folder.

    Leaving its context kills it.
    """

    def __init__(self, address, home):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.hub_processes"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | loading_from(address, home),
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.communicate()

    def begin(self, *names):
        """Begin to download these models, all at once."""
        for name in names:
            print(name, file=self.process.stdin, flush=True)

    def said(self):
        """What the next one that came to its end says: where its model is, or why it is not."""
        return self.process.stdout.readline().strip()


def _download(name):
    from attnviz.models import hub
    from attnviz.text.errors import AttnvizError

    try:
        said = str(hub.download(name, on_progress=lambda *_: None))
    except AttnvizError as error:
        said = json.dumps(str(error))
    with _printing:
        print(said, flush=True)


if __name__ == "__main__":
    for line in sys.stdin:
        threading.Thread(target=_download, args=[line.strip()], daemon=True).start()
