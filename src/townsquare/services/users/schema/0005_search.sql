-- What people are found by. A handle and a name are each kept as every order of their words that begins with another
-- one ("ada lovelace", "lovelace ada") and run together ("adalovelace"), so that a search is a range of one index.

-- Without accents, case and punctuation: "Ada_Lovelace" is "ada lovelace". unaccent() is only STABLE because its rules
-- could be edited; nobody does, and a key that is stored does not change anyway.
CREATE FUNCTION search_key(name text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN btrim(left(regexp_replace(
    lower(public.unaccent('public.unaccent', normalize(name, NFKC))), '[[:space:][:punct:]]+', ' ', 'g'
), 60));

-- At most nine keys; none for a name without a letter.
CREATE FUNCTION search_keys(name text) RETURNS SETOF text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE ROWS 4
AS $$
    SELECT array_to_string(words[i:] || words[:i - 1], ' ')
    FROM string_to_array(public.search_key(name), ' ') AS words, generate_series(1, least(cardinality(words), 8)) AS i
    UNION
    SELECT replace(key, ' ', '')
    FROM public.search_key(name) AS key
    WHERE key <> ''
$$;

CREATE TABLE people_names (
    key text COLLATE "C" NOT NULL,
    of_name boolean NOT NULL,
    person uuid NOT NULL REFERENCES people ON DELETE CASCADE,
    PRIMARY KEY (person, key)
);

-- Typos are found by it too, without an index of their own: it says which letters a name can go on with.
CREATE INDEX people_names_key_idx ON people_names (key, of_name, person);

CREATE FUNCTION name_person() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    DELETE FROM people_names WHERE person = new.id;
    INSERT INTO people_names (key, of_name, person)
    SELECT key, bool_and(of_name), new.id
    FROM (
        SELECT false AS of_name, search_keys(new.handle) AS key
        UNION ALL
        SELECT true, search_keys(new.display_name)
    ) AS keys
    GROUP BY key;
    RETURN NULL;
END
$$;

CREATE TRIGGER people_named AFTER INSERT ON people
FOR EACH ROW EXECUTE FUNCTION name_person();

CREATE TRIGGER people_renamed AFTER UPDATE OF handle, display_name ON people
FOR EACH ROW WHEN ((old.handle, old.display_name) IS DISTINCT FROM (new.handle, new.display_name))
EXECUTE FUNCTION name_person();

INSERT INTO people_names (key, of_name, person)
SELECT key, bool_and(of_name), id
FROM (
    SELECT id, false AS of_name, search_keys(handle) AS key FROM people
    UNION ALL
    SELECT id, true, search_keys(display_name) FROM people
) AS keys
GROUP BY id, key;
