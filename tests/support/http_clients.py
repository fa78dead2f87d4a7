"""A client of the library that huggingface_hub has, with nothing behind it, and what it raises."""

from attnviz.models.http_client import IS_REQUESTS, library


def response(status, headers=(), request=None):
    if not IS_REQUESTS:
        return library.Response(status, headers=dict(headers), request=request or request_for("x"))
    made = library.Response()
    made.status_code, made.request = status, request or request_for("x")
    made.headers.update(headers)
    return made


def request_for(path):
    if IS_REQUESTS:
        return library.Request("GET", f"https://hub/{path}").prepare()
    return library.Request("GET", f"https://hub/{path}")


def client(answer, sender):
    """A client that answers as a function of (request, seconds it may wait) does."""
    if not IS_REQUESTS:
        return library.Client(
            transport=library.MockTransport(
                lambda request: answer(request, request.extensions["timeout"]["read"])
            ),
            headers={"user-agent": sender},
            timeout=None,
        )

    class Adapter(library.adapters.BaseAdapter):
        def send(self, request, timeout=None, **given):
            made = answer(request, timeout)
            made.raw = type(
                "Raw", (), {"read": lambda *_: b"", "stream": lambda *_, **__: iter(())}
            )
            return made

        def close(self):
            pass

    session = library.Session()
    session.headers["user-agent"] = sender
    session.mount("https://", Adapter())
    return session


def failures(said):
    """What the library can raise, each saying this, and what becomes of it."""
    if not IS_REQUESTS:
        return [
            (library.ConnectTimeout(said), "unreachable"),
            (library.ProxyError(said), "unreachable"),
            (library.UnsupportedProtocol(said), "unreachable"),
            (library.ReadTimeout(said), "silent"),
            (library.ReadError(said), "broken"),
            (library.RemoteProtocolError(said), "broken"),
            (library.TooManyRedirects(said), None),
            (library.InvalidURL(said), None),
        ]
    from urllib3 import exceptions

    return [
        (library.ConnectTimeout(said), "unreachable"),
        (library.exceptions.ProxyError(said), "unreachable"),
        (library.ConnectionError(exceptions.MaxRetryError(None, said)), "unreachable"),
        (library.ReadTimeout(said), "silent"),
        (library.ConnectionError(exceptions.ReadTimeoutError(None, "x", said)), "silent"),
        (library.ConnectionError(exceptions.ProtocolError(said)), "broken"),
        (library.exceptions.ChunkedEncodingError(said), "broken"),
        (library.TooManyRedirects(said), None),
        (library.exceptions.InvalidURL(said), None),
    ]


def no_answer():
    return library.ReadTimeout("nothing")


def broken():
    return next(error for error, what in failures("broken") if what == "broken")


def not_connected():
    return failures("no")[0][0]
