"""Who comes in: a browser on this machine that asks for this dashboard, and the pages that it was shown here.

A page of another site that is open in the same browser reaches 127.0.0.1 too. NiceGUI by itself would take its
websocket, and, under a name that is made to point here (DNS rebinding), its every request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

NAMES: Final = ("127.0.0.1", "localhost")
POLICY_VIOLATION: Final = 1008  # RFC 6455, 7.4.1
# Nothing from elsewhere, and in nobody's frame, where a click on Stop or Start could be somebody else's doing.
HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'; form-action 'self'",
    ),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)


class Door:
    """An ASGI application around another, which is asked only by those who may."""

    def __init__(self, app: App, port: int) -> None:
        self.app = app
        self.hosts = frozenset(f"{name}:{port}" for name in NAMES)
        self.origins = frozenset(f"http://{host}" for host in self.hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        why_not = self.refusal(scope)
        if not why_not:
            await self.app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": why_not})
        else:
            await _refuse(send, why_not)

    def refusal(self, scope: Scope) -> str:
        """Why this request is not let in; empty if it is."""
        hosts, origins = _all(scope, b"host"), _all(scope, b"origin")
        if len(hosts) != 1 or hosts[0] not in self.hosts:
            return "foreign Host"
        if any(origin not in self.origins for origin in origins):
            return "foreign Origin"
        if scope["type"] == "websocket" and not origins:
            return "no Origin"  # every browser names one here
        return ""


def _all(scope: Scope, wanted: bytes) -> list[str]:
    return [value.decode("latin-1").lower() for name, value in scope["headers"] if name.lower() == wanted]


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *HEADERS]
        await send(message)

    return sent


async def _refuse(send: Send, why: str) -> None:
    body = f"rfprobe dashboard: refused ({why})\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
