/**
 * The table of rights and the handlers say the same: no frame is served without a right that was asked, and no right waits
 * for a frame that nobody serves.
 */
import { clientFrames } from "../../../protocol/frames.ts";
import { FRAME_RIGHTS, includes } from "../../../server/auth/rights.ts";
import { requests } from "../../../server/socket/dispatch.ts";
import { notices } from "../../../server/socket/results.ts";
import { assert, suite } from "../../support/suite.ts";

const test = suite("rights");

/** Answered by the connection itself. */
const OF_THE_CONNECTION = ["hello", "pong"];

test("every client frame has a right, and every right a handler", () => {
  const served = [...Object.keys(requests), ...Object.keys(notices), ...OF_THE_CONNECTION];
  assert.equal(served.toSorted(), Object.keys(FRAME_RIGHTS).toSorted());
  assert.equal(Object.keys(clientFrames).toSorted(), Object.keys(FRAME_RIGHTS).toSorted());
});

test("an owner may what everybody may, approver and editor differ, a viewer may what each may", () => {
  const roles = ["owner", "editor", "approver", "viewer"] as const;
  const may = roles.map((role) => roles.filter((other) => includes(role, other)));
  assert.equal(may, [
    ["owner", "editor", "approver", "viewer"],
    ["editor", "viewer"],
    ["approver", "viewer"],
    ["viewer"],
  ]);
});

test.run();
