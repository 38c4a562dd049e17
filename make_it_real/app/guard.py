"""Who may use the page: no other site through the reader's browser, nobody without the token."""

import re
import secrets
from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "mir_token"
LOOPBACK = re.compile(r"(localhost|127(\.\d+){3}|\[::1\])(:\d+)?", re.IGNORECASE)
# Nothing is loaded from elsewhere, and no other page frames this one.
HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Lets requests through to the page that its own reader sends, and adds ``HEADERS``.

    token: that each request has to show, as a cookie, in the address or as a bearer; None for none,
    where only names of this machine are answered, so that no other site can take them over.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        in_address = request.query_params.get("token", "")

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if self.token and self._right(in_address):
                    headers.append(
                        "set-cookie", f"{COOKIE}={self.token}; Path=/; HttpOnly; SameSite=Strict"
                    )
            await send(message)

        answer = self._refusal(request, in_address) or self.app
        await answer(scope, receive, guarded)

    def _refusal(self, request: Request, in_address: str) -> Response | None:
        """Say why a request is not answered; None if it is."""
        if self.token is None and not LOOPBACK.fullmatch(request.headers.get("host", "")):
            return _refused("this page answers to 127.0.0.1 and localhost only")
        # A link to the page is one; any other request in the name of another page is refused.
        link = request.method == "GET" and request.url.path == "/"
        if (
            request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
            and not link
        ):
            return _refused("this page answers no other site")
        if self.token is None:
            return None
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        shown = (request.cookies.get(COOKIE, ""), in_address, bearer)
        if any(map(self._right, shown)):
            return None
        return _refused("open the address that mir app has printed, with its token")

    def _right(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), (self.token or "").encode()) and bool(given)


def _refused(reason: str) -> Response:
    return JSONResponse({"error": reason}, 403)
