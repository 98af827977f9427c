CREATE TABLE `circuit_breaker_cursors` (
	`name` text NOT NULL,
	`channel` integer NOT NULL,
	`position` integer DEFAULT 0 NOT NULL,
	`told` text DEFAULT '' NOT NULL,
	`holder` text DEFAULT '' NOT NULL,
	`held_until` integer DEFAULT 0 NOT NULL,
	PRIMARY KEY(`name`, `channel`)
);
--> statement-breakpoint
CREATE TABLE `circuit_breaker_events` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`circuit_breaker_id` integer NOT NULL,
	`event` text NOT NULL,
	`metadata` text,
	`created_at` integer NOT NULL,
	`key` text NOT NULL,
	`epoch` text,
	`generation` integer,
	`began` integer,
	`sequence` integer,
	`hash` text
);
--> statement-breakpoint
CREATE INDEX `circuit_breaker_events_circuit` ON `circuit_breaker_events` (`circuit_breaker_id`,`created_at`);--> statement-breakpoint
CREATE INDEX `circuit_breaker_events_key` ON `circuit_breaker_events` (`key`,`created_at`);--> statement-breakpoint
CREATE INDEX `circuit_breaker_events_event` ON `circuit_breaker_events` (`event`,`created_at`);--> statement-breakpoint
CREATE INDEX `circuit_breaker_events_created_at` ON `circuit_breaker_events` (`created_at`);--> statement-breakpoint
CREATE INDEX `circuit_breaker_events_chain` ON `circuit_breaker_events` (`key`,`sequence`) WHERE "circuit_breaker_events"."event" not in ('success', 'failure');--> statement-breakpoint
CREATE INDEX `circuit_breaker_events_changes` ON `circuit_breaker_events` (`key`,`event`,`created_at`) WHERE "circuit_breaker_events"."event" not in ('success', 'failure');--> statement-breakpoint
CREATE INDEX `circuit_breaker_events_generation` ON `circuit_breaker_events` (`key`,`epoch`,`generation`) WHERE "circuit_breaker_events"."event" not in ('success', 'failure');--> statement-breakpoint
CREATE TABLE `circuit_breaker_leases` (
	`circuit_breaker_id` integer NOT NULL,
	`token` text NOT NULL,
	`generation` integer NOT NULL,
	`began` integer NOT NULL,
	`until` integer NOT NULL,
	`lease_ms` integer NOT NULL,
	`ended` integer NOT NULL,
	PRIMARY KEY(`circuit_breaker_id`, `token`)
);
--> statement-breakpoint
CREATE TABLE `circuit_breaker_requests` (
	`circuit_breaker_id` integer NOT NULL,
	`id` text NOT NULL,
	`at` integer NOT NULL,
	`won` integer NOT NULL,
	`revision` integer NOT NULL,
	PRIMARY KEY(`circuit_breaker_id`, `id`)
);
--> statement-breakpoint
CREATE INDEX `circuit_breaker_requests_at` ON `circuit_breaker_requests` (`circuit_breaker_id`,`at`);--> statement-breakpoint
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
CREATE TABLE `circuit_breaker_windows` (
	`circuit_breaker_id` integer NOT NULL,
	`start` integer NOT NULL,
	`since` integer NOT NULL,
	`successes` integer NOT NULL,
	`failures` integer NOT NULL,
	`slow` integer NOT NULL,
	PRIMARY KEY(`circuit_breaker_id`, `start`)
);
--> statement-breakpoint
CREATE TABLE `circuit_breakers` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`key` text NOT NULL,
	`name` text NOT NULL,
	`context` text,
	`boundary` text,
	`state` text DEFAULT 'CLOSED' NOT NULL,
	`failure_count` integer DEFAULT 0 NOT NULL,
	`success_count` integer DEFAULT 0 NOT NULL,
	`last_failure_at` integer,
	`opened_at` integer,
	`closed_at` integer,
	`created_at` integer DEFAULT (cast(unixepoch('subsec') * 1000 as integer)) NOT NULL,
	`updated_at` integer DEFAULT (cast(unixepoch('subsec') * 1000 as integer)) NOT NULL,
	`open_until` integer,
	`cooldown_ms` integer,
	`last_failure` text,
	`policy` text,
	`last_success_at` integer,
	`slow_count` integer DEFAULT 0 NOT NULL,
	`reason` text DEFAULT '' NOT NULL,
	`reopen_count` integer DEFAULT 0 NOT NULL,
	`consecutive_failures` integer DEFAULT 0 NOT NULL,
	`consecutive_successes` integer DEFAULT 0 NOT NULL,
	`total_successes` integer DEFAULT 0 NOT NULL,
	`total_failures` integer DEFAULT 0 NOT NULL,
	`total_rejected` integer DEFAULT 0 NOT NULL,
	`total_slow` integer DEFAULT 0 NOT NULL,
	`half_open_successes` integer DEFAULT 0 NOT NULL,
	`half_open_failures` integer DEFAULT 0 NOT NULL,
	`override` text,
	`override_until` integer,
	`override_reason` text,
	`override_actor` text,
	`policy_hash` text DEFAULT '' NOT NULL,
	`previous_policy_hash` text DEFAULT '' NOT NULL,
	`epoch` text DEFAULT (lower(hex(randomblob(16)))) NOT NULL,
	`generation` integer DEFAULT 1 NOT NULL,
	`began` integer DEFAULT (cast(unixepoch('subsec') * 1000 as integer)) NOT NULL,
	`revision` integer DEFAULT 0 NOT NULL,
	`evidence_since` integer DEFAULT 1 NOT NULL,
	`outcomes` text DEFAULT '' NOT NULL,
	`request_second` integer DEFAULT 0 NOT NULL,
	`request_count` integer DEFAULT 0 NOT NULL,
	`requests_before` integer DEFAULT 0 NOT NULL,
	`released` text,
	`released_by` text,
	CONSTRAINT "circuit_breakers_states" CHECK("circuit_breakers"."state" in ('CLOSED', 'OPEN', 'HALF_OPEN'))
);
--> statement-breakpoint
CREATE UNIQUE INDEX `circuit_breakers_key` ON `circuit_breakers` (`key`);--> statement-breakpoint
CREATE INDEX `circuit_breakers_name` ON `circuit_breakers` (`name`);--> statement-breakpoint
CREATE INDEX `circuit_breakers_state` ON `circuit_breakers` (`state`);--> statement-breakpoint
CREATE INDEX `circuit_breakers_created_at` ON `circuit_breakers` (`created_at`);--> statement-breakpoint
CREATE INDEX `circuit_breakers_opened_at` ON `circuit_breakers` (`opened_at`);--> statement-breakpoint
-- Somebody other than the store has changed a circuit: in a studio, or by a bulk update. The store's
-- own writes raise the revision, so a write that leaves the revision alone is not the store's. The
-- edit begins a new generation: calls admitted before it are late, and what was counted before it
-- leads to no verdict.
CREATE TRIGGER `circuit_breakers_edited`
AFTER UPDATE OF
	`id`, `key`, `state`, `cooldown_ms`, `reason`, `failure_count`, `success_count`, `slow_count`, `opened_at`, `closed_at`, `open_until`,
	`reopen_count`, `consecutive_failures`, `consecutive_successes`, `half_open_successes`,
	`half_open_failures`, `override`, `override_until`, `override_reason`, `override_actor`, `epoch`, `generation`, `began`,
	`evidence_since`, `outcomes`
