/** The size of a {@linkcode WorkerPool}. */
export interface WorkerPoolOptions {
  readonly workers: number;
  /** The number of jobs that may wait. */
  readonly queueLimit: number;
}

interface Job {
  readonly arrivedAt: number;
  readonly finish: () => void;
}

interface Worker {
  /** When its last job was due to be done, on the clock of `performance.now()`. */
  freeAt: number;
}

/**
 * A bounded pool of workers with one queue, first in, first out. A job only takes time: the workers
 * sleep, so that their speed does not depend on the machine.
 */
export class WorkerPool {
  /** The duration of a job that begins now. */
  jobMs = 0;
  readonly #queueLimit: number;
  readonly #idle: Worker[];
  readonly #queue: Job[] = [];
  #working = 0;

  constructor({ workers, queueLimit }: WorkerPoolOptions) {
    this.#queueLimit = queueLimit;
    this.#idle = Array.from({ length: workers }, () => ({ freeAt: 0 }));
  }

  /** The number of jobs that wait for a worker. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** The number of jobs that workers have begun. */
  get working(): number {
    return this.#working;
  }

  /** Accepts a job, and calls `finish` when it is done. Returns `false` if the queue is full. */
  submit(finish: () => void): boolean {
    const job = { arrivedAt: performance.now(), finish };
    const worker = this.#idle.pop();
    if (worker) this.#begin(worker, job);
    else if (this.#queue.length < this.#queueLimit) this.#queue.push(job);
    else return false;
    return true;
  }

  #begin(worker: Worker, job: Job): void {
    this.#working++;
    // Counted from the time when the worker became free: a timer that fires late on a busy machine
    // must not slow the pool down.
    worker.freeAt = Math.max(worker.freeAt, job.arrivedAt) + this.jobMs;
    setTimeout(() => {
      this.#working--;
      const next = this.#queue.shift();
      if (next) this.#begin(worker, next);
      else this.#idle.push(worker);
      job.finish();
    }, Math.max(0, worker.freeAt - performance.now()));
  }
}
