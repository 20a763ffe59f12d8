CREATE TABLE documents (
    -- UUIDv7: the primary key is also the order in time, which lists page by.
    id          uuid PRIMARY KEY,
    user_id     uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    file_name   text NOT NULL,
    size_bytes  bigint NOT NULL CHECK (size_bytes > 0),
    sha256      text NOT NULL,
    storage_key text NOT NULL,
    -- Known once a worker has read the document.
    page_count  integer,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX documents_by_user ON documents (user_id, id DESC);
