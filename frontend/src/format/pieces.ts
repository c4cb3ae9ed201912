// A text cut at the parts that are marked in it.

export interface Mark {
  /** In Unicode code points, as the API counts. */
  start: number;
  end: number;
  label: string;
}

export interface Piece {
  text: string;
  /** The label of a marked part. */
  label: string | null;
}

/** All of the text in order. Of parts that overlap the first is marked. */
export function cutPieces(text: string, marks: readonly Mark[]): Piece[] {
  // A string counts in UTF-16, where some characters take two.
  const characters = Array.from(text);
  const part = (start: number, end: number) => characters.slice(start, end).join("");
  const pieces: Piece[] = [];
  let done = 0;
  for (const mark of [...marks].sort((a, b) => a.start - b.start)) {
    if (mark.start < done || mark.end <= mark.start) continue;
    if (mark.start > done) pieces.push({ text: part(done, mark.start), label: null });
    pieces.push({ text: part(mark.start, mark.end), label: mark.label });
    done = mark.end;
  }
  if (done < characters.length) pieces.push({ text: part(done, characters.length), label: null });
  return pieces;
}
