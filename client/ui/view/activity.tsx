/**
 * Activity of the server: charts, and the frames as they come. For now nothing but its place.
 */
export function Activity() {
  return <section class="pane" />;
}
