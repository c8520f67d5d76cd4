"""A bank's scorer over HTTP: FastAPI for the work, uvicorn for the network. Taught in chapter 14.

Who may call: whoever knows the token. What is accepted: at most so many bytes, at most so many
rows, each with exactly the model's features by name and finite numbers. What is logged: counts and
scores of alerts, never a row. TLS belongs in front of it, or into uvicorn's own options.
"""

import hmac
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi import Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedlab_utils.errors import FedlabError
from fedlab_utils.serving.registry import Released, describe
from fedlab_utils.serving.stream import StreamScorer

log = logging.getLogger("fedlab.serve")
MIN_TOKEN = 16
_PATIENCE = 20  # times the limit that is read and dropped before the connection is cut


@dataclass(frozen=True)
class Limits:
    """What a caller may ask for.

    Attributes:
        rows: in a request.
        bytes: of a request's body.
        at_once: requests that are answered at the same time; others get 503 from uvicorn.
    """

    rows: int = 1000
    bytes: int = 1_000_000
    at_once: int = 16


class TooLarge:
    """Refuses a body above a limit before anything reads it (ASGI middleware)."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body, size, more = b"", 0, True
        while more:
            message = await receive()
            part, more = message.get("body", b""), message.get("more_body", False)
            size += len(part)
            if size <= self.limit:
                body += part
            elif size > _PATIENCE * self.limit:
                break
        if size > self.limit:
            # Read to the end and dropped: whoever is cut off while sending never sees the answer.
            await _refuse(send, self.limit)
            return
        first = True

        async def again() -> Message:
            nonlocal first
            if first:
                first = False
                return {"type": "http.request", "body": body, "more_body": False}
            return await receive()

        await self.app(scope, again, send)


async def _refuse(send: Send, limit: int) -> None:
    text = f'{{"detail":"the body is larger than {limit} bytes"}}'.encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def make_app(
    stream: StreamScorer,
    released: Released,
    token: str,
    limits: Limits | None = None,
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """The service of one bank.

        GET  /health   is it there?                         (no token)
        GET  /model    name, version, features, threshold, who signed it
        GET  /state    rows, alarms, alerts so far; the last verdict on drift
        POST /score    {"features": [...], "rows": [[...]], "ids": [...]} -> scores and alerts

    Args:
        stream: the scorer at work.
        released: what the registry said of the model.
        token: callers send it as `Authorization: Bearer TOKEN`; at least 16 characters.
        limits: what a caller may ask for.
        clock: the time for the alert budget, in seconds.

    Raises FedlabError for a token that can be guessed. Taught in chapter 14.
    """
    if len(token) < MIN_TOKEN:
        raise FedlabError(f"the token must have at least {MIN_TOKEN} characters.")
    allowed = limits or Limits()
    names = list(stream.scorer.card.features)
    lock = threading.Lock()  # requests run in several threads, the stream's counters in one
    last: dict[str, Any] = {"verdict": None, "now": -float("inf")}

    Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
    Row = Annotated[list[Number], Field(min_length=len(names), max_length=len(names))]

    class Request(BaseModel):
        """What /score takes."""

        model_config = ConfigDict(extra="forbid")
        features: Annotated[list[str], Field(max_length=len(names))]
        rows: Annotated[list[Row], Field(min_length=1, max_length=allowed.rows)]
        ids: list[Annotated[str, Field(max_length=100)]] | None = None

    def authorised(authorization: Annotated[str, Header()] = "") -> None:
        given = authorization.removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise HTTPException(401, "wrong token", {"WWW-Authenticate": "Bearer"})

    app = FastAPI(title="fedlab scorer", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TooLarge, limit=allowed.bytes)

    @app.exception_handler(RequestValidationError)
    def explain(_: HttpRequest, error: RequestValidationError) -> JSONResponse:
        # FastAPI's own answer repeats the rows, and fails where they hold NaN.
        places = [(".".join(map(str, e["loc"])), e["msg"]) for e in error.errors()[:3]]
        return JSONResponse({"detail": [f"{place}: {text}" for place, text in places]}, 422)

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/model", dependencies=[Depends(authorised)])
    def model() -> dict[str, Any]:
        return {**describe(released), "features": names, "threshold": stream.threshold}

    @app.get("/state", dependencies=[Depends(authorised)])
    def state() -> dict[str, Any]:
        with lock:
            budget = stream.budget
            return {
                "rows": stream.rows,
                "alarms": stream.alarms,
                "alerts": stream.sent,
                "waiting": budget.waiting if budget else 0,
                "dropped": budget.dropped if budget else 0,
                "drift": last["verdict"],
            }

    @app.post("/score", dependencies=[Depends(authorised)])
    def score(request: Request) -> dict[str, Any]:
        if request.features != names:
            raise HTTPException(422, f"features must be {names}, in this order")
        if request.ids is not None and len(request.ids) != len(request.rows):
            raise HTTPException(422, "ids must be as many as rows")
        with lock:
            last["now"] = max(last["now"], clock())  # a clock may be set back
            batch = stream.feed(np.array(request.rows), last["now"], request.ids)
            for verdict in batch.verdicts:
                last["verdict"] = {**asdict(verdict), "drifted": verdict.drifted}
                if verdict.drifted:
                    log.warning("drift: psi %.3f after %d rows", verdict.psi, verdict.rows)
        for alert in batch.alerts:
            log.info("alert: id %s, score %.4g", alert.id, alert.score)
        return {
            "model": f"{released.name} {released.version}",
            "threshold": stream.threshold,
            "scores": batch.scores.tolist(),
            "above": batch.above.tolist(),
            "alerts": [asdict(alert) for alert in batch.alerts],
        }

    return app
