"""The server of the page: its address, and its end."""

import asyncio
import ipaddress
import os
import socket
from collections.abc import Callable
from types import FrameType
from urllib.parse import quote

import uvicorn
from starlette.types import ASGIApp

from make_it_real.app.turns import Turns
from make_it_real.errors import ServerError


def is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """Listen at an address; port 0 picks a free one. Raises ServerError."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, OverflowError) as error:
        raise _cannot(host, port, error) from error
    try:
        if os.name == "posix":
            # A port whose last server has just ended; on Windows it would be any other's.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise _cannot(host, port, error) from error
    return listening


def _cannot(host: str, port: int, error: Exception) -> ServerError:
    reason = getattr(error, "strerror", None) or error
    hint = "name another by --port, or 0 for a free one"
    return ServerError(f"can't listen at {host}, port {port}: {reason}; {hint}")


def address(listening: socket.socket, token: str | None) -> str:
    """Return the URL of the page. token: that it has to show."""
    host, port = listening.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = socket.gethostname()
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{port}/" + (f"?token={quote(token)}" if token else "")


class Server(uvicorn.Server):
    """Serves an application until Ctrl-C or SIGTERM, which end it at once."""

    def __init__(self, app: ASGIApp, turns: Turns, ready: Callable[[], None]) -> None:
        """turns: stopped at the end. ready: called once the page answers."""
        super().__init__(
            uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
        )
        self._turns, self._ready = turns, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        asyncio.get_running_loop().call_soon(self._ready)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Pages keep their connections, and would be waited for.
        self.should_exit = self.force_exit = True
        super().handle_exit(sig, frame)

    def serve_at(self, listening: socket.socket) -> None:
        """Serve at a socket. Raises KeyboardInterrupt once Ctrl-C has ended it."""
        try:
            self.run([listening])
        finally:
            self._turns.close()