ON `circuit_breakers`
WHEN NEW.`revision` = OLD.`revision` AND (
	NEW.`id` IS NOT OLD.`id`
	OR NEW.`key` IS NOT OLD.`key`
	OR NEW.`state` IS NOT OLD.`state`
	OR NEW.`cooldown_ms` IS NOT OLD.`cooldown_ms`
	OR NEW.`reason` IS NOT OLD.`reason`
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
	OR NEW.`override_reason` IS NOT OLD.`override_reason`
	OR NEW.`override_actor` IS NOT OLD.`override_actor`
	OR NEW.`epoch` IS NOT OLD.`epoch`
	OR NEW.`generation` IS NOT OLD.`generation`
	OR NEW.`began` IS NOT OLD.`began`
	OR NEW.`evidence_since` IS NOT OLD.`evidence_since`
	OR NEW.`outcomes` IS NOT OLD.`outcomes`
)
BEGIN
	UPDATE `circuit_breakers` SET
		`revision` = OLD.`revision` + 1,
		`generation` = max(NEW.`generation`, OLD.`generation`) + 1,
		`began` = CAST(unixepoch('subsec') * 1000 AS integer),
		`evidence_since` = max(NEW.`generation`, OLD.`generation`) + 1,
		`reason` = 'edited',
		`slow_count` = min(`slow_count`, `failure_count` + `success_count`),
		`consecutive_failures` = 0,
		`consecutive_successes` = 0,
		`half_open_successes` = 0,
		`half_open_failures` = 0,
		`outcomes` = '',
		-- An edit that opens the circuit without an end opens it for a minute, the default cooldown.
		`opened_at` = CASE
			WHEN NEW.`state` = 'OPEN' AND OLD.`state` != 'OPEN' AND NEW.`opened_at` IS OLD.`opened_at`
			THEN CAST(unixepoch('subsec') * 1000 AS integer) ELSE `opened_at` END,
		`open_until` = CASE
			WHEN NEW.`state` = 'CLOSED' THEN NULL
			WHEN NEW.`state` = 'OPEN' AND OLD.`state` != 'OPEN' AND NEW.`open_until` IS OLD.`open_until`
			THEN CAST(unixepoch('subsec') * 1000 AS integer) + 60000 ELSE `open_until` END,
		`cooldown_ms` = CASE
			WHEN NEW.`state` != 'OPEN' THEN NULL
			WHEN OLD.`state` != 'OPEN' AND NEW.`open_until` IS OLD.`open_until` THEN 60000
			ELSE max(NEW.`open_until` - CAST(unixepoch('subsec') * 1000 AS integer), 0) END,
		`closed_at` = CASE
			WHEN NEW.`state` = 'CLOSED' AND OLD.`state` != 'CLOSED' AND NEW.`closed_at` IS OLD.`closed_at`
			THEN CAST(unixepoch('subsec') * 1000 AS integer) ELSE `closed_at` END,
		`reopen_count` = CASE WHEN NEW.`state` = 'CLOSED' THEN 0 ELSE `reopen_count` END,
		`updated_at` = CAST(unixepoch('subsec') * 1000 AS integer)
	WHERE `id` = NEW.`id`;
	INSERT INTO `circuit_breaker_events` (
		`circuit_breaker_id`, `event`, `metadata`, `created_at`, `key`, `epoch`, `generation`, `began`
	)
	SELECT
		`id`,
		'edited',
		json_object(
			'from', OLD.`state`, 'to', `state`, 'generation', `generation`, 'reason', NULL, 'actor', NULL,
			'by', 'update', 'after', json_object(
				'state', `state`, 'openUntil', `open_until`, 'cooldownMs', `cooldown_ms`,
				'reason', `reason`, 'override', CASE WHEN `override` IS NULL THEN NULL ELSE json_object(
					'kind', `override`, 'until', `override_until`, 'reason', `override_reason`, 'actor', `override_actor`
				) END
			)
		),
		`began`, `key`, `epoch`, `generation`, `began`
	FROM `circuit_breakers` WHERE `id` = NEW.`id`;
	-- Under another key it is gone from its own.
	INSERT INTO `circuit_breaker_events` (
		`circuit_breaker_id`, `event`, `metadata`, `created_at`, `key`, `epoch`, `generation`, `began`
	)
	SELECT
		OLD.`id`,
		'edited',
		json_object(
			'from', OLD.`state`, 'to', OLD.`state`, 'generation', OLD.`generation` + 1,
			'reason', NULL, 'actor', NULL, 'by', 'delete', 'after', NULL
		),
		CAST(unixepoch('subsec') * 1000 AS integer), OLD.`key`, OLD.`epoch`, OLD.`generation` + 1,
		CAST(unixepoch('subsec') * 1000 AS integer)
	WHERE NEW.`key` IS NOT OLD.`key`;
	-- SQL has no SHA-256: the store takes this row into the chain with the next row that it appends.
	INSERT INTO `circuit_breaker_trails` (`key`, `unsealed`) VALUES (NEW.`key`, 1)
	ON CONFLICT (`key`) DO UPDATE SET `unsealed` = `unsealed` + 1;
	INSERT INTO `circuit_breaker_trails` (`key`, `unsealed`)
	SELECT OLD.`key`, 1 WHERE NEW.`key` IS NOT OLD.`key`
	ON CONFLICT (`key`) DO UPDATE SET `unsealed` = `unsealed` + 1;
