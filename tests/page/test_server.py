"""What the server itself lets a stranger do: headers, other sites, uploads, files."""

import http.client
import json
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

pytestmark = pytest.mark.process

HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "streamlit",
}


@pytest.fixture
def address(server):
    return server.address


@pytest.fixture
def ask(address):
    """Send a request as it is written, without a client that tidies its path: the response."""

    def send(method, path, headers=None, body=None):
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        # A response that switches to a socket has no end to read to.
        response.text = "" if response.status == 101 else response.read().decode("utf-8", "replace")
        connection.close()
        return response

    return send


def test_a_response_has_the_headers_that_keep_it_safe(ask):
    page = ask("GET", "/")
    assert page.status == 200
    assert page.getheader("Access-Control-Allow-Origin") is None
    health = ask("GET", "/_stcore/health", {"Origin": "http://other.example"})
    assert health.status == 200
    assert health.getheader("Access-Control-Allow-Origin") is None
    cookie = health.getheader("Set-Cookie")
    assert cookie.startswith("_streamlit_xsrf=")
    assert "SameSite=Lax" in cookie


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 101),
        ("its own", 101),
        ("http://other.example", 403),
        ("http://127.0.0.1.other.example", 403),
        ("null", 403),
    ],
)
def test_only_the_page_itself_opens_its_web_socket(ask, address, origin, status):
    origin = address.rstrip("/") if origin == "its own" else origin
    headers = HANDSHAKE | ({"Origin": origin} if origin else {})
    assert ask("GET", "/_stcore/stream", headers).status == status


@contextmanager
def visiting(address, query=""):
    """The first message of a session that opens the page at a link, while it lasts."""
    url = address.replace("http", "ws", 1) + "_stcore/stream"
    # What is not read below must not stand in the way of the server's farewell.
    with connect(url, subprotocols=["streamlit"], max_size=None, max_queue=None) as socket:
        rerun = BackMsg()
        rerun.rerun_script.query_string = query
        socket.send(rerun.SerializeToString())
        while True:
            message = ForwardMsg.FromString(socket.recv(timeout=60))
            if message.WhichOneof("type") == "new_session":
                yield message.new_session
                return


@pytest.fixture
def session(address):
    """The name of a visitor's session, while it lasts."""
    with visiting(address) as opened:
        yield opened.initialize.session_id


def upload(ask, headers, size, session="nobody"):
    body = (
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
        + b"a" * size
        + b"\r\n--x--\r\n"
    )
    given = {"Content-Type": "multipart/form-data; boundary=x"} | headers
    return ask("PUT", f"/_stcore/upload_file/{session}/nothing", given, body)


def test_a_visitor_alone_uploads_and_no_more_than_a_head_takes(ask, session):
    assert upload(ask, {}, 1).status == 403
    cookie = ask("GET", "/_stcore/health").getheader("Set-Cookie").split(";")[0]
    token = cookie.partition("=")[2]
    assert upload(ask, {"Cookie": cookie, "X-Xsrftoken": "2|" + token[2:10]}, 1).status == 403
    # With a token of one's own there is still no session of that name.
    allowed = {"Cookie": cookie, "X-Xsrftoken": token}
    assert upload(ask, allowed, 1).status == 400
    # A visitor's own session takes a file, and keeps the last of many.
    assert upload(ask, {}, 1, session).status == 403
    for size in (1, 100_000, 100_000):
        assert upload(ask, allowed, size, session).status == 204
    assert upload(ask, allowed, 9 * 2**20, session).status == 413
    assert ask("DELETE", "/_stcore/upload_file/nobody/nothing").status == 403
    assert ask("POST", "/_stcore/upload_file/nobody/nothing").status in (404, 405)


OUTSIDE = (
    "{}/../../../../../../etc/passwd",
    "{}/..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "{}/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "{}/..%5c..%5cetc%5cpasswd",
    "{}//etc/passwd",
    "{}/%00/etc/passwd",
    "{}/C:%5cwindows",
)


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("route", ["/media", "/component/nothing", "/static", "/app/static", ""])
def test_no_file_outside_is_served(ask, route, path):
    answer = ask("GET", path.format(route))
    assert "root:" not in answer.text
    if route in ("/media", "/component/nothing"):
        assert answer.status in (400, 404)
    elif answer.status == 200:  # any other path is the page
        assert answer.text.startswith("<!")


@pytest.mark.parametrize(
    "path",
    ["/app/static/config.toml", "/.streamlit/config.toml", "/streamlit_app.py", "/.git/HEAD"],
)
def test_no_file_of_the_page_is_served(ask, path):
    answer = ask("GET", path)
    assert answer.status in (403, 404) or answer.text.startswith("<!")  # the page, as at any path
    assert "gatherUsageStats" not in answer.text
    assert "import" not in answer.text.split("<script")[0]


def test_a_message_larger_than_any_text_ends_the_connection(address):
    with visiting(address, "text=" + "a" * 1_000_000) as opened:
        assert opened.initialize.session_id
    with pytest.raises(ConnectionClosed), visiting(address, "text=" + "a" * 20_000_000):
        pass


def test_the_page_is_not_driven_by_programs(ask):
    answer = ask("POST", "/_stcore/agent/interact", {"Content-Type": "application/json"}, "{}")
    assert answer.status in (403, 404, 405, 501), answer.text


def test_the_host_configuration_lets_no_other_site_command_the_page(ask):
    allowed = json.loads(ask("GET", "/_stcore/host-config").text)
    assert not allowed.get("useExternalAuthToken")
    assert "*" not in allowed["allowedOrigins"]
