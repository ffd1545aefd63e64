"""A large community made by SQL alone, every table of it filled. For benchmarks and plan tests.

Who is followed, who writes and what is talked about is skewed (a power law), as in real communities. Everything is a
function of the numbers, so two runs make the same rows. Person 1 is the most followed and writes the most, post 1 has the
most comments and reactions; persons 1, 2 and 3 follow 100, 300 and 3,000 others, person 4 follows 300 who never wrote. Times
are those of 2025, but for what would have expired.
"""

from dataclasses import dataclass
from uuid import UUID

import asyncpg

EPOCH_MS = 1_735_689_600_000
WRITERS = 0.95
"""The part of the people who ever wrote a post; the others have the highest numbers."""


@dataclass(frozen=True)
class Size:
    """How large: people, follows of an ordinary person, posts. The other tables have their part of these."""

    people: int
    follows: int
    posts: int


def person_id(number: int) -> UUID:
    """Return the id of the person with this number, from 1."""
    return UUID(f"01900000-0000-7000-8000-{number:012x}")


def post_id(number: int) -> UUID:
    """Return the id of the post with this number, from 1, oldest first: there is one every 20 seconds."""
    return UUID(f"{EPOCH_MS + number * 20_000:012x}70008000{number:012x}")


def item_id(number: int) -> UUID:
    """Return the id of any other row with this number: a comment, a skill, a session."""
    return UUID(f"{EPOCH_MS + number * 20_000:012x}7000a000{number:012x}")


async def seed_users(connection: asyncpg.Connection, size: Size) -> None:
    """Fill the users database."""
    await _fill(connection, [*_users(size), *_platform(size, "person")])


async def seed_content(connection: asyncpg.Connection, size: Size) -> None:
    """Fill the content database with the same people and follows, and with posts."""
    await _fill(connection, [*_content(size), *_platform(size, "post")])


async def _fill(connection: asyncpg.Connection, statements: list[str]) -> None:
    # Foreign keys and triggers would look at each row once more: three times the time. What they would make is made here.
    await connection.execute("SET session_replication_role = replica; SET synchronous_commit = off; SET work_mem = '64MB'")
    # An index is built of all rows at once in a fraction of the time that it takes row by row.
    indexes = await connection.fetch(SELECT_INDEXES)
    await connection.execute("".join(f"DROP INDEX {row['name']};" for row in indexes))
    for statement in statements:
        await connection.execute(statement)
    for row in indexes:
        await connection.execute(row["definition"])
    await connection.execute("RESET ALL")
    await connection.execute("VACUUM ANALYZE")


SELECT_INDEXES = """
SELECT indexrelid::regclass AS name, pg_get_indexdef(indexrelid) AS definition
FROM pg_index
WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""


# --- expressions over the row's number `i` -------------------------------------------------------------------------


def _rows(count: int) -> str:
    return f"generate_series(1::bigint, {count}) AS i"


def _person(number: str) -> str:
    return f"('01900000-0000-7000-8000-' || lpad(to_hex(({number})::bigint), 12, '0'))::uuid"


def _post(number: str) -> str:
    return _timed(number, "8000")


def _item(number: str) -> str:
    return _timed(number, "a000")


def _timed(number: str, mark: str) -> str:
    time = f"lpad(to_hex({EPOCH_MS} + ({number})::bigint * 20000), 12, '0')"
    return f"({time} || '7000{mark}' || lpad(to_hex(({number})::bigint), 12, '0'))::uuid"


def _at(number: str) -> str:
    return f"to_timestamp({EPOCH_MS / 1000} + ({number}) * 20)"


def _skewed(most: int, number: str) -> str:
    """An integer from 1 to `most`; low ones far more often (the cube of an even spread, spread by a hash)."""
    return f"(1 + floor({most} * power((hashint8(({number})::bigint) & 2147483647) / 2147483648.0, 3)))::bigint"


def _even(most: int, number: str) -> str:
    """An integer from 1 to `most`, each as often, in no order."""
    return f"(1 + (hashint8(({number})::bigint) & 2147483647) % {most})"


def _author(size: Size, number: str) -> str:
    return _person(_skewed(int(size.people * WRITERS), number))


def _secret(number: str) -> str:
    return f"sha256(({number})::text::bytea)"


# --- users ---------------------------------------------------------------------------------------------------------

BEGINNINGS = "'Al','Be','Ca','Do','El','Fa','Gi','Ho','In','Jo','Ka','Lu','Ma','No','Pe'"
ENDINGS = "'da','ra','nia','lo','mir','sine','tor','vin','las','ke'"
LAST_NAMES = "'Lovelace','Hopper','Turing','Dijkstra','Liskov','Knuth','Perlman','Torvalds','Allen','Thompson'"
NAME = f"""
    (ARRAY[{BEGINNINGS}])[1 + i % 15] || (ARRAY[{ENDINGS}])[1 + i / 15 % 10] || ' '
    || (ARRAY[{BEGINNINGS}])[1 + i / 150 % 15] || lower((ARRAY[{LAST_NAMES}])[1 + i / 2250 % 10])
