/**
 * From the settings of a server to its way of authentication and its door: what cannot work is found here, before
 * anything is opened. Owns that a server without authentication is not reached by others unless somebody said so.
 */
import { Authenticator, type AuthOptions } from "../auth/authenticator.ts";
import type { Authenticate } from "../auth/custom.ts";
import type { JwtOptions } from "../auth/jwt.ts";
import type { TokenGrant } from "../auth/tokens.ts";
import { checkTls, type TlsFiles } from "../socket/listen.ts";
import { isLoopback } from "../socket/origin.ts";
import { Proxies } from "../socket/proxies.ts";

export interface AuthSettings {
  readonly mode: "none" | "token" | "jwt";
  /** With mode `token`, and beside the other ones with `jwt`. */
  readonly tokens?: readonly TokenGrant[] | undefined;
  readonly jwt?: JwtOptions | undefined;
  /** With mode `none`: bind an address that others can reach all the same. */
  readonly open?: boolean | undefined;
}

export interface DoorSettings {
  readonly host?: string;
  /** `none` unless told: only for addresses that others cannot reach. */
  readonly auth?: AuthSettings | undefined;
  /** The program's own check of who somebody is, in place of `auth`. */
  readonly authenticate?: Authenticate | undefined;
  /** Before every path over HTTP: `/haulout`. */
  readonly basePath?: string | undefined;
  /** Files in PEM; plain HTTP unless told. */
  readonly tls?: TlsFiles | undefined;
  /** Addresses and ranges of proxies whose X-Forwarded headers are believed. */
  readonly trustedProxies?: readonly string[] | undefined;
  /** Everybody may read /metrics; else, where there is authentication, who has the right `watch`. */
  readonly openMetrics?: boolean;
}

/** The way of authentication that the settings ask for. */
export function authOptions(
  { auth, authenticate }: DoorSettings,
  failed: (error: unknown) => void = () => undefined,
): AuthOptions {
  if (authenticate !== undefined) return { mode: "custom", authenticate, failed };
  const { mode = "none", tokens = [], jwt = {} } = auth ?? {};
  if (mode === "none") return { mode };
  return mode === "token" ? { mode, tokens } : { mode, tokens, ...jwt };
}

/** What is wrong with them, a line each. */
export function doorProblems(settings: DoorSettings, where: (field: string) => string): string[] {
  const { host = "127.0.0.1", auth, authenticate, tls, trustedProxies } = settings;
  const problems: string[] = [];
  const fails = (field: string, attempt: () => unknown): void => {
    try {
      attempt();
    } catch (error) {
      problems.push(`${where(field)}: ${(error as Error).message}`);
    }
  };
  const { mode } = authOptions(settings);
  if (!isLoopback(host) && mode === "none" && auth?.open !== true) {
    problems.push(
      `${where("host")}: others can reach ${host}, and without auth each of them holds every right: ` +
        `set HAULOUT_TOKEN (or auth with mode "token" or "jwt" in the file), or bind 127.0.0.1`,
    );
  }
  if (authenticate !== undefined && auth !== undefined && auth.mode !== "none") {
    problems.push(`${where("auth")}: of no use beside a function that authenticates`);
  }
  fails("auth", () => new Authenticator(authOptions(settings)));
  if (tls !== undefined) fails("tls", () => checkTls(tls));
  fails("trustedProxies", () => new Proxies(trustedProxies));
  return problems;
}
