CREATE TABLE `circuit_breaker_events` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`circuit_breaker_id` integer NOT NULL,
	`event` text NOT NULL,
	`metadata` text,
	`created_at` integer NOT NULL,
	`key` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `circuit_breaker_events_circuit` ON `circuit_breaker_events` (`circuit_breaker_id`,`created_at`);--> statement-breakpoint
CREATE INDEX `circuit_breaker_events_key` ON `circuit_breaker_events` (`key`);--> statement-breakpoint
CREATE INDEX `circuit_breaker_events_event` ON `circuit_breaker_events` (`event`,`created_at`);--> statement-breakpoint
CREATE INDEX `circuit_breaker_events_created_at` ON `circuit_breaker_events` (`created_at`);--> statement-breakpoint
CREATE TABLE `circuit_breaker_leases` (
	`circuit_breaker_id` integer NOT NULL,
	`token` text NOT NULL,
	`generation` integer NOT NULL,
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
	`revision` integer DEFAULT 0 NOT NULL,
	`evidence_since` integer DEFAULT 1 NOT NULL,
	`outcomes` text DEFAULT '' NOT NULL,
	`released` text,
	`released_by` text,
	CONSTRAINT "circuit_breakers_states" CHECK("circuit_breakers"."state" in ('CLOSED', 'OPEN', 'HALF_OPEN'))
);
--> statement-breakpoint
CREATE UNIQUE INDEX `circuit_breakers_key` ON `circuit_breakers` (`key`);--> statement-breakpoint
CREATE INDEX `circuit_breakers_name` ON `circuit_breakers` (`name`);--> statement-breakpoint
CREATE INDEX `circuit_breakers_state` ON `circuit_breakers` (`state`);--> statement-breakpoint
CREATE INDEX `circuit_breakers_created_at` ON `circuit_breakers` (`created_at`);--> statement-breakpoint
CREATE INDEX `circuit_breakers_opened_at` ON `circuit_breakers` (`opened_at`);