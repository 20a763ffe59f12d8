-- What a user saw of a generation, in order: streams of events resume from here, on any task.
CREATE TABLE generation_events (
    generation_id uuid NOT NULL REFERENCES generations (id) ON DELETE CASCADE,
    -- Counts from 1 without gaps; the lock on the generation's row puts writers in order.
    sequence      integer NOT NULL,
    status        text NOT NULL,
    step          text,
    progress      smallint NOT NULL,
    attempt       integer NOT NULL,
    occurred_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (generation_id, sequence)
);

INSERT INTO generation_events (generation_id, sequence, status, step, progress, attempt)
SELECT id, 1, status, step, progress, attempt FROM generations;

-- A trigger, so that no statement that changes a generation can forget it, and the event commits with its change.
CREATE FUNCTION record_generation_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO generation_events (generation_id, sequence, status, step, progress, attempt)
    SELECT NEW.id, coalesce(max(sequence), 0) + 1, NEW.status, NEW.step, NEW.progress, NEW.attempt
    FROM generation_events WHERE generation_id = NEW.id;
    PERFORM pg_notify('generation_changed', NEW.id::text);
    RETURN NULL;
END $$;

CREATE TRIGGER generation_created AFTER INSERT ON generations
    FOR EACH ROW EXECUTE FUNCTION record_generation_event();

-- The named columns keep the heartbeat's updates out of it.
CREATE TRIGGER generation_changed AFTER UPDATE OF status, step, progress, attempt ON generations
    FOR EACH ROW
    WHEN ((OLD.status, OLD.step, OLD.progress, OLD.attempt)
          IS DISTINCT FROM (NEW.status, NEW.step, NEW.progress, NEW.attempt))
    EXECUTE FUNCTION record_generation_event();
