/**
 * Which URLs of files may be passed on to a model's provider: https, of a public name, on a public address. This server
 * fetches none of them, but who does may stand in the same network (a model server next door does). Owns that rule and the
 * look-up of names; never a download.
 */
import { lookup } from "node:dns/promises";
import { BlockList, isIP } from "node:net";

export interface FileRules {
  /** Hosts whose files are passed on unseen: a name, or `*.example.com` for those below it. None unless told. */
  readonly fileHosts?: readonly string[] | undefined;
  /** All addresses of a name; the system's unless told. */
  readonly resolve?: (name: string) => Promise<readonly string[]>;
}

const LOOKUP_MS = 2000;
/** Names that are looked up once in so many ms, and how many of them are remembered. */
const REMEMBER_MS = 60_000;
const MAX_REMEMBERED = 1000;

const notPublic = new BlockList();
for (const range of [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/3",
]) {
  const [network = "", prefix] = range.split("/");
  notPublic.addSubnet(network, Number(prefix), "ipv4");
}
/** Of IPv6 only this is public, less what is in it for documents, tunnels and the like. */
const globalUnicast = new BlockList();
globalUnicast.addSubnet("2000::", 3, "ipv6");
for (const range of ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"]) {
  const [network = "", prefix] = range.split("/");
  notPublic.addSubnet(network, Number(prefix), "ipv6");
}

/** Names that mean something in a local network only. */
const LOCAL_NAME =
  /(?:^|\.)(?:localhost|local|localdomain|internal|intranet|lan|home|corp|private|home\.arpa|test|invalid|example|onion)$/;

/** Whether an address, as text, is one that the whole internet means. */
export function isPublicAddress(address: string): boolean {
  const version = isIP(address);
  if (version === 4) return !notPublic.check(address, "ipv4");
  return version === 6 && globalUnicast.check(address, "ipv6") && !notPublic.check(address, "ipv6");
}

/** Answers for URLs, and remembers for a while what names stood for. */
export class FileGuard {
  readonly #hosts: readonly string[];
  readonly #resolve: (name: string) => Promise<readonly string[]>;
  readonly #known = new Map<string, { readonly at: number; readonly open: Promise<boolean> }>();

  constructor({ fileHosts = [], resolve = addressesOf }: FileRules = {}) {
    this.#hosts = fileHosts.map((host) => host.toLowerCase());
    this.#resolve = resolve;
  }

  /** Whether a model's provider may be asked to fetch it. Never rejects; a name that nobody knows is not passed on. */
  async mayPass(text: string): Promise<boolean> {
    // The parser writes every form of an IPv4 address (decimal, octal, short) as four decimals.
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url === undefined || url.username !== "" || url.password !== "") return false;
    const name = url.hostname.replace(/\.$/, "").replace(/^\[(.*)\]$/, "$1");
    if (this.#hosts.some((host) => covers(host, name)))
      return url.protocol === "https:" || url.protocol === "http:";
    if (url.protocol !== "https:") return false;
    if (isIP(name) !== 0) return isPublicAddress(name);
    if (!name.includes(".") || LOCAL_NAME.test(name)) return false;
    return this.#lookUp(name);
  }

  #lookUp(name: string): Promise<boolean> {
    const now = performance.now();
    const known = this.#known.get(name);
    if (known !== undefined && now - known.at < REMEMBER_MS) return known.open;
    const open = this.#resolve(name).then(
      (addresses) => addresses.length > 0 && addresses.every(isPublicAddress),
      () => false,
    );
    this.#known.delete(name);
    if (this.#known.size >= MAX_REMEMBERED) this.#known.delete(this.#known.keys().next().value!);
    this.#known.set(name, { at: now, open });
    return open;
  }
}

function covers(host: string, name: string): boolean {
  return host.startsWith("*.") ? name.endsWith(host.slice(1)) : name === host;
}

async function addressesOf(name: string): Promise<string[]> {
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => reject(new Error("the name server does not answer")), LOOKUP_MS).unref();
  });
  const found = await Promise.race([lookup(name, { all: true, verbatim: true }), late]);
  return found.map(({ address }) => address);
}
