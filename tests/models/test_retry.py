"""How long the Hub is waited for, with a client that nothing stands behind."""

from contextlib import ExitStack, suppress

import pytest
from huggingface_hub.errors import HfHubHTTPError

from attnviz.models import http_client, retry
from tests.support import http_clients
from tests.support.http_clients import no_answer, response


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves when someone sleeps, or says so."""

    class Clock:
        now = 100.0

        def sleep(self, seconds):
            self.now += seconds

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(retry, "time", clock)
    return clock


@pytest.fixture
def client():
    """A client that answers as a function does, limited as by two calls at once."""
    with ExitStack() as calls:

        def limited(answer, sender="attnviz/1"):
            made = http_clients.client(answer, sender)
            for _ in range(2):
                calls.enter_context(retry.limits(made))
            return made

        yield limited


def test_every_request_of_attnviz_has_a_timeout_and_no_other_is_touched(client):
    timeouts = []

    def answer(request, seconds):
        timeouts.append(seconds)
        return response(200, request=request)

    client(answer).get("https://hub/x")
    client(answer, "someone/else").get("https://hub/x")
    assert timeouts == [10, None]


@pytest.mark.skipif(http_client.IS_REQUESTS, reason="requests has no such hooks")
def test_a_client_is_limited_while_calls_are_under_way_and_left_with_what_others_added():
    client = http_client.library.Client(event_hooks={"request": [print]})

    def n_hooks():
        return [len(hooks) for hooks in client.event_hooks.values()]

    with ExitStack() as calls:
        calls.enter_context(retry.limits(client))
        with suppress(KeyError), retry.limits(client):
            assert n_hooks() == [3, 2]
            raise KeyError
        client.event_hooks["response"].append(print)
        assert n_hooks() == [2, 2]
    assert client.event_hooks == {"request": [print], "response": [print]}


def test_a_request_that_is_never_answered_is_not_made_again_and_again(clock, client):
    def answer(request, _):
        clock.now += 10
        raise no_answer()

    ours = client(answer)
    for _ in range(5):
        with pytest.raises(type(no_answer())):
            ours.get("https://hub/x")
    with pytest.raises(retry.Silent):
        ours.get("https://hub/x")


def test_silence_about_one_file_is_not_held_against_another(clock, client):
    def answer(request, _):
        clock.now += 100
        raise no_answer()

    ours = client(answer)
    for path in "abcabc":
        with pytest.raises(type(no_answer())):
            ours.get(f"https://hub/{path}")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "11"}, 11),
        ({"Retry-After": "10"}, None),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        ({"RateLimit": '"api";r=0;t=99'}, 99),
        ({"RateLimit": '"api";r=5;t=99'}, None),
        ({}, None),
    ],
)
def test_a_long_wait_is_said_and_a_short_one_left_to_be_waited(client, headers, seconds):
    def busy(request, _):
        return response(429, headers, request)

    ours = client(busy)
    if seconds is None:
        assert ours.get("https://hub/x").status_code == 429
    else:
        with pytest.raises(retry.AskedToWait) as asked:
            ours.get("https://hub/x")
        assert asked.value.seconds == seconds
    theirs = client(busy, "someone/else")
    assert theirs.get("https://hub/x").status_code == 429


def failing(*errors):
    left = list(errors)

    def call():
        if left:
            raise left.pop(0)
        return "well"

    return call


def refused(status, **headers):
    return HfHubHTTPError("no", response=response(status, headers))


def test_what_may_pass_is_tried_again_after_a_pause(clock):
    assert retry.patiently(failing(refused(500), refused(503), refused(502))) == "well"
    assert clock.now == 107
    broken = http_clients.broken(), RuntimeError("the client has been closed")
    assert retry.patiently(failing(*broken)) == "well"
    assert retry.patiently(failing(refused(429, **{"Retry-After": "9"}))) == "well"
    assert clock.now == 107 + 3 + 9


@pytest.mark.parametrize("error", [refused(404), http_clients.not_connected(), ValueError("no")])
def test_what_will_not_pass_is_not_tried_again(clock, error):
    with pytest.raises(type(error)):
        retry.patiently(failing(error))
    assert clock.now == 100


def test_a_lasting_failure_ends(clock):
    with pytest.raises(Exception, match="no"):
        retry.patiently(failing(*[refused(500) for _ in range(9)]))
    assert clock.now == 107


def test_a_call_made_anew_is_not_silent_because_one_long_ago_was():
    retry._asked.request, retry._asked.since = ("GET", "x"), -1e9
    retry.patiently(lambda: None)
    assert retry._asked.request is None


@pytest.mark.parametrize(("error", "what"), http_clients.failures("no"))
def test_a_failure_is_told_by_the_client_that_huggingface_hub_has(error, what):
    assert http_client.failure(error) == what
