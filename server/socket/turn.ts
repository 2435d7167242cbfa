/**
 * One turn of the event loop, shared by all connections: what is asked for `later` runs once, when the turn's I/O has
 * been handled. Owns the only setImmediate of the socket layer; never knows what a task does.
 */

export interface TurnTask {
  /** Must not throw. */
  run(): void;
}

export class Turn {
  #number = 0;
  #tasks: TurnTask[] = [];
  #scheduled = false;

  /** Differs from one turn to the next; the same within one. */
  get number(): number {
    this.#schedule();
    return this.#number;
  }

  /** Runs the task at the end of this turn, after those asked for before. */
  later(task: TurnTask): void {
    this.#tasks.push(task);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#end);
  }

  readonly #end = (): void => {
    this.#scheduled = false;
    this.#number++;
    const tasks = this.#tasks;
    this.#tasks = [];
    for (const task of tasks) task.run();
  };
}
