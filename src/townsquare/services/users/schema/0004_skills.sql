-- What people say they can do, and who says so too. Names are sorted by code point, the same on every system.
CREATE TABLE skills (
    id uuid PRIMARY KEY,
    person uuid NOT NULL REFERENCES people ON DELETE CASCADE,
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 50),
    name_key text COLLATE "C" NOT NULL,
    level text NOT NULL CHECK (level IN ('beginner', 'intermediate', 'advanced', 'expert')),
    endorsements integer NOT NULL DEFAULT 0 CHECK (endorsements >= 0),
    created_at timestamptz NOT NULL
);

CREATE UNIQUE INDEX skills_person_name_key_idx ON skills (person, name_key);

CREATE TABLE endorsements (
    skill uuid NOT NULL REFERENCES skills ON DELETE CASCADE,
    endorser uuid NOT NULL REFERENCES people ON DELETE CASCADE,
    since timestamptz NOT NULL,
    PRIMARY KEY (skill, endorser)
);

CREATE INDEX endorsements_endorser_idx ON endorsements (endorser);

-- Every skill that somebody has, spelled as by the first who had it.
CREATE TABLE skill_names (
    name_key text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    people integer NOT NULL CHECK (people >= 0)
);

-- The most common first, of all and of those that begin with one letter; the sign makes both sort the same way.
CREATE INDEX skill_names_people_idx ON skill_names ((-people), name_key);
CREATE INDEX skill_names_initial_people_idx ON skill_names (left(name_key, 1), (-people), name_key);
