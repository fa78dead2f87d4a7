"""A visitor of the page without a browser, so that fifty of them fit into one process.

It speaks what Streamlit's own frontend speaks: protobuf messages over a WebSocket. Controls are
found by the name that they have in the page's address.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlencode

from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

from tests.support import showing
from tests.support.threads import in_another_thread

PATIENCE = 300.0  # seconds for one run of the page
N_RUNS_KEPT = 2  # how long the frontend keeps a large message that it may be told of by its hash


class PageFailed(Exception):
    """The page did not answer, or answered that its script cannot run."""


@dataclass
class Shown:
    """What one run of the page shows."""

    elements: list[Element]
    seconds: float  # from the visitor's request to the end of the run
    n_bytes: int  # received

    def get(self, kind: str) -> list:
        """As a test of Streamlit has it, so that what reads one reads the other."""
        found = (getattr(e, kind) for e in self.elements if e.WhichOneof("type") == kind)
        return [SimpleNamespace(proto=proto) for proto in found]

    @property
    def headings(self) -> list[str]:
        return [element.proto.body for element in self.get("heading")]

    @property
    def captions(self) -> list[str]:
        return [element.proto.body for element in self.get("markdown")]

    @property
    def errors(self) -> list[str]:
        """What the page says is wrong, and exceptions that it did not catch."""
        said = [e.proto for e in self.get("alert") if e.proto.format == Alert.ERROR]
        raised = [element.proto for element in self.get("exception")]
        return [alert.body for alert in said] + [f"{e.type}: {e.message}" for e in raised]

    @property
    def constants(self) -> dict:
        return showing.constants(self)


@dataclass
class _Control:
    id: str
    set_to: str | None  # by the page, in this run


@dataclass
class Visitor:
    """One session of the page."""

    socket: ClientConnection
    parameters: dict[str, str]
    page: str = ""  # Streamlit's number for it
    controls: dict[str, _Control] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)  # by the id of the control
    kept: dict[str, tuple[int, ForwardMsg]] = field(default_factory=dict)
    n_runs: int = 0

    async def choose(self, **choices: str) -> Shown:
        """Set controls, to what their lists say: `layer="3"`. Raises PageFailed."""
        for name, value in choices.items():
            if name not in self.controls:
                raise PageFailed(f"there is no control {name!r}, only {', '.join(self.controls)}")
            self.chosen[self.controls[name].id] = value
            self.parameters[name] = value
        return await self.run()

    async def run(self) -> Shown:
        """Let the page run, and wait until it has. Raises PageFailed."""
        asked = BackMsg()
        asked.rerun_script.query_string = urlencode(self.parameters)
        asked.rerun_script.page_script_hash = self.page
        asked.rerun_script.cached_message_hashes.extend(self.kept)
        for control, value in self.chosen.items():
            asked.rerun_script.widget_states.widgets.add(id=control, string_value=value)
        start = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE):
                await self.socket.send(asked.SerializeToString())
                elements, n_bytes = await self._answer()
        except TimeoutError:
            raise PageFailed(f"no answer in {PATIENCE:.0f} s") from None
        seconds = time.perf_counter() - start
        self.n_runs += 1
        self.kept = {
            name: (run, message)
            for name, (run, message) in self.kept.items()
            if self.n_runs - run < N_RUNS_KEPT
        }
        still_there = {control.id for control in self.controls.values()}
        self.chosen = {id: value for id, value in self.chosen.items() if id in still_there}
        for control in self.controls.values():
            if control.set_to is not None:
                self.chosen[control.id] = control.set_to
        return Shown(elements, seconds, n_bytes)

    async def _answer(self) -> tuple[list[Element], int]:
        """All elements of a run that came to its end, and how many bytes that took."""
        elements: dict[tuple[int, ...], Element] = {}
        n_bytes = 0
        while True:
            received = await self.socket.recv()
            n_bytes += len(received)
            message = ForwardMsg.FromString(received)
            kind = message.WhichOneof("type")
            if kind == "ref_hash":
                path = message.metadata.delta_path
                _, message = self.kept[message.ref_hash]
                kind = "delta"
            else:
                path = message.metadata.delta_path
            if message.metadata.cacheable:
                self.kept[message.hash] = (self.n_runs, message)
            if kind == "new_session":  # also where the page asked to be run again
                self.page = message.new_session.page_script_hash
                self.controls = {}
                elements = {}
            elif kind == "delta":
                self._place(elements, tuple(path), message.delta)
            elif kind == "page_info_changed":
                self.parameters = dict(
                    parse_qsl(message.page_info_changed.query_string, keep_blank_values=True)
                )
            elif kind == "session_event":
                failure = message.session_event.script_compilation_exception
                if failure.type:
                    raise PageFailed(f"{failure.type}: {failure.message}")
            elif (
                kind == "script_finished"
                and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN
            ):
                in_order = [elements[path] for path in sorted(elements)]
                return in_order, n_bytes

    def _place(self, elements: dict, path: tuple[int, ...], delta) -> None:
        if delta.HasField("add_block"):
            tabs = delta.add_block.tab_container
            if tabs.query_param_key:
                self.controls[tabs.query_param_key] = _Control(tabs.id, None)
        elif delta.HasField("new_element"):
            elements[path] = delta.new_element
            kind = delta.new_element.WhichOneof("type")
            if kind in ("selectbox", "text_area"):
                proto = getattr(delta.new_element, kind)
                value = proto.raw_value if kind == "selectbox" else proto.value
                self.controls[proto.query_param_key] = _Control(
                    proto.id, value if proto.set_value else None
                )


def connected(address: str, **more: Any) -> connect:
    """A connection to the page's server, which has not asked for anything yet."""
    return connect(
        f"{address.replace('http', 'ws', 1)}_stcore/stream",
        origin=address.rstrip("/"),
        subprotocols=["streamlit"],
        max_size=None,
        open_timeout=PATIENCE,
        ping_interval=None,
        **more,
    )


@asynccontextmanager
async def visiting(address: str, **parameters: str) -> AsyncIterator[tuple[Visitor, Shown]]:
    """A visitor who opens the page at a link, what they see first; they leave at the end."""
    async with connected(address) as socket:
        visitor = Visitor(socket, dict(parameters))
        yield visitor, await visitor.run()


def run(coroutine):
    """What a coroutine returns, in a thread of its own: a browser's tests have a loop in theirs."""
    return in_another_thread(asyncio.run, coroutine)
