"""A cached profile with fastapi-cache2, in memory, as its README does it: what is kept is the decoded value."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi_cache import FastAPICache
from fastapi_cache.backends.inmemory import InMemoryBackend
from fastapi_cache.decorator import cache

PROFILE: dict[str, Any] = json.loads(Path(os.environ["PROFILE"]).read_text("utf-8"))


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    FastAPICache.init(InMemoryBackend())
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/profile/{user_id}")
@cache(expire=600)
async def profile(user_id: str) -> dict[str, Any]:
    return PROFILE
