/**
 * What a form holds when it is submitted, as text. Owns reading it, so that no view meets a file where it wants words.
 */
export function textsOf(event: Event, name: string): string[] {
  const data = new FormData(event.currentTarget as HTMLFormElement);
  return data.getAll(name).filter((value): value is string => typeof value === "string" && value !== "");
}

export const textOf = (event: Event, name: string): string => textsOf(event, name)[0] ?? "";
