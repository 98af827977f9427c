CREATE TABLE `circuit_breaker_trails` (
	`key` text PRIMARY KEY NOT NULL,
	`head` text DEFAULT '' NOT NULL,
	`sequence` integer DEFAULT 0 NOT NULL,
	`last_id` integer DEFAULT 0 NOT NULL,
	`last_at` integer DEFAULT 0 NOT NULL,
	`unsealed` integer DEFAULT 0 NOT NULL,
	`anchor_sequence` integer DEFAULT 0 NOT NULL,
	`anchor_id` integer DEFAULT 0 NOT NULL,
	`anchor_hash` text DEFAULT '' NOT NULL,
	`anchor_seal` text DEFAULT '' NOT NULL
);
--> statement-breakpoint
DROP INDEX `circuit_breaker_events_key`;--> statement-breakpoint
ALTER TABLE `circuit_breaker_events` ADD `epoch` text;--> statement-breakpoint
ALTER TABLE `circuit_breaker_events` ADD `generation` integer;--> statement-breakpoint
ALTER TABLE `circuit_breaker_events` ADD `sequence` integer;--> statement-breakpoint
ALTER TABLE `circuit_breaker_events` ADD `hash` text;--> statement-breakpoint
CREATE INDEX `circuit_breaker_events_chain` ON `circuit_breaker_events` (`key`,`sequence`) WHERE "circuit_breaker_events"."event" not in ('success', 'failure');--> statement-breakpoint
CREATE INDEX `circuit_breaker_events_changes` ON `circuit_breaker_events` (`key`,`event`,`created_at`) WHERE "circuit_breaker_events"."event" not in ('success', 'failure');--> statement-breakpoint
CREATE INDEX `circuit_breaker_events_generation` ON `circuit_breaker_events` (`key`,`epoch`,`generation`) WHERE "circuit_breaker_events"."event" not in ('success', 'failure');--> statement-breakpoint
CREATE INDEX `circuit_breaker_events_key` ON `circuit_breaker_events` (`key`,`created_at`);--> statement-breakpoint
DROP TRIGGER `circuit_breakers_edited`;--> statement-breakpoint
-- As before, with the row of the trail taken note of.
CREATE TRIGGER `circuit_breakers_edited`
AFTER UPDATE OF
	`state`, `failure_count`, `success_count`, `slow_count`, `opened_at`, `closed_at`, `open_until`,
	`reopen_count`, `consecutive_failures`, `consecutive_successes`, `half_open_successes`,
	`half_open_failures`, `override`, `override_until`, `epoch`, `generation`, `evidence_since`, `outcomes`
ON `circuit_breakers`
WHEN NEW.`revision` = OLD.`revision` AND (
	NEW.`state` IS NOT OLD.`state`
	OR NEW.`failure_count` IS NOT OLD.`failure_count`
	OR NEW.`success_count` IS NOT OLD.`success_count`
	OR NEW.`slow_count` IS NOT OLD.`slow_count`
	OR NEW.`opened_at` IS NOT OLD.`opened_at`
	OR NEW.`closed_at` IS NOT OLD.`closed_at`
	OR NEW.`open_until` IS NOT OLD.`open_until`
	OR NEW.`reopen_count` IS NOT OLD.`reopen_count`
	OR NEW.`consecutive_failures` IS NOT OLD.`consecutive_failures`
	OR NEW.`consecutive_successes` IS NOT OLD.`consecutive_successes`
	OR NEW.`half_open_successes` IS NOT OLD.`half_open_successes`
	OR NEW.`half_open_failures` IS NOT OLD.`half_open_failures`
	OR NEW.`override` IS NOT OLD.`override`
	OR NEW.`override_until` IS NOT OLD.`override_until`
	OR NEW.`epoch` IS NOT OLD.`epoch`
	OR NEW.`generation` IS NOT OLD.`generation`
	OR NEW.`evidence_since` IS NOT OLD.`evidence_since`
	OR NEW.`outcomes` IS NOT OLD.`outcomes`
)
BEGIN
	UPDATE `circuit_breakers` SET
		`revision` = OLD.`revision` + 1,
		`generation` = max(NEW.`generation`, OLD.`generation`) + 1,
		`evidence_since` = max(NEW.`generation`, OLD.`generation`) + 1,
		`reason` = 'edited',
		`slow_count` = min(`slow_count`, `failure_count` + `success_count`),
		`consecutive_failures` = 0,
		`consecutive_successes` = 0,
		`half_open_successes` = 0,
		`half_open_failures` = 0,
		`outcomes` = '',
		-- Opened without saying until when: for a minute, the cooldown that a policy has by default.
		`opened_at` = CASE
			WHEN NEW.`state` = 'OPEN' AND OLD.`state` <> 'OPEN' AND NEW.`opened_at` IS OLD.`opened_at`
			THEN cast(unixepoch('subsec') * 1000 as integer) ELSE `opened_at` END,
		`open_until` = CASE
			WHEN NEW.`state` = 'CLOSED' THEN NULL
			WHEN NEW.`state` = 'OPEN' AND OLD.`state` <> 'OPEN' AND NEW.`open_until` IS OLD.`open_until`
			THEN cast(unixepoch('subsec') * 1000 as integer) + 60000 ELSE `open_until` END,
		`closed_at` = CASE
			WHEN NEW.`state` = 'CLOSED' AND OLD.`state` <> 'CLOSED' AND NEW.`closed_at` IS OLD.`closed_at`
			THEN cast(unixepoch('subsec') * 1000 as integer) ELSE `closed_at` END,
		`reopen_count` = CASE WHEN NEW.`state` = 'CLOSED' THEN 0 ELSE `reopen_count` END,
		`updated_at` = cast(unixepoch('subsec') * 1000 as integer)
	WHERE `id` = NEW.`id`;
	INSERT INTO `circuit_breaker_events` (
		`circuit_breaker_id`, `event`, `metadata`, `created_at`, `key`, `epoch`, `generation`
	)
	VALUES (
		NEW.`id`,
		'edited',
		json_object(
			'from', OLD.`state`,
			'to', NEW.`state`,
			'generation', max(NEW.`generation`, OLD.`generation`) + 1,
			'reason', NULL,
			'actor', NULL
		),
		cast(unixepoch('subsec') * 1000 as integer),
		NEW.`key`,
		NEW.`epoch`,
		max(NEW.`generation`, OLD.`generation`) + 1
	);
	-- SQL has no SHA-256: the next row that the store appends takes this one into the chain.
	INSERT INTO `circuit_breaker_trails` (`key`, `unsealed`) VALUES (NEW.`key`, 1)
	ON CONFLICT (`key`) DO UPDATE SET `unsealed` = `unsealed` + 1;
END;
