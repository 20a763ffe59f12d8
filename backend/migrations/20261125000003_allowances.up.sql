-- A user's turn in the queue: what of theirs waits, oldest first, and how much of theirs runs.
CREATE INDEX generations_queued_by_user ON generations (user_id, created_at, id) WHERE status = 'queued';
CREATE INDEX generations_running_by_user ON generations (user_id) WHERE status = 'running';

-- Money is whole micro-dollars, booked at the prices of the moment.
ALTER TABLE generations ADD COLUMN cost_usd_micros bigint NOT NULL DEFAULT 0;
ALTER TABLE generation_steps ADD COLUMN cost_usd_micros bigint NOT NULL DEFAULT 0;

-- What a user has spent in a day (UTC): booked in the statement that books the generation's cost.
CREATE TABLE user_spending (
    user_id         uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    day             date NOT NULL,
    cost_usd_micros bigint NOT NULL,
    PRIMARY KEY (user_id, day)
);
