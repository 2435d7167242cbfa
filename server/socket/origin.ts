/**
 * Who may knock, by the Host and Origin headers: the defence against pages of other sites and against DNS rebinding.
 * Owns the two rules as pure functions; never the answer to a refusal.
 */

export interface OriginRules {
  /** The address that is bound. */
  readonly host: string;
  /**
   * Hosts that requests may name, with or without a port. Unless told: on a loopback address `localhost` and loopback
   * addresses, with any port; elsewhere every host.
   */
  readonly allowedHosts?: readonly string[] | undefined;
  /** Origins of pages that may connect beside those of the same host: `https://example.com`, or `*` for all. */
  readonly allowedOrigins?: readonly string[] | undefined;
}

/** What a request says of itself, as far as it is believed. */
export interface Asked {
  readonly origin: string | undefined;
  readonly host: string | undefined;
  /** The client's own connection is encrypted. */
  readonly secure: boolean;
}

/** Whether an address or a name stands for this machine alone. */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase().replace(/^\[(.*)\]$/, "$1");
  return name === "localhost" || name === "::1" || /^127(?:\.\d{1,3}){3}$/.test(name);
}

export function hostAllowed(header: string | undefined, rules: OriginRules): boolean {
  const url = header === undefined ? undefined : parse(`http://${header}`);
  // Anything beside a host and a port is no Host.
  if (url === undefined || url.pathname !== "/" || url.username !== "" || /[/?#\\]/.test(header!))
    return false;
  if (rules.allowedHosts?.some((allowed) => allowed === "*" || sameHost(allowed, url))) return true;
  if (rules.allowedHosts !== undefined && !isLoopback(rules.host)) return false;
  return !isLoopback(rules.host) || isLoopback(url.hostname);
}

export function originAllowed({ origin, host, secure }: Asked, rules: OriginRules): boolean {
  // No browser: a browser always says where the page of a WebSocket comes from.
  if (origin === undefined) return true;
  if (
    rules.allowedOrigins?.some((allowed) => allowed === "*" || allowed.toLowerCase() === origin.toLowerCase())
  ) {
    return true;
  }
  const page = parse(origin);
  if (page === undefined || host === undefined || !/^https?:$/.test(page.protocol)) return false;
  // A page that came unencrypted may be anybody's who is on its way.
  if (secure && page.protocol !== "https:") return false;
  // The page's scheme, so that a default port is left out on both sides.
  return page.host === parse(`${page.protocol}//${host}`)?.host;
}

function sameHost(allowed: string, url: URL): boolean {
  const name = allowed.toLowerCase();
  return name === url.host || name === url.hostname || `[${name}]` === url.hostname;
}

function parse(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}
