"""A mirror on this machine, and the ways in which it misbehaves."""

import itertools
import socket
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HTML = b"<!DOCTYPE html><title>Moved</title>"


def answer(body, status=200, **headers):
    """Sends `body`; a header that is None is left out."""

    def respond(request):
        request.send_response(status)
        for name, value in ({"Content_Length": len(body)} | headers).items():
            if value is not None:
                request.send_header(name.replace("_", "-"), str(value))
        request.end_headers()
        request.wfile.write(body)

    return respond


def endless(status=200, **headers):
    """Sends bytes for as long as somebody takes them."""

    def respond(request):
        answer(b"", status, **({"Content_Length": None} | headers))(request)
        with suppress(ConnectionError):
            while not request.server.released.is_set():
                request.wfile.write(bytes(1 << 16))

    return respond


def dripping(body, seconds, size=1, **headers):
    """Sends a piece now and then: each one in time, the whole of it late or never."""

    def respond(request):
        answer(b"", **({"Content_Length": None} | headers))(request)
        with suppress(ConnectionError):
            for first in range(0, len(body), size):
                request.wfile.write(body[first : first + size])
                if request.server.released.wait(seconds):
                    return

    return respond


def silent(request):
    """Takes the question and never answers."""
    request.server.released.wait()


def never_ending_header(request):
    """Sends a line of the header a byte now and then."""
    with suppress(ConnectionError):
        for byte in itertools.chain(b"HTTP/1.1 200 OK\r\nA: ", itertools.repeat(ord("a"))):
            request.wfile.write(bytes([byte]))
            if request.server.released.wait(0.05):
                return


def never_ending_chunk(request):
    """Begins a chunk whose size is followed by a comment without end."""
    with suppress(ConnectionError):
        answer(b"1", Content_Length=None, Transfer_Encoding="chunked")(request)
        while not request.server.released.wait(0.05):
            request.wfile.write(b";")


def redirect(to, **headers):
    """Sends whoever asks elsewhere."""
    return answer(b"", 302, Location=to, **headers)


def no_http(request):
    """Speaks another language."""
    request.wfile.write(b"220 ready when you are\r\n")


class Mirror(ThreadingHTTPServer):
    """Gives one answer after the other, the last of them for ever.

    Attributes:
        url: what to put among the mirrors.
        asked: the paths that were asked for.
        credentials: the `Authorization` that came with each.
        sent: the bytes that were taken from it.
        seconds_taken: for how long it was listened to, in all.
        faults: its own, if any, which are no misbehaviour that was asked for.
    """

    daemon_threads = True

    def __init__(self, *answers, tls=None):
        super().__init__(("127.0.0.1", 0), _Handler)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.answers = itertools.chain(answers, itertools.repeat(answers[-1]))
        self.asked, self.credentials, self.sent, self.seconds_taken = [], [], 0, 0.0
        self.faults = []
        self.released = threading.Event()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_port}/data/"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}).start()

    def handle_error(self, *_):
        """Says nothing where a client hung up, which is what these drills are about."""
        error = sys.exception()
        if not isinstance(error, OSError):
            self.faults.append(error)

    def stop(self):
        """Ends it, whatever it is waiting for."""
        self.released.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    def setup(self):
        super().setup()
        # Small, so that what was sent is about what was taken.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        self.wfile = _Counting(self.wfile, self.server)

    def do_GET(self):
        self.server.asked.append(self.path)
        self.server.credentials.append(self.headers.get("Authorization"))
        start = time.monotonic()
        next(self.server.answers)(self)
        self.server.seconds_taken += time.monotonic() - start

    def log_message(self, *_):
        """Says nothing."""


class _Counting:
    def __init__(self, file, server):
        self.file, self.server = file, server

    def write(self, content):
        written = self.file.write(content)
        self.server.sent += len(content)
        return written

    def __getattr__(self, name):
        return getattr(self.file, name)