END;
--> statement-breakpoint
-- Somebody other than the store has deleted a circuit. The store's own removal is decided before, by a
-- row among the requests.
CREATE TRIGGER `circuit_breakers_deleted`
BEFORE DELETE ON `circuit_breakers`
WHEN NOT EXISTS (
	SELECT 1 FROM `circuit_breaker_requests`
	WHERE `circuit_breaker_id` = OLD.`id` AND `won` AND `revision` > OLD.`revision`
)
BEGIN
	INSERT INTO `circuit_breaker_events` (
		`circuit_breaker_id`, `event`, `metadata`, `created_at`, `key`, `epoch`, `generation`, `began`
	)
	VALUES (
		OLD.`id`,
		'edited',
		json_object(
			'from', OLD.`state`, 'to', OLD.`state`, 'generation', OLD.`generation` + 1,
			'reason', NULL, 'actor', NULL, 'by', 'delete', 'after', NULL
		),
		CAST(unixepoch('subsec') * 1000 AS integer), OLD.`key`, OLD.`epoch`, OLD.`generation` + 1,
		CAST(unixepoch('subsec') * 1000 AS integer)
	);
	INSERT INTO `circuit_breaker_trails` (`key`, `unsealed`) VALUES (OLD.`key`, 1)
	ON CONFLICT (`key`) DO UPDATE SET `unsealed` = `unsealed` + 1;
