/**
 * The end of a command that runs until somebody stops it. Owns the two signals while it waits for one.
 */
/** Resolves with 0 at the first SIGINT or SIGTERM; the second one ends the process as it would without us. */
export function untilSignal(): Promise<number> {
  return new Promise((resolve) => {
    const stop = (): void => {
      process.off("SIGINT", stop);
      process.off("SIGTERM", stop);
      resolve(0);
    };
    process.on("SIGINT", stop);
    process.on("SIGTERM", stop);
  });
}
