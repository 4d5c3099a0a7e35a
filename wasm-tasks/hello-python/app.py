"""A task in Python: answers every request with its path and a checksum of it.

The modules `wit_world` and `componentize_py_types` are generated from ../wit when the
component is built. Each request gets an instance of its own, so module state is never shared.
"""

from urllib.parse import urlsplit

from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports.types import (
    Fields,
    IncomingRequest,
    Method,
    Method_Other,
    OutgoingBody,
    OutgoingResponse,
    ResponseOutparam,
)

ROUNDS = 1000


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        path = urlsplit(request.path_with_query() or "/").path
        print(f"hello-python: {name(request.method())} {path}", flush=True)
        body = f"Hello from Python!\npath: {path}\nchecksum: {checksum(path)}\n"
        respond(response_out, body.encode())


def name(method: Method) -> str:
    if isinstance(method, Method_Other):
        return method.value
    # The cases of the variant are classes: Method_Get, Method_Post and so on.
    return type(method).__name__.removeprefix("Method_").upper()


def respond(response_out: ResponseOutparam, text: bytes) -> None:
    headers = Fields.from_list([("content-type", b"text/plain; charset=utf-8")])
    response = OutgoingResponse(headers)
    body = response.body()
    ResponseOutparam.set(response_out, Ok(response))
    # A stream takes 4096 bytes in one blocking write, and is a child of its body.
    with body.write() as stream:
        for start in range(0, len(text), 4096):
            stream.blocking_write_and_flush(text[start : start + 4096])
    OutgoingBody.finish(body, None)


def checksum(text: str) -> int:
    """FNV-1a, 32 bits, over the text a thousand times: something to compute."""
    value = 0x811C9DC5
    for _ in range(ROUNDS):
        for byte in text.encode():
            value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value
