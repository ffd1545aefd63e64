"""A cached profile with Starlette and cashews, in memory: what is kept is the finished body, cashews' fastest way."""

import os
from pathlib import Path

import msgspec
from cashews import cache
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PROFILE: object = msgspec.json.decode(Path(os.environ["PROFILE"]).read_bytes())
cache.setup("mem://")


@cache(ttl="10m", key="profile:{user_id}")
async def profile_of(user_id: str) -> bytes:
    return msgspec.json.encode(PROFILE)


async def profile(request: Request) -> Response:
    return Response(await profile_of(request.path_params["user_id"]), media_type="application/json")


app = Starlette(routes=[Route("/profile/{user_id}", profile)])
