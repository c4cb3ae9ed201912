// Server-sent events out of text that arrives in pieces (the HTML standard, §9.2.6).

/** One event, as it was dispatched. */
export interface ServerSentEvent {
  /** `message` where the stream named none. */
  event: string;
  data: string;
  /** The last id that the stream named, which may be that of an earlier event. */
  id: string;
}

/** Feed it pieces of a stream in order; each call answers the events that became complete. */
export class SseParser {
  #pending = "";
  #atStart = true;
  #event = "";
  #data: string[] = [];
  #id = "";

  push(piece: string): ServerSentEvent[] {
    this.#pending += piece;
    if (this.#atStart && this.#pending.length > 0) {
      this.#atStart = false;
      if (this.#pending.startsWith("\uFEFF")) this.#pending = this.#pending.slice(1);
    }
    const events: ServerSentEvent[] = [];
    for (let line = this.#takeLine(); line !== null; line = this.#takeLine()) {
      const event = this.#read(line);
      if (event !== null) events.push(event);
    }
    return events;
  }

  /** The next complete line without its end, or null when the rest has no end yet. */
  #takeLine(): string | null {
    const end = this.#pending.search(/[\r\n]/);
    if (end === -1) return null;
    const isReturn = this.#pending[end] === "\r";
    // The line feed that belongs to this carriage return may be the first thing of the next piece.
    if (isReturn && end === this.#pending.length - 1) return null;
    const width = isReturn && this.#pending[end + 1] === "\n" ? 2 : 1;
    const line = this.#pending.slice(0, end);
    this.#pending = this.#pending.slice(end + width);
    return line;
  }

  #read(line: string): ServerSentEvent | null {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    if (colon === 0) return null;
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#event = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    return null;
  }

  #dispatch(): ServerSentEvent | null {
    const event = { event: this.#event || "message", data: this.#data.join("\n"), id: this.#id };
    const isEmpty = this.#data.length === 0;
    this.#event = "";
    this.#data = [];
    return isEmpty ? null : event;
  }
}
