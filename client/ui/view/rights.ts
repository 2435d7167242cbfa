/**
 * What the page offers to whom. Owns guesses only: the server decides each request, and the page merely does not show what
 * would be refused.
 */
import type { OpenRequest, Role } from "../../index.ts";

export const mayTakePart = (role: Role | undefined): boolean => role === "owner" || role === "editor";

/** Whether this user's answer may count, by what the request says. */
export function mayAnswer(request: OpenRequest, role: Role | undefined, user: string | undefined): boolean {
  if (role === undefined) return false;
  const { who } = request;
  if (who === undefined || who.length === 0) {
    if (request.kind === "question") return role !== "viewer";
    return role === "owner" || role === "approver";
  }
  return who.every(({ roles, users }) => {
    if (roles === undefined && users === undefined) return role === "owner" || role === "approver";
    return roles?.includes(role) === true || (user !== undefined && users?.includes(user) === true);
  });
}
