"""What lies between Claude Code and the gateway: it passes everything on, notes every request and its usage, and lets nothing out of this machine."""

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# Headers that belong to one connection.
HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}
LIMIT_S = 30


class Wire:
    """A listener on loopback; leaving the context ends it."""

    def __init__(self, gateway):
        self.gateway = urlsplit(gateway)
        # Every request in order of its end: method, path, status, generation, usage, error.
        self.passed = []
        # Requests for somewhere else, which were refused.
        self.outside = []
        self.lock = threading.Lock()

    def __enter__(self):
        wire = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except (ConnectionError, http.client.HTTPException) as error:
                    self.close_connection = True
                    wire.note(method=self.command, path=self.path, status=None, generation=None, usage=None, error=f"{type(error).__name__}: {error}")

            def log_message(self, *_):
                pass

            def pass_on(self):
                # A client of a proxy names the whole address.
                if self.path.startswith("/"):
                    wire.pass_on(self)
                else:
                    self.do_CONNECT()

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = pass_on

            def do_CONNECT(self):
                with wire.lock:
                    wire.outside.append(f"{self.command} {self.path}")
                self.send_error(403)
                self.close_connection = True

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def note(self, **request):
        with self.lock:
            self.passed.append(request)

    def pass_on(self, handler):
        """One request and its answer, byte for byte, as the bytes come."""
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in HOP}
        # What is noted must be readable.
        headers["accept-encoding"] = "identity"
        upstream = http.client.HTTPConnection(self.gateway.hostname, self.gateway.port, timeout=LIMIT_S)
        try:
            upstream.request(handler.command, handler.path, body=body, headers=headers)
            answer = upstream.getresponse()
            handler.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP:
                    handler.send_header(name, value)
            handler.send_header("connection", "close")
            handler.end_headers()
            handler.close_connection = True
            seen = b""
            while piece := answer.read1(65_536):
                seen += piece
                handler.wfile.write(piece)
                handler.wfile.flush()
        finally:
            upstream.close()
        usage, error = told(seen, answer.getheader("content-type") or "", answer.status)
        generation = answer.getheader("x-generation-id")
        self.note(method=handler.command, path=urlsplit(handler.path).path, status=answer.status, generation=generation, usage=usage, error=error)


def told(body, kind, status):
    """The usage that a message states, with its cost, and the error if it was one."""
    if status != 200:
        return None, body.decode(errors="replace")
    if kind.startswith("text/event-stream"):
        events = [json.loads(line.removeprefix("data:")) for line in body.decode().splitlines() if line.startswith("data:")]
    else:
        events = [json.loads(body)] if body else []
    usage, error = {}, None
    for event in events:
        # Later counts stand; those that are not repeated stay.
        stated = (event.get("message") or event).get("usage") or {}
        usage |= {name: value for name, value in stated.items() if value is not None}
        error = json.dumps(event) if event.get("type") == "error" else error
    return usage or None, error
