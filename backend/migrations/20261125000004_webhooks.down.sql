DROP TRIGGER generation_ended ON generations;
DROP FUNCTION enqueue_webhook();
DROP TABLE webhook_deliveries;
DROP TABLE webhook_secrets;
ALTER TABLE generations DROP COLUMN webhook_url;
