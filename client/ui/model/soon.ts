/**
 * Does a thing once for many reasons: at the next frame of a page that is seen, a little later of one that is not. So a
 * stream of hundreds of frames a second is painted once a frame.
 */
const HIDDEN_MS = 250;

/** Call the answer as often as wanted. */
export function soon(work: () => void): () => void {
  let waits = false;
  const run = (): void => {
    waits = false;
    work();
  };
  return () => {
    if (waits) return;
    waits = true;
    // Browsers give no frames to hidden pages.
    if (document.hidden) setTimeout(run, HIDDEN_MS);
    else requestAnimationFrame(run);
  };
}
