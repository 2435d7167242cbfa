/**
 * The log of one session in pages, for those who read on from a position: from memory where the entries are new, else
 * from the store. Owns what is kept of it: the newest entries as long as the session is in memory, and pages that were
 * read for as long as anybody replays, so that a thousand who attach at once read the store once. Never a reader.
 */
import { decodeTrusted, EncodedFrame } from "../../protocol/codec.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import type { Store } from "../store/store.ts";

/** Entries and bytes of one page. */
const PAGE_ENTRIES = 1000;
const PAGE_BYTES = 64 * 1024;
/** Bytes of the newest entries that stay in memory while the session does. */
const RECENT_BYTES = 256 * 1024;
/** Pages that stay while somebody replays. */
const SHARED_PAGES = 32;

interface Kept {
  readonly seq: number;
  readonly epoch: number;
  readonly frame: EncodedFrame;
}

/** Entries that follow one another, as one message carries them. */
export class Page extends EncodedFrame {
  readonly first: number;
  override readonly count: number;
  readonly #frames: readonly EncodedFrame[];

  constructor(first: number, frames: readonly EncodedFrame[]) {
    const bytes = frames.map((frame) => frame.bytes);
    super(bytes.length === 1 ? bytes[0]! : Buffer.concat(bytes));
    this.first = first;
    this.count = frames.length;
    this.#frames = frames;
  }

  get last(): number {
    return this.first + this.count - 1;
  }

  /** The same without the entries up to a seq. */
  after(seq: number): Page {
    if (seq < this.first) return this;
    return new Page(seq + 1, this.#frames.slice(seq + 1 - this.first));
  }

  frame(seq: number): EncodedFrame {
    return this.#frames[seq - this.first]!;
  }

  protected override transcode(): string {
    return this.#frames.map(({ line }) => line).join("\n");
  }
}

export class Pages {
  readonly #session: string;
  readonly #store: Pick<Store, "read">;
  #recent: Kept[] = [];
  #recentBytes = 0;
  /** Being read now, by the seq before their first entry. */
  readonly #reading = new Map<number, Promise<Page | undefined>>();
  /** Read while somebody replays. */
  readonly #read: Page[] = [];
  #replays = 0;

  constructor(session: string, store: Pick<Store, "read">) {
    this.#session = session;
    this.#store = store;
  }

  /** The newest entry; it follows the one before. */
  remember({ seq, epoch }: EventFrame, frame: EncodedFrame): void {
    this.#recent.push({ seq, epoch, frame });
    this.#recentBytes += frame.bytes.length;
    // A quarter over before anything is dropped, so that the common append moves nothing.
    if (this.#recentBytes <= RECENT_BYTES * 1.25) return;
    let drop = 0;
    while (this.#recentBytes > RECENT_BYTES && drop < this.#recent.length - 1) {
      this.#recentBytes -= this.#recent[drop++]!.frame.bytes.length;
    }
    this.#recent = this.#recent.slice(drop);
  }

  /** Pages that are read while `replay` is at work stay for others. */
  async during<T>(replay: () => Promise<T>): Promise<T> {
    this.#replays++;
    try {
      return await replay();
    } finally {
      if (--this.#replays === 0) this.#read.length = 0;
    }
  }

  /** The epoch of the entry at a seq, if there is one up to the head. */
  async epochAt(seq: number, head: number): Promise<number | undefined> {
    const recent = this.#recent[seq - (this.#recent[0]?.seq ?? Infinity)];
    if (recent !== undefined) return recent.epoch;
    const page = await this.after(seq - 1, head);
    return page && (decodeTrusted(page.frame(seq).bytes) as EventFrame).epoch;
  }

  /** The next entries after a seq, none beyond the head; undefined when there are none. */
  async after(seq: number, head: number): Promise<Page | undefined> {
    const first = this.#recent[0]?.seq ?? Infinity;
    if (seq + 1 >= first) return this.#fromMemory(seq + 1 - first);
    for (const page of this.#read) if (page.first <= seq + 1 && seq < page.last) return page.after(seq);
    const known = this.#reading.get(seq);
    if (known !== undefined) return known;
    const reading = this.#fromStore(seq, head);
    this.#reading.set(seq, reading);
    try {
      const page = await reading;
      if (page !== undefined && this.#replays > 0) this.#read.push(page);
      if (this.#read.length > SHARED_PAGES) this.#read.shift();
      return page;
    } finally {
      this.#reading.delete(seq);
    }
  }

  #fromMemory(from: number): Page | undefined {
    let bytes = 0;
    let to = from;
    while (to < this.#recent.length && to - from < PAGE_ENTRIES) {
      bytes += this.#recent[to]!.frame.bytes.length;
      if (bytes > PAGE_BYTES && to > from) break;
      to++;
    }
    if (to === from) return undefined;
    return new Page(
      this.#recent[from]!.seq,
      this.#recent.slice(from, to).map(({ frame }) => frame),
    );
  }

  async #fromStore(seq: number, head: number): Promise<Page | undefined> {
    const limit = Math.min(PAGE_ENTRIES, head - seq);
    if (limit <= 0) return undefined;
    const stored = await this.#store.read(this.#session, seq, limit, PAGE_BYTES);
    if (stored.length === 0) return undefined;
    return new Page(
      seq + 1,
      stored.map(({ bytes }) => new EncodedFrame(bytes)),
    );
  }
}
