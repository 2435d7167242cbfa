/**
 * Starts the page: signs in with a ticket if the URL brought one, begins to watch, shows the application. Owns nothing else.
 * The page uses the public client library and its own folder, no other part of Haulout.
 */
import { render } from "preact";
import { watchWords } from "./model/found.ts";
import { takeTicket } from "./model/link.ts";
import { sendWhatWaits } from "./model/sends.ts";
import { followRoute } from "./model/session.ts";
import { watchSessions } from "./model/sessions.ts";
import { App } from "./view/app.tsx";

takeTicket();
watchSessions();
watchWords();
followRoute();
sendWhatWaits();
render(<App />, document.querySelector("#root")!);
