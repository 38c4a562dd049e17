"""The page and its requests: files by name, JSON in and out, errors as messages."""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from make_it_real._version import __version__
from make_it_real.app import damage, mixture, real, seeds
from make_it_real.app.fields import Fields
from make_it_real.app.guard import Guard
from make_it_real.app.models import Models
from make_it_real.app.turns import Turns
from make_it_real.errors import BusyError, MirError, RequestError

# Bytes of a request: a photograph of 60 MB in base64, three of them in a mixture of small ones.
MOST_BYTES = 80_000_000
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
PAGE = Path(__file__).parent / "page"
Work = Callable[[Models, Fields], dict[str, Any]]
WORKS: dict[str, Work] = {
    "real": real.make_real,
    "picture": real.shown,
    "seeds": seeds.make,
    "mix": mixture.mixed,
    "ends": mixture.ends,
    "animation": mixture.animated,
    "damage": damage.damaged,
}


@dataclass(frozen=True)
class Site:
    """The page of some models. turns: in which their work is done."""

    models: Models
    turns: Turns
    max_pixels: int

    def app(self, token: str | None = None) -> Guard:
        """Build the application to serve. token: that each request has to show, if any."""
        # Read once, so that no request ever names a file.
        pages = {path.name: path.read_bytes() for path in PAGE.iterdir() if path.suffix in TYPES}
        routes = [
            Route("/", partial(_file, pages, "index.html")),
            *(Route(f"/{name}", partial(_file, pages, name)) for name in pages),
            Route("/api/about", self.about),
            *(
                Route(f"/api/{name}", partial(self.answer, work), methods=["POST"])
                for name, work in WORKS.items()
            ),
        ]
        return Guard(Starlette(routes=routes), token)

    async def about(self, request: Request) -> Response:
        """Answer what the page offers."""
        return JSONResponse({
            "version": __version__, "models": self.models.about(), "default": self.models.default,
            "device": str(self.models.device), "dtype": self.models.dtype, "damage": damage.about(),
            "most_seeds": seeds.MOST_SEEDS, "most_steps": real.MOST_STEPS,
        })  # fmt: skip

    async def answer(self, work: Work, request: Request) -> Response:
        """Do the work of a request in its turn; stop it where the page has gone meanwhile."""
        try:
            fields = Fields(await _json(request), self.max_pixels)
            doing = asyncio.ensure_future(self.turns.do(partial(work, self.models, fields)))
            gone = asyncio.ensure_future(_gone(request))
            try:
                await asyncio.wait((doing, gone), return_when=asyncio.FIRST_COMPLETED)
                if doing.done():
                    return JSONResponse(doing.result())
                return Response(status_code=499)
            finally:
                doing.cancel()
                gone.cancel()
        except (ClientDisconnect, asyncio.CancelledError):
            # The page has gone, or the server ends.
            return Response(status_code=499)
        except BusyError as error:
            return JSONResponse({"error": str(error)}, 503, {"retry-after": "2"})
        except MirError as error:
            return JSONResponse({"error": str(error)}, 400)
        except Exception as error:
            logging.getLogger(__name__).exception("a request failed")
            return JSONResponse({"error": f"{type(error).__name__} at the server"}, 500)


async def _file(pages: dict[str, bytes], name: str, request: Request) -> Response:
    return Response(pages[name], media_type=TYPES[Path(name).suffix])


async def _json(request: Request) -> Any:
    """Read a request's JSON. Raises RequestError."""
    # A form of another site can send neither this type nor a header that says so.
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise RequestError("a request is application/json")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise RequestError(f"more than {MOST_BYTES // 1_000_000} MB at once")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("no JSON") from error


async def _gone(request: Request) -> None:
    """Wait until the one who asked has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
