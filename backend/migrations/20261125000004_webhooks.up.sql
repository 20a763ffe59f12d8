ALTER TABLE generations ADD COLUMN webhook_url text;

-- What a user verifies signatures with; made with the first order that names a webhook.
CREATE TABLE webhook_secrets (
    user_id uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    secret  bytea NOT NULL CHECK (octet_length(secret) >= 24)
);

-- The outbox: id and payload are fixed when the generation ends, however often they are delivered.
CREATE TABLE webhook_deliveries (
    id            uuid PRIMARY KEY,
    -- One per generation: an end is final.
    generation_id uuid NOT NULL UNIQUE REFERENCES generations (id) ON DELETE CASCADE,
    payload       text NOT NULL,
    attempts      integer NOT NULL DEFAULT 0,
    -- Also the lease: while one is under way, this is when another may try.
    due_at        timestamptz NOT NULL DEFAULT now(),
    delivered_at  timestamptz,
    abandoned_at  timestamptz,
    last_failure  text,
    CHECK (delivered_at IS NULL OR abandoned_at IS NULL)
);

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (due_at)
    WHERE delivered_at IS NULL AND abandoned_at IS NULL;

-- In the transaction that ends the generation, so neither exists without the other.
CREATE FUNCTION enqueue_webhook() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ended_at text := to_char(NEW.finished_at AT TIME ZONE 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
BEGIN
    INSERT INTO webhook_deliveries (id, generation_id, payload)
    VALUES (gen_random_uuid(), NEW.id, json_build_object(
        'type', 'generation.' || NEW.status,
        'timestamp', ended_at,
        'data', json_strip_nulls(json_build_object(
            'id', NEW.id, 'title', NEW.title, 'status', NEW.status, 'finished_at', ended_at,
            'page_count', NEW.page_count, 'cost_usd_micros', NEW.cost_usd_micros,
            'error', CASE WHEN NEW.error_code IS NOT NULL
                          THEN json_build_object('code', NEW.error_code, 'detail', NEW.error_detail) END
        )))::text);
    PERFORM pg_notify('generations', 'webhook');
    RETURN NULL;
END $$;

CREATE TRIGGER generation_ended AFTER UPDATE OF status ON generations
    FOR EACH ROW
    WHEN (NEW.webhook_url IS NOT NULL AND OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL)
    EXECUTE FUNCTION enqueue_webhook();
