"""The 22 strategies: how long each kind of answer is fresh, and which service gives it. There is no second table.

A route names its strategy where it stands (`cached(...)` in `kit/cached_routes.py`), with its audience, its parameters and
the tags that its answers may have. `web` is no service of the topology: it renders pages.
"""

from typing import Final

from townsquare.cache.strategies import Strategy

MINUTE: Final = 60.0
HOUR: Final = 3600.0


def _kinds(grace: float = HOUR, **lifetimes: float) -> list[Strategy]:
    return [Strategy(name, lifetime, grace) for name, lifetime in lifetimes.items()]


BY_SERVICE: Final[dict[str, list[Strategy]]] = {
    "users": [
        *_kinds(USER_PROFILE=600, USER_SKILLS=600, SKILLS=1800, FOLLOWERS=300, SEARCH_RESULTS=300),
    ],
    "content": [
        *_kinds(POST_FEED=120, POST_DETAILS=300, USER_POSTS=300, COMMENTS=180, TRENDING=600),
    ],
    "media": _kinds(MEDIA_DETAILS=900, VIDEOS=600),
    "shop": [
        *_kinds(PRODUCTS=600, PRODUCT_DETAILS=900, PRODUCT_REVIEWS=300),
        *_kinds(MINUTE, ORDER_DETAILS=300),
    ],
    "collaboration": _kinds(WIKI_PAGES=1800, DOCUMENTS=300, PROJECTS=300),
    "messages": _kinds(MINUTE, NOTIFICATIONS=60, CONVERSATIONS=60),
    "web": _kinds(PAGES=600),
}
"""Lifetimes in seconds. The grace, in which an answer may be served while the origin fails, is an hour for what is public
anyway, and a minute for what is personal."""

STRATEGIES: Final[dict[str, Strategy]] = {
    strategy.name: strategy for strategies in BY_SERVICE.values() for strategy in strategies
}

USER_PROFILE: Final = STRATEGIES["USER_PROFILE"]
USER_SKILLS: Final = STRATEGIES["USER_SKILLS"]
SKILLS: Final = STRATEGIES["SKILLS"]
FOLLOWERS: Final = STRATEGIES["FOLLOWERS"]
SEARCH_RESULTS: Final = STRATEGIES["SEARCH_RESULTS"]
POST_FEED: Final = STRATEGIES["POST_FEED"]
POST_DETAILS: Final = STRATEGIES["POST_DETAILS"]
USER_POSTS: Final = STRATEGIES["USER_POSTS"]
COMMENTS: Final = STRATEGIES["COMMENTS"]
TRENDING: Final = STRATEGIES["TRENDING"]
MEDIA_DETAILS: Final = STRATEGIES["MEDIA_DETAILS"]
VIDEOS: Final = STRATEGIES["VIDEOS"]
