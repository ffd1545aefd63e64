"""A cache that is never wrong: bounded in bytes, invalidated by tags, its freshness proven by PostgreSQL's transaction ids.

Knows nothing of services and could be published alone. `README.md` beside this file says how its parts fit together.
"""
