CREATE TABLE generations (
    id                uuid PRIMARY KEY,
    user_id           uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    title             text NOT NULL,
    instructions      text NOT NULL,
    status            text NOT NULL DEFAULT 'queued'
                      CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    step              text,
    progress          smallint NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
    -- Counted at every claim and never lowered: it is the fence every later write must match.
    attempt           integer NOT NULL DEFAULT 0,
    -- Attempts that ended by an orderly stop of their worker; they do not count against the cap.
    attempts_released integer NOT NULL DEFAULT 0,
    -- Not claimed before this instant: the backoff between attempts.
    available_at      timestamptz NOT NULL DEFAULT now(),
    -- The worker process that holds the lease, and until when.
    lease_owner       uuid,
    leased_until      timestamptz,
    error_code        text,
    error_detail      text,
    page_count        integer,
    pdf_key           text,
    pdf_size_bytes    bigint,
    input_tokens      bigint NOT NULL DEFAULT 0,
    output_tokens     bigint NOT NULL DEFAULT 0,
    created_at        timestamptz NOT NULL DEFAULT now(),
    started_at        timestamptz,
    finished_at       timestamptz,
    CHECK ((status = 'running') = (lease_owner IS NOT NULL)),
    CHECK ((status = 'running') = (leased_until IS NOT NULL)),
    CHECK ((status IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CHECK ((status = 'failed') = (error_code IS NOT NULL)),
    CHECK (status <> 'succeeded' OR (pdf_key IS NOT NULL AND page_count IS NOT NULL))
)
-- Room on every page, so that the heartbeat's updates stay heap-only.
WITH (fillfactor = 70);

CREATE INDEX generations_by_user ON generations (user_id, id DESC);
CREATE INDEX generations_queued ON generations (created_at, id) WHERE status = 'queued';
-- Deliberately without leased_until: indexing what every heartbeat changes would end heap-only updates.
CREATE INDEX generations_running ON generations (lease_owner) WHERE status = 'running';

CREATE TABLE generation_documents (
    generation_id uuid NOT NULL REFERENCES generations (id) ON DELETE CASCADE,
    document_id   uuid NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    ordinal       integer NOT NULL,
    PRIMARY KEY (generation_id, ordinal)
);

CREATE INDEX generation_documents_by_document ON generation_documents (document_id);

CREATE TABLE generation_steps (
    generation_id  uuid NOT NULL REFERENCES generations (id) ON DELETE CASCADE,
    ordinal        integer NOT NULL,
    name           text NOT NULL,
    -- creating: a response may exist that nobody knows the id of. waiting: response_id is known.
    -- discarded: the response ended badly or expired, a new one is needed.
    state          text NOT NULL CHECK (state IN ('creating', 'waiting', 'discarded', 'done')),
    response_id    text,
    -- When response_id was created; the budget of one response counts from here.
    responded_at   timestamptz,
    -- How many responses were asked for, lost and replaced ones included.
    creates        integer NOT NULL DEFAULT 0,
    output         text,
    input_tokens   bigint NOT NULL DEFAULT 0,
    output_tokens  bigint NOT NULL DEFAULT 0,
    started_at     timestamptz NOT NULL DEFAULT now(),
    finished_at    timestamptz,
    PRIMARY KEY (generation_id, ordinal),
    CHECK (state <> 'waiting' OR response_id IS NOT NULL),
    CHECK ((state = 'done') = (finished_at IS NOT NULL))
);

CREATE TABLE idempotency_keys (
    user_id        uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    key            text NOT NULL,
    request_sha256 text NOT NULL,
    generation_id  uuid NOT NULL REFERENCES generations (id) ON DELETE CASCADE,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, key)
);
