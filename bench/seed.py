"""A large community made by SQL alone: people, skewed follows, posts, comments, reactions. For benchmarks and plan tests.

Who is followed and who writes is skewed (a power law), as in real communities. Everything is a function of the numbers,
so two runs make the same rows.
"""

from dataclasses import dataclass
from uuid import UUID

import asyncpg

PERSON = "('01900000-0000-7000-8000-' || lpad(to_hex({n}), 12, '0'))::uuid"
POST = "(lpad(to_hex(1735689600000 + {n} * 20000), 12, '0') || '7000' || '8000' || lpad(to_hex({n}), 12, '0'))::uuid"


@dataclass(frozen=True)
class Size:
    """How large: people, follows of an ordinary person, posts."""

    people: int
    follows: int
    posts: int


def person_id(number: int) -> UUID:
    """Return the id of the person with this number, from 1."""
    return UUID(f"01900000-0000-7000-8000-{number:012x}")


def post_id(number: int) -> UUID:
    """Return the id of the post with this number, from 1."""
    return UUID(f"{1735689600000 + number * 20000:012x}70008000{number:012x}")


async def seed_users(connection: asyncpg.Connection, size: Size) -> None:
    """Fill the users database."""
    await connection.execute(f"""
        INSERT INTO people (id, handle, display_name, bio, location, website, fields, created_at)
        SELECT {PERSON.format(n="i")}, 'person_' || i,
               (ARRAY['Ada','Grace','Alan','Edsger','Barbara','Donald','Radia','Linus','Frances','Ken'])[1 + i % 10] || ' ' ||
               (ARRAY['Lovelace','Hopper','Turing','Dijkstra','Liskov','Knuth','Perlman','Torvalds','Allen','Thompson'])[1 + i / 10 % 10]
                   || ' ' || i,
               repeat('Likes long walks and short programs. ', 1 + i % 4), 'Somewhere ' || i % 100, 'https://example.org/' || i,
               '[{{"name":"Pronouns","value":"they"}}]', now() - i * interval '1 minute'
        FROM generate_series(1, {size.people}) AS i
    """)
    await connection.execute(_follows(size, "follower, followee, since", "now() - f * interval '1 second'"))
    await connection.execute("""
        UPDATE people SET following = (SELECT count(*) FROM follows WHERE follower = id),
                          followers = (SELECT count(*) FROM follows WHERE followee = id)
    """)
    await connection.execute(f"""
        INSERT INTO skills (id, person, name, name_key, level, endorsements, created_at)
        SELECT gen_random_uuid(), {PERSON.format(n="i")}, 'Skill ' || s, 'skill ' || s, 'advanced', 0, now()
        FROM generate_series(1, {size.people}) AS i, LATERAL (SELECT DISTINCT 1 + (i * k * 7919) % 500 AS s FROM generate_series(1, 3) AS k) AS k
    """)
    await connection.execute("""
        INSERT INTO skill_names (name_key, name, people) SELECT name_key, min(name), count(*) FROM skills GROUP BY name_key
    """)
    await connection.execute("VACUUM ANALYZE")


async def seed_content(connection: asyncpg.Connection, size: Size) -> None:
    """Fill the content database with the same people and follows, and with posts."""
    await connection.execute(f"""
        INSERT INTO people (id, handle, display_name) SELECT {PERSON.format(n="i")}, 'person_' || i, 'Person ' || i
        FROM generate_series(1, {size.people}) AS i
    """)
    await connection.execute(_follows(size, "follower, followee, active, version", "true, 1"))
    await connection.execute(f"""
        INSERT INTO posts (id, author_id, text, html, visibility, tags, like_count, created_at)
        SELECT {POST.format(n="i")}, {PERSON.format(n=_skewed(size.people, "i"))},
               'Post number ' || i || ' about topic' || i % 997, '<p>Post number ' || i || '</p>',
               CASE WHEN i % 20 = 0 THEN 'private' WHEN i % 7 = 0 THEN 'followers' ELSE 'public' END,
               CASE WHEN i % 5 = 0 THEN ARRAY['tag' || i % 200] ELSE '{{}}' END, i % 50,
               to_timestamp(1735689600 + i * 20)
        FROM generate_series(1::bigint, {size.posts}) AS i
    """)
    await connection.execute("""
        INSERT INTO post_tags (post_id, author_id, tag) SELECT id, author_id, unnest(tags) FROM posts WHERE visibility = 'public'
    """)
    await connection.execute("""
        UPDATE people SET posts = counted.n
        FROM (SELECT author_id, count(*) AS n FROM posts WHERE visibility <> 'private' GROUP BY author_id) AS counted
        WHERE counted.author_id = id
    """)
    await connection.execute("VACUUM ANALYZE")


def _follows(size: Size, columns: str, rest: str) -> str:
    """Ordinary people follow some, the first hundred follow many; the low numbers are followed most."""
    count = f"CASE i WHEN 1 THEN 100 WHEN 2 THEN 300 WHEN 3 THEN 3000 ELSE 1 + i % {size.follows * 2} END"
    followee = f"CASE WHEN i <= 3 THEN f + 10 ELSE {_skewed(size.people, f'i * {size.follows} + f')} END"
    return f"""
        INSERT INTO follows ({columns})
        SELECT DISTINCT ON (a, b) a, b, {rest}
        FROM generate_series(1, {size.people}) AS i,
             LATERAL generate_series(1, least({count}, {size.people} - 20)) AS f,
             LATERAL (SELECT {PERSON.format(n="i")} AS a, {PERSON.format(n=followee)} AS b) AS pair
        WHERE a <> b
    """


def _skewed(most: int, number: str) -> str:
    """An integer from 1 to `most`; low ones far more often (the cube of an even spread, spread by a hash)."""
    return f"(1 + floor({most} * power((hashint8(({number})::bigint) & 2147483647) / 2147483648.0, 3)))::bigint"
