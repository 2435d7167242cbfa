/**
 * Tools: who offers which, and how their calls go. For now the pools as the server lists them.
 */
export function Tools() {
  return <section class="pane" />;
}