"""


def _users(size: Size) -> list[str]:
    people = size.people
    return [
        f"""
        INSERT INTO people (id, handle, display_name, bio, location, website, fields, hidden_at, created_at)
        SELECT {_person("i")}, 'person_' || i,
               {NAME},
               repeat('Likes long walks and short programs. ', (1 + i % 4)::int), 'Somewhere ' || i % 100,
               'https://example.org/' || i, '[{{"name":"Pronouns","value":"they"}}]',
               CASE WHEN i % 1000 = 0 THEN now() END, {_at("i")}
        FROM {_rows(people)}
        """,
        """
        INSERT INTO people_names (key, of_name, person)
        SELECT key, bool_and(of_name), id
        FROM (
            SELECT id, false AS of_name, search_keys(handle) AS key FROM people
            UNION ALL
            SELECT id, true, search_keys(display_name) FROM people
        ) AS keys
        GROUP BY id, key
        """,
        _pairs(size, "follows (follower, followee, since)", _at("f")),
        _few_pairs(size, "blocks (blocker, blocked, since)", _at("i")),
        _few_pairs(size, "mutes (muter, muted, since)", _at("i")),
        """
        UPDATE people
        SET following = n
        FROM (SELECT follower, count(*) AS n FROM follows GROUP BY follower) AS counted
        WHERE follower = id
        """,
        """
        UPDATE people
        SET followers = n
        FROM (SELECT followee, count(*) AS n FROM follows GROUP BY followee) AS counted
        WHERE followee = id
        """,
        *_skills(people),
        *_accounts(people),
    ]


def _skills(people: int) -> list[str]:
    return [
        f"""
        INSERT INTO skills (id, person, name, name_key, level, created_at)
        SELECT {_item("i")}, {_person("(i + 2) / 3")}, 'Skill ' || s, 'skill ' || s, 'advanced', {_at("i")}
        FROM {_rows(people * 3)}, LATERAL (SELECT {_skewed(170, "i")} * 3 + i % 3 AS s) AS skill
        """,
        f"""
        INSERT INTO endorsements (skill, endorser, since)
        SELECT {_item(_skewed(people * 3, "i"))}, {_person(_even(people, "i + 7"))}, {_at("i")}
        FROM {_rows(people * 3)}
        ON CONFLICT DO NOTHING
        """,
        "UPDATE skills AS s SET endorsements = (SELECT count(*) FROM endorsements WHERE skill = s.id)",
        # Besides those that people have, names that nobody has any more stay until they are forgotten.
        """
        INSERT INTO skill_names (name_key, name, people)
        SELECT name_key, min(name), count(*) FROM skills GROUP BY name_key
        UNION ALL
        SELECT 'art ' || i, 'Art ' || i, 1 + i % 7 FROM generate_series(1, 5000) AS i
        """,
    ]


def _accounts(people: int) -> list[str]:
    return [
        f"""
        INSERT INTO accounts (person_id, email, email_key, password_hash, suspended_at, delete_after, created_at, updated_at)
        SELECT {_person("i")}, 'person_' || i || '@example.org', 'person_' || i || '@example.org', '$argon2id$none',
               CASE WHEN i % 500 = 1 THEN now() END,
               CASE WHEN i % 1000 = 0 THEN now() + (i % 30) * interval '1 day' END, {_at("i")}, {_at("i")}
        FROM {_rows(people - 1)}
        """,
        f"""
        INSERT INTO sessions (id, person_id, refresh_hash, user_agent, created_at, used_at, expires_at)
        SELECT {_item("i")}, {_person(_even(people, "i"))}, {_secret("i")}, 'Mozilla/5.0', {_at("i")}, {_at("i")},
               now() + i % 30 * interval '1 day' + interval '1 hour'
        FROM {_rows(people * 2)}
        """,
        f"""
        INSERT INTO used_refresh_tokens (refresh_hash, session_id, used_at)
        SELECT {_secret("-i")}, {_item(_even(people * 2, "i"))}, now() - i % 30 * interval '23 hours'
        FROM {_rows(people * 3)}
        """,
        f"""
        INSERT INTO recovery_codes (person_id, code_hash)
        SELECT {_person("1 + i / 8 * 3")}, {_secret("i")} FROM {_rows(people * 2)}
        """,
        f"""
        INSERT INTO personal_tokens (id, person_id, name, token_hash, scopes, created_at)
        SELECT {_item("i")}, {_person(_even(people, "i"))}, 'Token', {_secret("i")}, '{{read}}', {_at("i")}
        FROM {_rows(people)}
        """,
        f"""
        INSERT INTO mailed_tokens (token_hash, person_id, purpose, email, expires_at)
        SELECT {_secret("i")}, {_person(_even(people, "i"))}, CASE i % 2 WHEN 0 THEN 'verify' ELSE 'reset' END,
               'person_' || i || '@example.org', now() + (1 + i % 24) * interval '1 hour'
        FROM {_rows(people)}
        """,
        f"INSERT INTO retired_handles (handle, retired_at) SELECT 'gone_' || i, now() FROM {_rows(people)}",
    ]


def _pairs(size: Size, into: str, rest: str) -> str:
    """Follows: ordinary people follow some, the first few as many as the head of this page says."""
    count = f"CASE i WHEN 1 THEN 100 WHEN 2 THEN 300 WHEN 3 THEN 3000 WHEN 4 THEN 300 ELSE 1 + i % {size.follows * 2} END"
    followee = f"""
        CASE WHEN i <= 3 THEN f + 10 WHEN i = 4 THEN {size.people} + 1 - f
             ELSE {_skewed(size.people, f"i * {size.follows} + f")} END
    """
    return f"""
        INSERT INTO {into}
        SELECT DISTINCT ON (a, b) a, b, {rest}
        FROM {_rows(size.people)},
             LATERAL generate_series(1, least({count}, {size.people} - 20)) AS f,
             LATERAL (SELECT {_person("i")} AS a, {_person(followee)} AS b) AS pair
        WHERE a <> b
    """


def _few_pairs(size: Size, into: str, rest: str) -> str:
    """Blocks and mutes: one a person, by those who follow many more often, of those who are known more often."""
    return f"""
        INSERT INTO {into}
        SELECT DISTINCT ON (a, b) a, b, {rest}
        FROM {_rows(size.people)},
             LATERAL (SELECT {_person(_skewed(size.people, "i + 5"))} AS a, {_person(_even(size.people, "i"))} AS b) AS pair
        WHERE a <> b
    """


# --- content -------------------------------------------------------------------------------------------------------


def _content(size: Size) -> list[str]:
    return [
        f"""
        INSERT INTO people (id, handle, display_name, hidden)
        SELECT {_person("i")}, 'person_' || i, 'Person ' || i, i % 1000 = 0 FROM {_rows(size.people)}
        """,
        _pairs(size, "follows (follower, followee, active, version)", "f % 20 <> 19 OR i <= 4, f"),
        _few_pairs(size, "blocks (blocker, blocked, active, version)", "i % 10 <> 0, i"),
        _few_pairs(size, "mutes (muter, muted, active, version)", "i % 10 <> 0, i"),
        *_posts(size),
        *_replies(size),
    ]


def _posts(size: Size) -> list[str]:
    people, posts = size.people, size.posts
    return [
        f"""
        INSERT INTO posts (id, author_id, text, html, visibility, tags, created_at, source_id)
        SELECT {_post("i")}, {_author(size, "i")}, said, '<p>' || said || '</p>',
               CASE WHEN i % 20 = 0 THEN 'private' WHEN i % 7 = 0 THEN 'followers' ELSE 'public' END,
               CASE WHEN i % 5 = 0 THEN ARRAY['tag' || {_skewed(1000, "i")}] ELSE '{{}}' END, {_at("i")},
               CASE WHEN i % 10 = 0 THEN 'https://elsewhere.example/' || i END
        FROM {_rows(posts)}, LATERAL (
            SELECT 'Post number ' || i || ' about topic' || i % 997 || ': '
                   || repeat('long walks and short programs, ', 1 + (i % 8)::int) AS said
        ) AS text
        """,
        """
        INSERT INTO post_tags (post_id, author_id, tag)
        SELECT id, author_id, unnest(tags) FROM posts WHERE visibility = 'public'
        """,
        f"""
        INSERT INTO post_mentions (post_id, person_id, private)
        SELECT {_post("i * 5")}, {_person(_skewed(people, "i"))}, i % 4 = 0 FROM {_rows(posts // 5)}
        """,
        f"""
        INSERT INTO post_edits (post_id, id, text, html, visibility, written_at, replaced_at)
        SELECT {_post(_skewed(posts, "i"))}, {_item("i")}, 'Before', '<p>Before</p>', 'public', {_at("i")}, {_at("i + 1")}
        FROM {_rows(posts // 20)}
        """,
        f"""
        INSERT INTO drafts (id, author_id, text, visibility, reply_policy, created_at, updated_at)
        SELECT {_item("i")}, {_author(size, "i")}, 'Not yet', 'public', 'everyone', {_at("i")}, {_at("i")}
        FROM {_rows(people)}
        """,
        f"""
        INSERT INTO imported_media (id, author_id, post_id, purpose, source, media_type, kept_at)
        SELECT {_item("i")}, {_author(size, "i * 10")}, {_post("i * 10")}, 'post', 'media/' || i || '.jpg', 'image/jpeg',
               CASE WHEN i % 100 > 0 THEN {_at("i")} END
        FROM {_rows(posts // 10)}
        UNION ALL
        SELECT {_item(f"{posts} + i")}, {_person("i * 10")}, NULL, 'avatar', 'avatar.jpg', 'image/jpeg', {_at("i")}
        FROM {_rows(people // 10)}
        """,
        f"""
        INSERT INTO media_files (id, owner_id, kind, visibility, active)
        SELECT {_item("i")}, {_author(size, "i")}, 'image', 'public', true FROM {_rows(posts // 6)}
        """,
        f"""
        INSERT INTO post_media (media_id, post_id)
        SELECT {_item("i")}, {_post("i * 6")} FROM {_rows(posts // 6)}
        """,
        """
        UPDATE people SET posts = counted.n
        FROM (SELECT author_id, count(*) AS n FROM posts WHERE visibility <> 'private' GROUP BY author_id) AS counted
        WHERE counted.author_id = id
        """,
    ]


def _replies(size: Size) -> list[str]:
    people, posts = size.people, size.posts
    return [
        # In threads of three: the first has two replies.
        f"""
        INSERT INTO comments (id, post_id, parent_id, depth, author_id, text, html, created_at)
        SELECT {_item("i")}, {_post(_skewed(posts, "i / 3"))}, CASE WHEN i % 3 > 0 THEN {_item("i - i % 3")} END,
               least(i % 3, 1), {_author(size, "i + 3")}, 'Indeed', '<p>Indeed</p>', {_at("i")}
        FROM {_rows(posts // 2)}
        WHERE i >= 3
        """,
        f"""
        INSERT INTO reactions (post_id, person_id, id, kind, created_at)
        SELECT {_post(_skewed(posts, "i + 1"))}, {_person(_skewed(people, "-i"))}, {_item("i")},
               (ARRAY['like', 'love', 'haha', 'wow', 'sad', 'angry'])[{_skewed(6, "i + 2")}], {_at("i")}
        FROM {_rows(posts // 2)}
        ON CONFLICT DO NOTHING
        """,
        f"""
        INSERT INTO bookmarks (post_id, person_id, id, created_at)
        SELECT {_post(_even(posts, "i + 1"))}, {_person(_skewed(people, "-i"))}, {_item("i")}, {_at("i")}
        FROM {_rows(posts // 10)}
        ON CONFLICT DO NOTHING
        """,
        """
        UPDATE posts SET comments = counted.n
        FROM (SELECT post_id, count(*) AS n FROM comments GROUP BY post_id) AS counted
        WHERE counted.post_id = id
        """,
        """
        UPDATE posts
        SET like_count = likes, love_count = loves, haha_count = hahas, wow_count = wows, sad_count = sads,
            angry_count = angries
        FROM (
            SELECT post_id, count(*) FILTER (WHERE kind = 'like') AS likes, count(*) FILTER (WHERE kind = 'love') AS loves,
                   count(*) FILTER (WHERE kind = 'haha') AS hahas, count(*) FILTER (WHERE kind = 'wow') AS wows,
                   count(*) FILTER (WHERE kind = 'sad') AS sads, count(*) FILTER (WHERE kind = 'angry') AS angries
            FROM reactions
            GROUP BY post_id
        ) AS n
        WHERE n.post_id = id
        """,
    ]


# --- what every service's database has -----------------------------------------------------------------------------


def _platform(size: Size, topic: str) -> list[str]:
    """Events of two weeks, each key with some; answers kept for repetitions; jobs that wait, that failed, and their log."""
    return [
        f"""
        INSERT INTO outbox (xid, topic, key, tags, created_at)
        SELECT (3 + i / 1000)::text::xid8, '{topic}', {_person(_even(size.people, "i"))}::text, ARRAY['{topic}:' || i],
               now() - ({size.people * 4} - i) * interval '14 days' / {size.people * 4}
        FROM {_rows(size.people * 4)}
        """,
        f"""
        INSERT INTO idempotency_keys (owner, key_hash, fingerprint, status, answer, created_at)
        SELECT {_person(_even(size.people, "i"))}::text, {_secret("i")}, {_secret("i")}, 201, '\\x00',
               now() - i % 24 * interval '59 minutes'
        FROM {_rows(size.people)}
        """,
        """
        INSERT INTO pgqueuer (priority, status, entrypoint, execute_after)
        SELECT 0, CASE WHEN i % 10 = 0 THEN 'failed' ELSE 'queued' END::pgqueuer_status, 'job-' || i % 5,
               now() + i * interval '1 minute'
        FROM generate_series(1, 5000) AS i
        """,
        f"""
        INSERT INTO pgqueuer_log (job_id, status, priority, entrypoint, created)
        SELECT 1 + i / 3, (ARRAY['queued', 'picked', 'successful'])[1 + i % 3]::pgqueuer_status, 0, 'job-' || i / 3 % 5,
               now() - i % 168 * interval '59 minutes'
        FROM {_rows(size.people * 3)}
        """,
    ]