END;
--> statement-breakpoint
-- Somebody other than the store has put a circuit in. The store's own begin without any past, under an
-- epoch with the moment in it.
CREATE TRIGGER `circuit_breakers_inserted`
AFTER INSERT ON `circuit_breakers`
WHEN instr(NEW.`epoch`, '.') = 0
	OR NEW.`state` != 'CLOSED'
	OR NEW.`override` IS NOT NULL
	OR NEW.`open_until` IS NOT NULL
	OR NEW.`cooldown_ms` IS NOT NULL
	OR NEW.`opened_at` IS NOT NULL
	OR NEW.`closed_at` IS NOT NULL
	OR NEW.`reason` != ''
	OR NEW.`outcomes` != ''
	OR NEW.`generation` != 1
	OR NEW.`evidence_since` != 1
	OR NEW.`revision` != 0
	OR NEW.`failure_count` != 0
	OR NEW.`success_count` != 0
	OR NEW.`slow_count` != 0
	OR NEW.`reopen_count` != 0
	OR NEW.`consecutive_failures` != 0
	OR NEW.`consecutive_successes` != 0
	OR NEW.`half_open_successes` != 0
	OR NEW.`half_open_failures` != 0
BEGIN
	INSERT INTO `circuit_breaker_events` (
		`circuit_breaker_id`, `event`, `metadata`, `created_at`, `key`, `epoch`, `generation`, `began`
	)
	SELECT
		`id`,
		'edited',
		json_object(
			'from', `state`, 'to', `state`, 'generation', `generation`, 'reason', NULL, 'actor', NULL,
			'by', 'insert', 'after', json_object(
				'state', `state`, 'openUntil', `open_until`, 'cooldownMs', `cooldown_ms`,
				'reason', `reason`, 'override', CASE WHEN `override` IS NULL THEN NULL ELSE json_object(
					'kind', `override`, 'until', `override_until`, 'reason', `override_reason`, 'actor', `override_actor`
				) END
			)
		),
		CAST(unixepoch('subsec') * 1000 AS integer), `key`, `epoch`, `generation`, `began`
	FROM `circuit_breakers` WHERE `id` = NEW.`id`;
	INSERT INTO `circuit_breaker_trails` (`key`, `unsealed`) VALUES (NEW.`key`, 1)
	ON CONFLICT (`key`) DO UPDATE SET `unsealed` = `unsealed` + 1;
END;
