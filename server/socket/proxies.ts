/**
 * What is known of a request: address, scheme and host of the client. Owns which forwarding headers are believed: those
 * of proxies that are listed, read from the right, so that nothing a client wrote itself counts. Refuses nobody.
 */
import type { IncomingMessage } from "node:http";
import { BlockList, isIP, isIPv4 } from "node:net";
import type { TLSSocket } from "node:tls";
import type { ClientRequest } from "../auth/method.ts";

export class Proxies {
  readonly #trusted = new BlockList();
  readonly #any: boolean;

  /** Addresses and ranges: `10.0.0.5`, `10.0.0.0/8`, `fd00::/8`. Throws TypeError for what is neither. */
  constructor(trusted: readonly string[] = []) {
    this.#any = trusted.length > 0;
    for (const text of trusted) this.#add(text);
  }

  /** The request as the client made it. */
  read(request: IncomingMessage): ClientRequest {
    const { headers, socket, url = "/" } = request;
    const direct = plainAddress(socket.remoteAddress ?? "");
    const forwarded = this.#trusts(direct);
    const scheme = forwarded ? lastOf(headers["x-forwarded-proto"]) : undefined;
    return {
      address: forwarded ? this.#client(direct, headers["x-forwarded-for"]) : direct,
      secure: scheme === undefined ? (socket as Partial<TLSSocket>).encrypted === true : scheme === "https",
      host: (forwarded ? lastOf(headers["x-forwarded-host"]) : undefined) ?? headers.host,
      origin: headers.origin,
      url,
      headers,
    };
  }

  /** The first address from the right that is no trusted proxy's; where the list is broken, the last that was good. */
  #client(direct: string, header: string | string[] | undefined): string {
    let address = direct;
    for (const entry of listOf(header).toReversed()) {
      const found = addressIn(entry);
      if (found === undefined) return address;
      address = found;
      if (!this.#trusts(address)) return address;
    }
    return address;
  }

  #trusts(address: string): boolean {
    return this.#any && isIP(address) !== 0 && this.#trusted.check(address, family(address));
  }

  #add(text: string): void {
    const [given = "", bits, ...more] = text.split("/");
    const address = plainAddress(given);
    const most = isIPv4(address) ? 32 : 128;
    const prefix = bits === undefined ? most : /^\d{1,3}$/.test(bits) ? Number(bits) : NaN;
    if (isIP(address) === 0 || more.length > 0 || !(prefix <= most))
      throw new TypeError(`${text} is neither an address nor a range like 10.0.0.0/8`);
    this.#trusted.addSubnet(address, prefix, family(address));
  }
}

function family(address: string): "ipv4" | "ipv6" {
  return isIPv4(address) ? "ipv4" : "ipv6";
}

/** An IPv4 address that came over an IPv6 socket is that IPv4 address. */
function plainAddress(address: string): string {
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
}

/** `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]`, `[::1]:5`. */
function addressIn(entry: string): string | undefined {
  const bare = /^\[([^\]]+)\](?::\d+)?$/.exec(entry)?.[1] ?? /^([\d.]+):\d+$/.exec(entry)?.[1] ?? entry;
  const address = plainAddress(bare);
  return isIP(address) === 0 ? undefined : address;
}

function listOf(header: string | string[] | undefined): string[] {
  return (Array.isArray(header) ? header.join(",") : (header ?? ""))
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");
}

/** What the nearest proxy wrote: those before it may be the client's own words. */
function lastOf(header: string | string[] | undefined): string | undefined {
  return listOf(header).at(-1)?.toLowerCase();
}
