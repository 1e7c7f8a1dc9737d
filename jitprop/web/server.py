"""The page behind an address: who may ask, what is asked, and answers in JSON.

A request must name this server as its Host, come from no other Origin, and carry the token of the
address as the first part of its path. Anything else is answered in one line of JSON.
"""

import asyncio
import io
import ipaddress
import json
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from jitprop.web import answers
from jitprop.web.room import NotReadyError, Room
from jitprop.web.wire import as_json

STATIC = Path(__file__).parent / "static"
WORKERS = 4  # requests that are answered at the same time
JSON = "application/json"
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Door:
    """Lets those in who have the token and come from the page itself.

    Parameters
    ----------
    app : ASGI application
        What is behind it.
    room : Room
    host, port : str, int
        Where the server listens.
    """

    def __init__(self, app: ASGIApp, room: Room, host: str, port: int) -> None:
        self._app, self._room, self._port = app, room, port
        self._names = {"127.0.0.1", "localhost", "::1", host.lower()}
        self._any_address = _is_address(host) and not ipaddress.ip_address(host).is_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""
        if scope["type"] != "http":
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        why = self._why_not(scope, headers)
        if why:
            await _refusal(403, why)(scope, receive, send)
            return
        path = scope["path"].partition(self._room.token)[2]
        if not path:  # names in the page stand beside this
            await RedirectResponse(f"/{self._room.token}/", headers=HEADERS)(scope, receive, send)
            return
        await self._app({**scope, "path": path, "root_path": "", "raw_path": b""}, receive, send)

    def _why_not(self, scope: Scope, headers: dict[bytes, str]) -> str:
        host = headers.get(b"host", "")
        if not self._is_own(host):
            return "this page answers under its own address only"
        origin = headers.get(b"origin")
        if origin is not None and origin != f"http://{host}":
            return "this page answers to no other page"
        first = scope["path"].removeprefix("/").partition("/")[0]
        if not secrets.compare_digest(first.encode(), self._room.token.encode()):
            return "the token is missing: open the address that `jitprop serve` printed"
        return ""

    def _is_own(self, host: str) -> bool:
        name, colon, port = host.rpartition(":")
        if not colon or port != str(self._port):
            return False
        name = name.lower().removeprefix("[").removesuffix("]")
        return name in self._names or (self._any_address and _is_address(name))


def application(room: Room, host: str, port: int) -> Any:
    """Return the ASGI application of the page."""
    pool = ThreadPoolExecutor(WORKERS, "jitprop-page")

    def route(path: str, answer: Callable[..., Any], takes: str) -> Route:
        async def endpoint(request: Request) -> Response:
            arguments = dict(request.path_params)
            if takes == "json":
                arguments["asked"] = _as_object(await _body(request, answers.MOST_JSON))
            elif takes:
                arguments["asked"] = await _body(request, answers.MOST_PICTURE)

            def work() -> Response:
                with _made_clear():
                    room.wait()
                    start = perf_counter()
                    content = as_json(answer(room, **arguments))
                    took = {"Server-Timing": f"answer;dur={1e3 * (perf_counter() - start):.2f}"}
                    return Response(content, headers=HEADERS | took, media_type=JSON)

            return await asyncio.get_running_loop().run_in_executor(pool, work)

        return Route(f"/api/{path}", endpoint, methods=["POST" if takes else "GET"])

    routes = [route(path, *how) for path, how in answers.ROUTES.items()]
    routes += [Route("/{name:path}", _static, methods=["GET"])]
    app = Starlette(
        routes=routes,
        exception_handlers={HTTPException: _failed, Exception: _failed, ClientDisconnect: _failed},
    )
    return Door(app, room, host, port)


class Server:
    """A server that listens from now on, and answers once it is started.

    Parameters
    ----------
    room : Room
    host : str
        The address to listen on.
    port : int
        0 for any that is free.

    Attributes
    ----------
    address : str
        Of the page.

    Raises
    ------
    OSError
        It cannot listen there.
    """

    def __init__(self, room: Room, host: str = "127.0.0.1", port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
            self._socket.listen(128)
        except OSError:
            self._socket.close()
            raise
        bound, self.port = self._socket.getsockname()[:2]
        if bound in ("0.0.0.0", "::"):
            host = bound  # which has other spellings, too, such as 0
        shown = _reachable(host)
        self.address = f"http://{f'[{shown}]' if ':' in shown else shown}:{self.port}/{room.token}/"
        config = uvicorn.Config(
            application(room, host, self.port),
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        sockets = {"sockets": [self._socket]}
        self._thread = threading.Thread(target=self._server.run, kwargs=sockets, daemon=True)

    def start(self) -> None:
        """Answer, in a thread."""
        self._thread.start()

    def wait(self) -> None:
        """Return when it has ended."""
        self._thread.join()

    def stop(self) -> None:
        """End, and wait for that."""
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()


async def _body(request: Request, most: int) -> bytes:
    parts = io.BytesIO()
    async for part in request.stream():
        parts.write(part)
        if parts.tell() > most:
            raise HTTPException(413, f"that is too large: at most {most} bytes")
    return parts.getvalue()


def _as_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise HTTPException(400, "expected an object in JSON")
    return value


@contextmanager
def _made_clear() -> Iterator[None]:
    """Answer a person's mistake with its message."""
    try:
        yield
    except NotReadyError as error:
        raise HTTPException(503, str(error)) from None
    except MemoryError:
        raise HTTPException(503, "there is not enough memory for that") from None
    except (ValueError, TypeError) as error:
        raise HTTPException(getattr(error, "status", 400), str(error)) from None


async def _static(request: Request) -> Response:
    name = request.path_params["name"] or "index.html"
    if name not in _names():
        raise HTTPException(404, "there is nothing of that name")
    return FileResponse(STATIC / name, headers=HEADERS)


def _names() -> set[str]:
    return {path.name for path in STATIC.iterdir() if path.is_file()}


def _failed(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return _refusal(error.status_code, error.detail)
    return _refusal(500, f"the page's server made a mistake ({type(error).__name__})")


def _refusal(status: int, message: str) -> Response:
    return JSONResponse({"error": " ".join(message.split())}, status, HEADERS)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _reachable(host: str) -> str:
    """Return an address under which another device finds this one, if it listens on all."""
    if host not in ("0.0.0.0", "::"):
        return host
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it asks for the way only
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"
