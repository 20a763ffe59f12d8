-- The live worker processes: what a queue's depth is divided by. Renewed by the heartbeat.
CREATE TABLE worker_processes (
    id         uuid PRIMARY KEY,
    slots      integer NOT NULL CHECK (slots > 0),
    expires_at timestamptz NOT NULL
);

-- The latest that succeeded tell how long a generation takes now.
CREATE INDEX generations_succeeded ON generations (finished_at DESC) WHERE status = 'succeeded';
