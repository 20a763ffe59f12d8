CREATE TABLE users (
    id            uuid PRIMARY KEY,
    -- Lower case; the domain type sees to it.
    email         text NOT NULL UNIQUE,
    -- A PHC string, so the parameters can change without a migration.
    password_hash text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);
