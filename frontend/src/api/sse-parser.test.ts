import { describe, expect, test } from "vitest";

import { SseParser, type ServerSentEvent } from "./sse-parser";

/** What a parser makes of `pieces`. */
function parse(...pieces: string[]): ServerSentEvent[] {
  const parser = new SseParser();
  return pieces.flatMap((piece) => parser.push(piece));
}

const TOKEN = { event: "token", data: '{"text":"a"}', id: "w.1" };
const STREAM = 'event: token\nid: w.1\ndata: {"text":"a"}\n\n';

describe("SseParser", () => {
  test("reads an event with its name and id", () => {
    expect(parse(STREAM)).toEqual([TOKEN]);
  });

  test("gives the same events wherever the stream is cut", () => {
    for (const ending of ["\n", "\r\n", "\r"]) {
      const text = (STREAM + STREAM).replaceAll("\n", ending) + ": the end\n";
      for (let cut = 0; cut <= text.length; cut += 1) {
        expect(parse(text.slice(0, cut), text.slice(cut))).toEqual([TOKEN, TOKEN]);
      }
      expect(parse(...text.split(""))).toEqual([TOKEN, TOKEN]);
    }
  });

  test("joins several data lines with a line feed", () => {
    expect(parse("data: one\ndata:two\ndata\n\n")[0]?.data).toBe("one\ntwo\n");
  });

  test("takes one space after the colon and keeps the others", () => {
    expect(parse("data:  two spaces\n\n")[0]?.data).toBe(" two spaces");
  });

  test("passes over comments, unknown fields and events without data", () => {
    expect(parse(": keep-alive\n\nevent: nothing\n\nretry: 10\nother: x\ndata: 1\n\n")).toEqual([
      { event: "message", data: "1", id: "" },
    ]);
  });

  test("keeps an event back until its empty line is there", () => {
    expect(parse("data: 1\n")).toEqual([]);
    expect(parse("data: 1\n", "\n")).toHaveLength(1);
  });

  test("keeps the last id and refuses one with a zero character", () => {
    const ids = parse("id: 7\ndata: a\n\ndata: b\n\nid: 8\0\ndata: c\n\n").map((event) => event.id);
    expect(ids).toEqual(["7", "7", "7"]);
  });

  test("drops a byte order mark at the beginning only", () => {
    expect(parse("\uFEFFdata: \uFEFFa\n\n")[0]?.data).toBe("\uFEFFa");
  });

  test("keeps a colon inside the data", () => {
    expect(parse("data: a:b: c\n\n")[0]?.data).toBe("a:b: c");
  });
});
